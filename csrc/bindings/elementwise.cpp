#include "ops/elementwise.h"

#include <pybind11/stl.h>

#include "bindings/arrays.h"

namespace chainrule::bindings {

namespace {

template <class T>
py::object unary(UnaryOp op, Operand& x) {
  x.as<T>();
  T* out;
  py::object result = new_array<T>(x.shape(), &out);
  const int64_t n = x.elements();
  MaybeUnlocked unlocked(n);
  apply_unary<T>(op, x.data<T>(), out, n);
  return result;
}

template <class T>
py::object binary(BinaryOp op, Operand& a, Operand& b) {
  a.as<T>();
  b.as<T>();
  T* out;
  if (a.same_shape(b) || b.dimensions() == 0) {
    // The common cases without a look at broadcasting: equal shapes, and an array with a number.
    py::object result = new_array<T>(a.shape(), &out);
    const int64_t n = a.elements();
    if (n <= 64) {
      apply_small(op, a.data<T>(), b.data<T>(), b.dimensions() == 0 ? 0 : 1, out, n);
      return result;
    }
    MaybeUnlocked unlocked(n);
    apply_binary<T>(op, {a.data<T>(), a.shape()}, {b.data<T>(), b.shape()}, out);
    return result;
  }
  const ArrayView<T> left{a.data<T>(), a.shape()}, right{b.data<T>(), b.shape()};
  const Shape shape = broadcast_shape(a.operation(), left.shape, right.shape);
  py::object result = new_array<T>(shape, &out);
  MaybeUnlocked unlocked(element_count(shape, a.operation()));
  apply_binary<T>(op, left, right, out);
  return result;
}

void def_unary(py::module_& m, const char* name, UnaryOp op) {
  m.def(
      name,
      [name, op](py::handle x) {
        Operand operand(name, "x", x);
        return common_dtype(operand) == Dtype::float32 ? unary<float>(op, operand)
                                                       : unary<double>(op, operand);
      },
      py::arg("x"));
}

void def_binary(py::module_& m, const char* name, BinaryOp op, const char* first, const char* second) {
  m.def(
      name,
      [=](py::handle x, py::handle y) {
        Operand a(name, first, x), b(name, second, y);
        return common_dtype(a, b) == Dtype::float32 ? binary<float>(op, a, b) : binary<double>(op, a, b);
      },
      py::arg(first), py::arg(second));
}

template <class T>
py::object where(const py::array_t<bool, py::array::c_style>& condition, Operand& a, Operand& b) {
  a.as<T>();
  b.as<T>();
  const ArrayView<uint8_t> chosen{reinterpret_cast<const uint8_t*>(condition.data()),
                                  Shape(condition.shape(), condition.shape() + condition.ndim())};
  const ArrayView<T> left{a.data<T>(), a.shape()}, right{b.data<T>(), b.shape()};
  const Shape shape =
      broadcast_shape("where", broadcast_shape("where", left.shape, right.shape), chosen.shape);
  T* out;
  py::object result = new_array<T>(shape, &out);
  MaybeUnlocked unlocked(element_count(shape, "where"));
  apply_where<T>(chosen, left, right, out);
  return result;
}

template <class T>
py::object chosen(Extremum which, Operand& a, Operand& b) {
  a.as<T>();
  b.as<T>();
  const ArrayView<T> left{a.data<T>(), a.shape()}, right{b.data<T>(), b.shape()};
  const Shape shape = broadcast_shape(a.operation(), left.shape, right.shape);
  py::array_t<bool> result(shape);
  auto* out = reinterpret_cast<uint8_t*>(result.mutable_data());
  MaybeUnlocked unlocked(element_count(shape, a.operation()));
  apply_chosen<T>(which, left, right, out);
  return std::move(result);
}

void def_chosen(py::module_& m, const char* name, Extremum which) {
  m.def(
      name,
      [=](py::handle x, py::handle y) {
        Operand a(name, "x", x), b(name, "y", y);
        return common_dtype(a, b) == Dtype::float32 ? chosen<float>(which, a, b)
                                                    : chosen<double>(which, a, b);
      },
      py::arg("x"), py::arg("y"));
}

template <class T>
py::object broadcast(Operand& x, const Shape& shape) {
  x.as<T>();
  T* out;
  py::object result = new_array<T>(shape, &out);
  MaybeUnlocked unlocked(element_count(shape, "broadcast_to"));
  apply_broadcast<T>({x.data<T>(), x.shape()}, shape, out);
  return result;
}

}  // namespace

void bind_elementwise(py::module_& m) {
  def_unary(m, "negative", UnaryOp::negate);
  def_unary(m, "abs", UnaryOp::absolute);
  def_unary(m, "sign", UnaryOp::sign);
  def_unary(m, "square", UnaryOp::square);
  def_unary(m, "sqrt", UnaryOp::sqrt);
  def_unary(m, "exp", UnaryOp::exp);
  def_unary(m, "log", UnaryOp::log);
  def_unary(m, "sin", UnaryOp::sin);
  def_unary(m, "cos", UnaryOp::cos);
  def_unary(m, "tanh", UnaryOp::tanh);
  def_unary(m, "sigmoid", UnaryOp::sigmoid);
  def_unary(m, "relu", UnaryOp::relu);
  def_unary(m, "gelu", UnaryOp::gelu);
  def_unary(m, "silu", UnaryOp::silu);
  def_unary(m, "softplus", UnaryOp::softplus);
  def_binary(m, "add", BinaryOp::add, "x", "y");
  def_binary(m, "subtract", BinaryOp::subtract, "x", "y");
  def_binary(m, "multiply", BinaryOp::multiply, "x", "y");
  def_binary(m, "divide", BinaryOp::divide, "x", "y");
  def_binary(m, "power", BinaryOp::power, "x", "y");
  def_binary(m, "maximum", BinaryOp::maximum, "x", "y");
  def_binary(m, "minimum", BinaryOp::minimum, "x", "y");
  def_binary(m, "relu_gradient", BinaryOp::relu_gradient, "gradient", "output");
  def_binary(m, "sigmoid_gradient", BinaryOp::sigmoid_gradient, "gradient", "output");
  def_binary(m, "tanh_gradient", BinaryOp::tanh_gradient, "gradient", "output");
  def_binary(m, "gelu_gradient", BinaryOp::gelu_gradient, "gradient", "x");
  def_binary(m, "silu_gradient", BinaryOp::silu_gradient, "gradient", "x");
  def_binary(m, "leaky_relu", BinaryOp::leaky_relu, "x", "slope");
  def_binary(m, "leaky_relu_slope", BinaryOp::leaky_relu_slope, "x", "slope");
  def_binary(m, "elu", BinaryOp::elu, "x", "alpha");
  def_binary(m, "elu_slope", BinaryOp::elu_slope, "x", "alpha");
  def_chosen(m, "chosen_by_maximum", Extremum::maximum);
  def_chosen(m, "chosen_by_minimum", Extremum::minimum);
  m.def(
      "broadcast_to",
      [](py::handle x, const Shape& shape) {
        Operand operand("broadcast_to", "x", x);
        return common_dtype(operand) == Dtype::float32 ? broadcast<float>(operand, shape)
                                                       : broadcast<double>(operand, shape);
      },
      py::arg("x"), py::arg("shape"));
  m.def(
      "where",
      [](const py::array_t<bool, py::array::c_style>& condition, py::handle x, py::handle y) {
        Operand a("where", "x", x), b("where", "y", y);
        return common_dtype(a, b) == Dtype::float32 ? where<float>(condition, a, b)
                                                    : where<double>(condition, a, b);
      },
      py::arg("condition").noconvert(), py::arg("x"), py::arg("y"));
}

}  // namespace chainrule::bindings
