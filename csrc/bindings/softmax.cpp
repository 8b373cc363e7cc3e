#include "ops/softmax.h"

#include "bindings/arrays.h"

namespace chainrule::bindings {

namespace {

template <class T>
py::object forward(SoftmaxOutput output, Operand& x, const ReduceShape& shape) {
  x.as<T>();
  check_reduce_shape(x.operation(), shape, x.elements());
  T* out;
  py::object result = output == SoftmaxOutput::logsumexp ? new_array<T>(Shape{shape.outer, shape.inner}, &out)
                                                         : new_array<T>(x.shape(), &out);
  MaybeUnlocked unlocked(8 * x.elements());
  softmax_forward<T>(output, x.data<T>(), shape, out);
  return result;
}

template <class T>
py::object backward(SoftmaxOutput output, Operand& y, Operand& g, const ReduceShape& shape) {
  y.as<T>();
  g.as<T>();
  check_reduce_shape(y.operation(), shape, y.elements());
  check_reduce_shape(g.operation(), shape, g.elements());
  T* out;
  py::object result = new_array<T>(y.shape(), &out);
  MaybeUnlocked unlocked(8 * y.elements());
  softmax_backward<T>(output, y.data<T>(), g.data<T>(), shape, out);
  return result;
}

void def_forward(py::module_& m, const char* name, SoftmaxOutput output) {
  m.def(
      name,
      [=](py::handle x, int64_t outer, int64_t n, int64_t inner) {
        Operand operand(name, "x", x);
        const ReduceShape shape{outer, n, inner};
        return common_dtype(operand) == Dtype::float32 ? forward<float>(output, operand, shape)
                                                       : forward<double>(output, operand, shape);
      },
      py::arg("x"), py::arg("outer"), py::arg("n"), py::arg("inner"));
}

void def_backward(py::module_& m, const char* name, SoftmaxOutput output) {
  m.def(
      name,
      [=](py::handle gradient, py::handle y, int64_t outer, int64_t n, int64_t inner) {
        Operand g(name, "gradient", gradient), value(name, "output", y);
        const ReduceShape shape{outer, n, inner};
        return common_dtype(g, value) == Dtype::float32 ? backward<float>(output, value, g, shape)
                                                        : backward<double>(output, value, g, shape);
      },
      py::arg("gradient"), py::arg("output"), py::arg("outer"), py::arg("n"), py::arg("inner"));
}

}  // namespace

void bind_softmax(py::module_& m) {
  def_forward(m, "softmax", SoftmaxOutput::softmax);
  def_forward(m, "log_softmax", SoftmaxOutput::log_softmax);
  def_forward(m, "logsumexp", SoftmaxOutput::logsumexp);
  def_backward(m, "softmax_gradient", SoftmaxOutput::softmax);
  def_backward(m, "log_softmax_gradient", SoftmaxOutput::log_softmax);
}

}  // namespace chainrule::bindings
