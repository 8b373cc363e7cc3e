#include "ops/reduce.h"

#include "bindings/arrays.h"

namespace chainrule::bindings {

namespace {

template <class T>
py::object sum(Operand& x, const ReduceShape& shape) {
  x.as<T>();
  check_reduce_shape("sum", shape, x.elements());
  T* out;
  py::object result = new_array<T>(Shape{shape.outer, shape.inner}, &out);
  MaybeUnlocked unlocked(x.elements());
  reduce_sum<T>(x.data<T>(), shape, out);
  return result;
}

template <class T>
py::tuple extreme(Extreme which, Operand& x, const ReduceShape& shape) {
  x.as<T>();
  check_reduce_shape(x.operation(), shape, x.elements());
  T* values;
  int64_t* indices;
  const Shape reduced{shape.outer, shape.inner};
  py::object value_array = new_array<T>(reduced, &values),
             index_array = new_array<int64_t>(reduced, &indices);
  {
    MaybeUnlocked unlocked(x.elements());
    reduce_extreme<T>(which, x.data<T>(), shape, values, indices);
  }
  return py::make_tuple(value_array, index_array);
}

using Indices = py::array_t<int64_t, py::array::c_style>;

void check_index_count(const char* operation, const Indices& indices, const ReduceShape& shape) {
  if (indices.size() != checked_multiply(shape.outer, shape.inner, operation))
    throw std::invalid_argument(std::string(operation) + ": " + std::to_string(indices.size()) +
                                " indices for " + shape_text({shape.outer, shape.inner}) + " values");
}

template <class T>
py::object scatter_array(Operand& g, const Indices& indices, const ReduceShape& shape) {
  g.as<T>();
  check_reduce_shape("scatter", {shape.outer, 1, shape.inner}, g.elements());
  check_index_count("scatter", indices, shape);
  T* out;
  py::object result = new_array<T>(Shape{shape.outer, shape.n, shape.inner}, &out);
  scatter<T>(g.data<T>(), indices.data(), shape, out);
  return result;
}

template <class T>
py::object gather_array(Operand& x, const Indices& indices, const ReduceShape& shape) {
  x.as<T>();
  check_reduce_shape("gather", shape, x.elements());
  check_index_count("gather", indices, shape);
  T* out;
  py::object result = new_array<T>(Shape{shape.outer, shape.inner}, &out);
  gather<T>(x.data<T>(), indices.data(), shape, out);
  return result;
}

void def_extreme(py::module_& m, const char* name, Extreme which) {
  m.def(
      name,
      [=](py::handle x, int64_t outer, int64_t n, int64_t inner) {
        Operand operand(name, "x", x);
        const ReduceShape shape{outer, n, inner};
        return common_dtype(operand) == Dtype::float32 ? extreme<float>(which, operand, shape)
                                                       : extreme<double>(which, operand, shape);
      },
      py::arg("x"), py::arg("outer"), py::arg("n"), py::arg("inner"));
}

}  // namespace

void bind_reduce(py::module_& m) {
  m.def(
      "sum",
      [](py::handle x, int64_t outer, int64_t n, int64_t inner) {
        Operand operand("sum", "x", x);
        const ReduceShape shape{outer, n, inner};
        return common_dtype(operand) == Dtype::float32 ? sum<float>(operand, shape)
                                                       : sum<double>(operand, shape);
      },
      py::arg("x"), py::arg("outer"), py::arg("n"), py::arg("inner"));
  def_extreme(m, "max", Extreme::max);
  def_extreme(m, "min", Extreme::min);
  m.def(
      "scatter",
      [](py::handle gradient, const Indices& indices, int64_t outer, int64_t n, int64_t inner) {
        Operand operand("scatter", "gradient", gradient);
        const ReduceShape shape{outer, n, inner};
        return common_dtype(operand) == Dtype::float32 ? scatter_array<float>(operand, indices, shape)
                                                       : scatter_array<double>(operand, indices, shape);
      },
      py::arg("gradient"), py::arg("indices"), py::arg("outer"), py::arg("n"), py::arg("inner"));
  m.def(
      "gather",
      [](py::handle x, const Indices& indices, int64_t outer, int64_t n, int64_t inner) {
        Operand operand("gather", "x", x);
        const ReduceShape shape{outer, n, inner};
        return common_dtype(operand) == Dtype::float32 ? gather_array<float>(operand, indices, shape)
                                                       : gather_array<double>(operand, indices, shape);
      },
      py::arg("x"), py::arg("indices"), py::arg("outer"), py::arg("n"), py::arg("inner"));
}

}  // namespace chainrule::bindings
