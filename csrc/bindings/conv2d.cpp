#include "ops/conv2d.h"

#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/windows.h"

namespace chainrule::bindings {

namespace {

void check_gradient(const char* operation, const Conv2dShape& s, const Operand& g) {
  if (g.shape() != s.y())
    throw std::invalid_argument(std::string(operation) + ": gradient " + shape_text(g.shape()) +
                                " for an output of " + shape_text(s.y()));
}

template <class T>
py::object forward(Operand& x, Operand& w, Operand* bias, const Conv2dWindow& window, bool relu,
                   Precision precision) {
  const Conv2dShape s = conv2d_shape("conv2d", x.shape(), w.shape(), window);
  x.as<T>();
  w.as<T>();
  const Epilogue<T> epilogue{bias_data<T>("conv2d", bias, s.filters, "filters"), relu};
  T* out;
  py::object result = new_array<T>(s.y(), &out);
  MaybeUnlocked unlocked(s.work());
  conv2d<T>(s, x.data<T>(), w.data<T>(), epilogue, out, precision);
  return result;
}

template <class T>
py::object input_gradient(const char* operation, Operand& g, Operand& w, Operand* bias, int64_t height,
                          int64_t width, const Conv2dWindow& window, Precision precision, Operand* mask) {
  if (g.dimensions() != 4 || w.dimensions() != 4)
    throw std::invalid_argument(std::string(operation) + ": x " + shape_text(g.shape()) + ", weights " +
                                shape_text(w.shape()) + ": both have four dimensions");
  const int64_t groups = std::max<int64_t>(window[8], 1);
  const Shape x{g.size(0), height, width, checked_multiply(w.size(2), groups, operation)};
  const Conv2dShape s = conv2d_shape(operation, x, w.shape(), window);
  check_gradient(operation, s, g);
  g.as<T>();
  w.as<T>();
  Epilogue<T> epilogue{bias_data<T>(operation, bias, s.channels, "filters"), false};
  if (mask != nullptr) {
    if (mask->shape() != s.x())
      throw std::invalid_argument(std::string(operation) + ": mask " + shape_text(mask->shape()) +
                                  " for x of " + shape_text(s.x()) + ": give one value for each");
    mask->as<T>();
    epilogue.mask = mask->data<T>();
  }
  T* out;
  py::object result = new_array<T>(s.x(), &out);
  MaybeUnlocked unlocked(s.work());
  conv2d_input_gradient<T>(s, g.data<T>(), w.data<T>(), epilogue, out, precision);
  return result;
}

template <class T>
py::object weight_gradient(Operand& x, Operand& g, int64_t height, int64_t width, const Conv2dWindow& window,
                           Precision precision) {
  const char* operation = "conv2d_weight_gradient";
  if (x.dimensions() != 4 || g.dimensions() != 4)
    throw std::invalid_argument(std::string(operation) + ": x " + shape_text(x.shape()) + ", gradient " +
                                shape_text(g.shape()) + ": both have four dimensions");
  const int64_t groups = std::max<int64_t>(window[8], 1);
  const Conv2dShape s =
      conv2d_shape(operation, x.shape(), {height, width, x.size(3) / groups, g.size(3)}, window);
  check_gradient(operation, s, g);
  x.as<T>();
  g.as<T>();
  T* out;
  py::object result = new_array<T>(s.weights(), &out);
  MaybeUnlocked unlocked(s.work());
  conv2d_weight_gradient<T>(s, x.data<T>(), g.data<T>(), out, precision);
  return result;
}

template <class T>
py::tuple epilogue_gradient(Operand& g, Operand& y) {
  if (g.shape() != y.shape() || y.dimensions() < 1)
    throw std::invalid_argument("epilogue_gradient: gradient " + shape_text(g.shape()) +
                                " for an output of " + shape_text(y.shape()));
  g.as<T>();
  y.as<T>();
  const int64_t filters = y.size(y.dimensions() - 1);
  T *dz, *dbias;
  py::object through = new_array<T>(y.shape(), &dz), bias = new_array<T>(Shape{filters}, &dbias);
  {
    MaybeUnlocked unlocked(y.elements());
    chainrule::epilogue_gradient<T>(filters > 0 ? y.elements() / filters : 0, filters, g.data<T>(),
                                    y.data<T>(), dz, dbias);
  }
  return py::make_tuple(through, bias);
}

}  // namespace

void bind_conv2d(py::module_& m) {
  m.def(
      "conv2d",
      [](py::handle x, py::handle weights, py::handle bias, const Conv2dWindow& window, bool relu,
         bool bfloat16) {
        const Precision precision = precision_of(bfloat16);
        Operand a("conv2d", "x", x), w("conv2d", "weights", weights);
        OptionalOperand b("conv2d", "bias", bias);
        return common_dtype(a, w) == Dtype::float32 ? forward<float>(a, w, b.get(), window, relu, precision)
                                                    : forward<double>(a, w, b.get(), window, relu, precision);
      },
      py::arg("x"), py::arg("weights"), py::arg("bias"), py::arg("window"), py::arg("relu"),
      py::arg("bfloat16") = false);
  m.def(
      "conv2d_input_gradient",
      [](py::handle gradient, py::handle weights, py::handle bias, int64_t height, int64_t width,
         const Conv2dWindow& window, bool transposed, bool bfloat16, py::handle mask) {
        const Precision precision = precision_of(bfloat16);
        const char* operation = transposed ? "conv_transpose2d" : "conv2d_input_gradient";
        Operand g(operation, transposed ? "x" : "gradient", gradient), w(operation, "weights", weights);
        OptionalOperand b(operation, "bias", bias), m(operation, "mask", mask);
        return common_dtype(g, w) == Dtype::float32
                   ? input_gradient<float>(operation, g, w, b.get(), height, width, window, precision,
                                           m.get())
                   : input_gradient<double>(operation, g, w, b.get(), height, width, window, precision,
                                            m.get());
      },
      py::arg("gradient"), py::arg("weights"), py::arg("bias"), py::arg("height"), py::arg("width"),
      py::arg("window"), py::arg("transposed"), py::arg("bfloat16") = false, py::arg("mask") = py::none());
  m.def(
      "conv2d_weight_gradient",
      [](py::handle x, py::handle gradient, int64_t height, int64_t width, const Conv2dWindow& window,
         bool bfloat16) {
        const Precision precision = precision_of(bfloat16);
        Operand a("conv2d_weight_gradient", "x", x), g("conv2d_weight_gradient", "gradient", gradient);
        return common_dtype(a, g) == Dtype::float32
                   ? weight_gradient<float>(a, g, height, width, window, precision)
                   : weight_gradient<double>(a, g, height, width, window, precision);
      },
      py::arg("x"), py::arg("gradient"), py::arg("height"), py::arg("width"), py::arg("window"),
      py::arg("bfloat16") = false);
  m.def(
      "epilogue_gradient",
      [](py::handle gradient, py::handle output) {
        const char* name = "epilogue_gradient";
        Operand g(name, "gradient", gradient), y(name, "output", output);
        return common_dtype(g, y) == Dtype::float32 ? epilogue_gradient<float>(g, y)
                                                    : epilogue_gradient<double>(g, y);
      },
      py::arg("gradient"), py::arg("output"));
  m.def(
      "set_conv_algorithm", [](const std::string& name) { set_conv_algorithm(parse_conv_algorithm(name)); },
      py::arg("name"));
  m.def("conv_algorithm", [] { return conv_algorithm_name(conv_algorithm()); });
}

}  // namespace chainrule::bindings
