// The extension module chainrule._core: each family of operations binds itself.
#include "bindings/arrays.h"
#include "runtime/features.h"

PYBIND11_MODULE(_core, m) {
  using namespace chainrule::bindings;
  m.doc() = "chainrule's kernels: NumPy arrays in, NumPy arrays out. Use them through the chainrule package.";
  chainrule::active_isa();  // a wrong CHAINRULE_MAX_ISA fails at import, not in the first operation
  bind_runtime(m);
  bind_elementwise(m);
  bind_reduce(m);
  bind_matmul(m);
  bind_softmax(m);
  bind_losses(m);
  bind_optimise(m);
  bind_conv2d(m);
  bind_conv2d_max_pool2d(m);
  bind_images(m);
  bind_augment(m);
  bind_program(m);
}
