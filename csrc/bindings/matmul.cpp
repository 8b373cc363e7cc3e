#include "ops/matmul.h"

#include "bindings/arrays.h"

namespace chainrule::bindings {

namespace {

template <class T>
py::object multiply(py::handle x, py::handle y) {
  py::object keep_a, keep_b;
  const StridedArray<T> a = strided<T>("matmul", "x", x, keep_a), b = strided<T>("matmul", "y", y, keep_b);
  const Shape shape = matmul_shape(a.shape, b.shape);
  T* out;
  py::object result = new_array<T>(shape, &out);
  MaybeUnlocked unlocked(element_count(shape, "matmul") * a.shape.back());
  matmul<T>(a, b, out);
  return result;
}

}  // namespace

void bind_matmul(py::module_& m) {
  m.def(
      "matmul",
      [](py::handle x, py::handle y) {
        const Operand a("matmul", "x", x), b("matmul", "y", y);
        return common_dtype(a, b) == Dtype::float32 ? multiply<float>(x, y) : multiply<double>(x, y);
      },
      py::arg("x"), py::arg("y"));
}

}  // namespace chainrule::bindings
