// Pooling, normalisation and dropout.
#include <pybind11/stl.h>

#include <optional>

#include "bindings/windows.h"
#include "ops/normalise.h"
#include "ops/random.h"

namespace chainrule::bindings {

namespace {

// ---- Pooling
// -----------------------------------------------------------------------------------------------

void require_output_shape(const char* operation, const Pool2dShape& s, const Shape& got) {
  if (got != s.y())
    throw std::invalid_argument(std::string(operation) + ": " + shape_text(got) + " for an output of " +
                                shape_text(s.y()));
}

template <class T, class Index>
py::tuple max_pool(Operand& x, const Pool2dShape& s) {
  x.as<T>();
  T* values;
  py::object out = new_array<T>(s.y(), &values);
  py::array_t<Index> indices(s.y());
  Index* at = indices.mutable_data();
  {
    MaybeUnlocked unlocked(x.elements());
    max_pool2d<T, Index>(s, x.data<T>(), values, at);
  }
  return py::make_tuple(out, indices);
}

template <class Index>
using Indices = py::array_t<Index, py::array::c_style>;

template <class T, class Index>
py::object scatter(Operand& g, const Indices<Index>& indices, const Pool2dShape& s) {
  g.as<T>();
  T* out;
  py::object result = new_array<T>(s.x(), &out);
  MaybeUnlocked unlocked(element_count(s.x(), "max_pool2d"));
  max_pool2d_scatter<T, Index>(s, g.data<T>(), indices.data(), out);
  return result;
}

template <class T, class Index>
py::object gather(Operand& x, const Indices<Index>& indices, const Pool2dShape& s) {
  x.as<T>();
  T* out;
  py::object result = new_array<T>(s.y(), &out);
  MaybeUnlocked unlocked(element_count(s.x(), "max_pool2d"));
  max_pool2d_gather<T, Index>(s, x.data<T>(), indices.data(), out);
  return result;
}

// Calls body with the indices in the width that the window needs.
template <class Body>
py::object with_indices(const char* operation, const py::array& indices, const Pool2dShape& s,
                        const Body& body) {
  require_output_shape(operation, s, Shape(indices.shape(), indices.shape() + indices.ndim()));
  auto wrong = [&] {
    return py::type_error(std::string(operation) + ": indices are not those that max_pool2d gave");
  };
  if (s.wide_indices()) {
    if (!py::isinstance<py::array_t<int32_t>>(indices)) throw wrong();
    return body(Indices<int32_t>(indices));
  }
  if (!py::isinstance<py::array_t<uint8_t>>(indices)) throw wrong();
  return body(Indices<uint8_t>(indices));
}

template <class T>
py::object average(Operand& x, const Pool2dShape& s) {
  x.as<T>();
  T* out;
  py::object result = new_array<T>(s.y(), &out);
  MaybeUnlocked unlocked(x.elements());
  average_pool2d<T>(s, x.data<T>(), out);
  return result;
}

template <class T>
py::object average_adjoint(Operand& g, const Pool2dShape& s) {
  g.as<T>();
  T* out;
  py::object result = new_array<T>(s.x(), &out);
  MaybeUnlocked unlocked(element_count(s.x(), "average_pool2d"));
  average_pool2d_adjoint<T>(s, g.data<T>(), out);
  return result;
}

// ---- Normalisation
// -----------------------------------------------------------------------------------------

MatrixShape matrix(const Operand& x) { return {x.size(0), x.size(1)}; }

template <class T>
const T* vector_of(const char* operation, Operand& v, int64_t size) {
  v.as<T>();
  if (v.dimensions() != 1 || v.size(0) != size)
    throw std::invalid_argument(std::string(operation) + ": " + v.argument() + " " + shape_text(v.shape()) +
                                " for " + std::to_string(size) + " values: give (" + std::to_string(size) +
                                ",)");
  return v.data<T>();
}

void require_matrix(const char* operation, const Operand& x) {
  if (x.dimensions() != 2)
    throw std::invalid_argument(std::string(operation) + ": " + x.argument() + " " + shape_text(x.shape()) +
                                " is not a matrix");
}

void require_same(const char* operation, const Operand& a, const Operand& b) {
  if (a.shape() != b.shape())
    throw std::invalid_argument(std::string(operation) + ": " + a.argument() + " " + shape_text(a.shape()) +
                                " and " + b.argument() + " " + shape_text(b.shape()) + " differ");
}

template <class T>
py::object standardised(Operand& x, Operand& mean, Operand& scale, Operand& bias, Activation activation) {
  const char* name = "standardise";
  require_matrix(name, x);
  const MatrixShape s = matrix(x);
  x.as<T>();
  const T* centre = vector_of<T>(name, mean, s.columns);
  const T* slope = vector_of<T>(name, scale, s.columns);
  const T* b = vector_of<T>(name, bias, s.columns);
  T* y;
  py::object out = new_array<T>(x.shape(), &y);
  {
    MaybeUnlocked unlocked(x.elements());
    standardise<T>(s, x.data<T>(), centre, slope, b, activation, y);
  }
  return out;
}

template <class T>
py::tuple batch_norm_forward(Operand& x, Operand& weight, Operand& bias, double epsilon,
                             Activation activation) {
  require_matrix("batch_norm", x);
  const MatrixShape s = matrix(x);
  x.as<T>();
  const T* w = vector_of<T>("batch_norm", weight, s.columns);
  const T* b = vector_of<T>("batch_norm", bias, s.columns);
  T *y, *mean, *variance, *inverse;
  py::object out = new_array<T>(x.shape(), &y), means = new_array<T>(Shape{s.columns}, &mean),
             variances = new_array<T>(Shape{s.columns}, &variance),
             inverses = new_array<T>(Shape{s.columns}, &inverse);
  {
    MaybeUnlocked unlocked(x.elements());
    batch_norm<T>(s, x.data<T>(), w, b, epsilon, activation, y, mean, variance, inverse);
  }
  return py::make_tuple(out, means, variances, inverses);
}

template <class T>
py::tuple batch_norm_backward(Operand& g, Operand& x, Operand& weight, Operand& bias, Activation activation,
                              Operand& mean, Operand& inverse) {
  const char* name = "batch_norm_gradient";
  require_matrix(name, x);
  require_same(name, g, x);
  const MatrixShape s = matrix(x);
  g.as<T>();
  x.as<T>();
  const T* w = vector_of<T>(name, weight, s.columns);
  const T* b = vector_of<T>(name, bias, s.columns);
  const T* centre = vector_of<T>(name, mean, s.columns);
  const T* spread = vector_of<T>(name, inverse, s.columns);
  T *dx, *dw, *db;
  py::object dxs = new_array<T>(x.shape(), &dx), dws = new_array<T>(Shape{s.columns}, &dw),
             dbs = new_array<T>(Shape{s.columns}, &db);
  {
    MaybeUnlocked unlocked(x.elements());
    batch_norm_gradient<T>(s, g.data<T>(), x.data<T>(), w, b, activation, centre, spread, dx, dw, db);
  }
  return py::make_tuple(dxs, dws, dbs);
}

template <class T>
py::tuple layer_norm_forward(Operand& x, Operand& weight, Operand& bias, double epsilon) {
  require_matrix("layer_norm", x);
  const MatrixShape s = matrix(x);
  x.as<T>();
  const T* w = vector_of<T>("layer_norm", weight, s.columns);
  const T* b = vector_of<T>("layer_norm", bias, s.columns);
  T *y, *mean, *inverse;
  py::object out = new_array<T>(x.shape(), &y), means = new_array<T>(Shape{s.rows}, &mean),
             inverses = new_array<T>(Shape{s.rows}, &inverse);
  {
    MaybeUnlocked unlocked(x.elements());
    layer_norm<T>(s, x.data<T>(), w, b, epsilon, y, mean, inverse);
  }
  return py::make_tuple(out, means, inverses);
}

template <class T>
py::tuple layer_norm_backward(Operand& g, Operand& x, Operand& weight, Operand& mean, Operand& inverse) {
  const char* name = "layer_norm_gradient";
  require_matrix(name, x);
  require_same(name, g, x);
  const MatrixShape s = matrix(x);
  g.as<T>();
  x.as<T>();
  const T* w = vector_of<T>(name, weight, s.columns);
  const T* centre = vector_of<T>(name, mean, s.rows);
  const T* spread = vector_of<T>(name, inverse, s.rows);
  T *dx, *dw, *db;
  py::object dxs = new_array<T>(x.shape(), &dx), dws = new_array<T>(Shape{s.columns}, &dw),
             dbs = new_array<T>(Shape{s.columns}, &db);
  {
    MaybeUnlocked unlocked(x.elements());
    layer_norm_gradient<T>(s, g.data<T>(), x.data<T>(), w, centre, spread, dx, dw, db);
  }
  return py::make_tuple(dxs, dws, dbs);
}

template <class T>
py::object dropout_array(Operand& x, double p, uint64_t key) {
  x.as<T>();
  T* out;
  py::object result = new_array<T>(x.shape(), &out);
  MaybeUnlocked unlocked(8 * x.elements());
  dropout<T>(x.data<T>(), x.elements(), p, key, out);
  return result;
}

bool single(const Operand& x) { return common_dtype(x) == Dtype::float32; }

}  // namespace

void bind_images(py::module_& m) {
  m.def(
      "max_pool2d",
      [](py::handle x, const Pool2dWindow& window) -> py::tuple {
        Operand a("max_pool2d", "x", x);
        const Pool2dShape s = pool2d_shape("max_pool2d", a.shape(), window, true);
        if (s.wide_indices())
          return single(a) ? max_pool<float, int32_t>(a, s) : max_pool<double, int32_t>(a, s);
        return single(a) ? max_pool<float, uint8_t>(a, s) : max_pool<double, uint8_t>(a, s);
      },
      py::arg("x"), py::arg("window"));
  m.def(
      "max_pool2d_scatter",
      [](py::handle gradient, const py::array& indices, const Shape& x_shape, const Pool2dWindow& window) {
        const char* name = "max_pool2d_scatter";
        Operand g(name, "gradient", gradient);
        const Pool2dShape s = pool2d_shape(name, x_shape, window, true);
        require_output_shape(name, s, g.shape());
        return with_indices(name, indices, s, [&](const auto& at) {
          return single(g) ? scatter<float>(g, at, s) : scatter<double>(g, at, s);
        });
      },
      py::arg("gradient"), py::arg("indices"), py::arg("x_shape"), py::arg("window"));
  m.def(
      "max_pool2d_gather",
      [](py::handle x, const py::array& indices, const Pool2dWindow& window) {
        const char* name = "max_pool2d_gather";
        Operand a(name, "x", x);
        const Pool2dShape s = pool2d_shape(name, a.shape(), window, true);
        return with_indices(name, indices, s, [&](const auto& at) {
          return single(a) ? gather<float>(a, at, s) : gather<double>(a, at, s);
        });
      },
      py::arg("x"), py::arg("indices"), py::arg("window"));
  m.def(
      "average_pool2d",
      [](py::handle x, const Pool2dWindow& window) {
        Operand a("average_pool2d", "x", x);
        const Pool2dShape s = pool2d_shape("average_pool2d", a.shape(), window, false);
        return single(a) ? average<float>(a, s) : average<double>(a, s);
      },
      py::arg("x"), py::arg("window"));
  m.def(
      "average_pool2d_adjoint",
      [](py::handle gradient, const Shape& x_shape, const Pool2dWindow& window) {
        const char* name = "average_pool2d_adjoint";
        Operand g(name, "gradient", gradient);
        const Pool2dShape s = pool2d_shape(name, x_shape, window, false);
        require_output_shape(name, s, g.shape());
        return single(g) ? average_adjoint<float>(g, s) : average_adjoint<double>(g, s);
      },
      py::arg("gradient"), py::arg("x_shape"), py::arg("window"));
  m.def(
      "batch_norm",
      [](py::handle x, py::handle weight, py::handle bias, double epsilon,
         const std::optional<std::string>& activation) {
        const Activation then = activation_of("batch_norm", activation);
        Operand a("batch_norm", "x", x), w("batch_norm", "weight", weight), b("batch_norm", "bias", bias);
        return single(a) ? batch_norm_forward<float>(a, w, b, epsilon, then)
                         : batch_norm_forward<double>(a, w, b, epsilon, then);
      },
      py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("epsilon"), py::arg("activation"));
  m.def(
      "standardise",
      [](py::handle x, py::handle mean, py::handle scale, py::handle bias,
         const std::optional<std::string>& activation) {
        const char* name = "standardise";
        const Activation then = activation_of(name, activation);
        Operand a(name, "x", x), c(name, "mean", mean), f(name, "scale", scale), b(name, "bias", bias);
        return single(a) ? standardised<float>(a, c, f, b, then) : standardised<double>(a, c, f, b, then);
      },
      py::arg("x"), py::arg("mean"), py::arg("scale"), py::arg("bias"), py::arg("activation"));
  m.def(
      "batch_norm_gradient",
      [](py::handle gradient, py::handle x, py::handle weight, py::handle bias,
         const std::optional<std::string>& activation, py::handle mean, py::handle inverse) {
        const char* name = "batch_norm_gradient";
        const Activation then = activation_of(name, activation);
        Operand g(name, "gradient", gradient), a(name, "x", x), w(name, "weight", weight),
            b(name, "bias", bias), c(name, "mean", mean), i(name, "inverse deviation", inverse);
        return single(a) ? batch_norm_backward<float>(g, a, w, b, then, c, i)
                         : batch_norm_backward<double>(g, a, w, b, then, c, i);
      },
      py::arg("gradient"), py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("activation"),
      py::arg("mean"), py::arg("inverse_deviation"));
  m.def(
      "layer_norm",
      [](py::handle x, py::handle weight, py::handle bias, double epsilon) {
        Operand a("layer_norm", "x", x), w("layer_norm", "weight", weight), b("layer_norm", "bias", bias);
        return single(a) ? layer_norm_forward<float>(a, w, b, epsilon)
                         : layer_norm_forward<double>(a, w, b, epsilon);
      },
      py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("epsilon"));
  m.def(
      "layer_norm_gradient",
      [](py::handle gradient, py::handle x, py::handle weight, py::handle mean, py::handle inverse) {
        const char* name = "layer_norm_gradient";
        Operand g(name, "gradient", gradient), a(name, "x", x), w(name, "weight", weight),
            c(name, "mean", mean), i(name, "inverse deviation", inverse);
        return single(a) ? layer_norm_backward<float>(g, a, w, c, i)
                         : layer_norm_backward<double>(g, a, w, c, i);
      },
      py::arg("gradient"), py::arg("x"), py::arg("weight"), py::arg("mean"), py::arg("inverse_deviation"));
  m.def(
      "dropout",
      [](py::handle x, double p, uint64_t key) {
        Operand a("dropout", "x", x);
        return single(a) ? dropout_array<float>(a, p, key) : dropout_array<double>(a, p, key);
      },
      py::arg("x"), py::arg("p"), py::arg("key"));
}

}  // namespace chainrule::bindings
