#include "bindings/arrays.h"
#include "ops/peak.h"
#include "runtime/allocator.h"
#include "runtime/features.h"
#include "runtime/threads.h"

namespace chainrule::bindings {

void bind_runtime(py::module_& m) {
  m.def("get_num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads, py::arg("n"));
  m.def("active_isa", [] { return isa_name(active_isa()); });
  m.def("set_active_isa", [](const std::string& name) { set_active_isa(parse_isa(name)); }, py::arg("name"));
  m.def("available_isas", [] {
    py::list names;
    for (Isa isa : available_isas()) names.append(isa_name(isa));
    return names;
  });
  m.def("compiler", [] {
#if defined(__clang__)
    return std::string("clang ") + __clang_version__;
#else
    return std::string("gcc ") + __VERSION__;
#endif
  });
  m.def(
      "multiply_add_rate",
      [](double seconds) {
        py::gil_scoped_release unlocked;
        return multiply_add_rate<float>(seconds);
      },
      py::arg("seconds"));
  m.def("memory_statistics", [] {
    AllocatorStatistics s = allocator_statistics();
    py::dict result;
    result["bytes_in_use"] = s.bytes_in_use;
    result["bytes_kept"] = s.bytes_kept;
    result["peak_in_use"] = s.peak_in_use;
    return result;
  });
  m.def("reset_peak_memory", &reset_peak);
  m.def("release_kept_memory", &release_kept_memory);
}

}  // namespace chainrule::bindings
