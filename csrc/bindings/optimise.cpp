#include "ops/optimise.h"

#include "bindings/arrays.h"

namespace chainrule::bindings {

namespace {

// An array that is changed in place: it must be writeable, contiguous and of the right dtype and size, for a
// copy would lose the change.
template <class T>
T* writable(const char* name, size_t index, py::handle value, int64_t size) {
  auto fail = [&](const std::string& what) {
    return std::invalid_argument("SGD: " + std::string(name) + " " + std::to_string(index) + " " + what);
  };
  if (!py::isinstance<py::array_t<T>>(value)) throw fail("is not an array of its parameter's dtype");
  auto array = py::reinterpret_borrow<py::array>(value);
  if (!array.writeable()) throw fail("is read-only: copy it");
  if ((array.flags() & py::array::c_style) == 0) throw fail("is not C-contiguous: use np.ascontiguousarray");
  if (size >= 0 && array.size() != size)
    throw fail("has " + std::to_string(array.size()) + " values, its parameter " + std::to_string(size));
  return static_cast<T*>(array.mutable_data());
}

template <class T>
void collect(size_t index, py::handle weight, py::handle gradient, py::handle velocity,
             std::vector<ParameterSlot<T>>& slots, std::vector<py::object>& keep) {
  ParameterSlot<T> slot{};
  slot.weight = writable<T>("parameter", index, weight, -1);
  slot.size = py::reinterpret_borrow<py::array>(weight).size();
  auto contiguous = py::array_t<T, py::array::c_style | py::array::forcecast>::ensure(gradient);
  if (!contiguous) throw py::error_already_set();
  if (contiguous.size() != slot.size)
    throw std::invalid_argument("SGD: gradient " + std::to_string(index) + " has " +
                                std::to_string(contiguous.size()) + " values, its parameter " +
                                std::to_string(slot.size));
  slot.gradient = contiguous.data();
  keep.push_back(std::move(contiguous));
  slot.velocity = velocity.is_none() ? nullptr : writable<T>("velocity", index, velocity, slot.size);
  slots.push_back(slot);
}

}  // namespace

void bind_optimise(py::module_& m) {
  m.def(
      "sgd_step",
      [](const py::list& weights, const py::list& gradients, const py::list& velocities, double lr,
         double momentum, bool nesterov, double weight_decay, bool decoupled) {
        if (weights.size() != gradients.size() || weights.size() != velocities.size())
          throw std::invalid_argument("SGD: as many gradients and velocities as parameters are needed");
        std::vector<ParameterSlot<float>> singles;
        std::vector<ParameterSlot<double>> doubles;
        std::vector<py::object> keep;
        for (size_t i = 0; i < weights.size(); ++i) {
          if (py::isinstance<py::array_t<float>>(weights[i]))
            collect(i, weights[i], gradients[i], velocities[i], singles, keep);
          else
            collect(i, weights[i], gradients[i], velocities[i], doubles, keep);
        }
        const SgdSettings settings{lr, momentum, weight_decay, nesterov, decoupled};
        py::gil_scoped_release unlocked;
        sgd_step(singles, settings);
        sgd_step(doubles, settings);
      },
      py::arg("weights"), py::arg("gradients"), py::arg("velocities"), py::arg("lr"), py::arg("momentum"),
      py::arg("nesterov"), py::arg("weight_decay"), py::arg("decoupled"));
}

}  // namespace chainrule::bindings
