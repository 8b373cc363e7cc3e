#include "ops/matmul.h"

#include "bindings/arrays.h"

namespace chainrule::bindings {

namespace {

template <class T>
py::object multiply(py::handle x, py::handle y, py::handle bias, bool relu, bool bfloat16) {
  py::object keep_a, keep_b;
  const StridedArray<T> a = strided<T>("matmul", "x", x, keep_a), b = strided<T>("matmul", "y", y, keep_b);
  const Shape shape = matmul_shape(a.shape, b.shape);
  OptionalOperand shift("matmul", "bias", bias);
  const Epilogue<T> epilogue{bias_data<T>("matmul", shift.get(), shape.back(), "columns"), relu};
  T* out;
  py::object result = new_array<T>(shape, &out);
  MaybeUnlocked unlocked(element_count(shape, "matmul") * a.shape.back());
  matmul<T>(a, b, out, epilogue, precision_of(bfloat16));
  return result;
}

}  // namespace

void bind_matmul(py::module_& m) {
  m.def(
      "matmul",
      [](py::handle x, py::handle y, py::handle bias, bool relu, bool bfloat16) {
        const Operand a("matmul", "x", x), b("matmul", "y", y);
        return common_dtype(a, b) == Dtype::float32 ? multiply<float>(x, y, bias, relu, bfloat16)
                                                    : multiply<double>(x, y, bias, relu, bfloat16);
      },
      py::arg("x"), py::arg("y"), py::arg("bias") = py::none(), py::arg("relu") = false,
      py::arg("bfloat16") = false);
}

}  // namespace chainrule::bindings
