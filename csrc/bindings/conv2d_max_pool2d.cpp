// Convolution with a max-pooling behind it.
#include <pybind11/stl.h>

#include "bindings/windows.h"
#include "ops/conv2d.h"

namespace chainrule::bindings {

namespace {

using Indices = py::array_t<uint8_t, py::array::c_style>;

struct Shapes {
  Conv2dShape conv;
  Pool2dShape pool;

  Shapes(const char* operation, const Shape& x, const Shape& weights, const Conv2dWindow& window,
         const Pool2dWindow& pooling)
      : conv(conv2d_shape(operation, x, weights, window)),
        pool(pool2d_shape(operation, conv.y(), pooling, true)) {}
};

// A gradient and indices of the pooled images.
template <class T>
const uint8_t* checked(const char* operation, Operand& gradient, const Indices& indices,
                       const Pool2dShape& pool) {
  const Shape given(indices.shape(), indices.shape() + indices.ndim());
  if (gradient.shape() != pool.y() || given != pool.y())
    throw std::invalid_argument(std::string(operation) + ": gradient " + shape_text(gradient.shape()) +
                                ", indices " + shape_text(given) + " for an output of " +
                                shape_text(pool.y()));
  gradient.as<T>();
  return indices.data();
}

template <class T>
py::tuple forward(Operand& x, Operand& w, Operand* bias, const Conv2dWindow& window,
                  const Pool2dWindow& pooling, bool relu, Precision precision) {
  const char* operation = "conv2d_max_pool2d";
  const Shapes s(operation, x.shape(), w.shape(), window, pooling);
  x.as<T>();
  w.as<T>();
  const Epilogue<T> epilogue{bias_data<T>(operation, bias, s.conv.filters, "filters"), relu};
  T* values;
  py::object out = new_array<T>(s.pool.y(), &values);
  py::array_t<uint8_t> indices(s.pool.y());
  uint8_t* at = indices.mutable_data();
  {
    MaybeUnlocked unlocked(s.conv.work());
    chainrule::conv2d_max_pool2d<T>(s.conv, s.pool, x.data<T>(), w.data<T>(), epilogue, values, at,
                                    precision);
  }
  return py::make_tuple(out, indices);
}

template <class T>
py::object input_gradient(Operand& g, const Indices& indices, Operand& w, const Shape& x,
                          const Conv2dWindow& window, const Pool2dWindow& pooling, Precision precision,
                          Operand* mask) {
  const char* operation = "conv2d_max_pool2d_input_gradient";
  const Shapes s(operation, x, w.shape(), window, pooling);
  const uint8_t* at = checked<T>(operation, g, indices, s.pool);
  w.as<T>();
  Epilogue<T> epilogue;
  if (mask != nullptr) {
    if (mask->shape() != s.conv.x())
      throw std::invalid_argument(std::string(operation) + ": mask " + shape_text(mask->shape()) +
                                  " for x of " + shape_text(s.conv.x()) + ": give one value for each");
    mask->as<T>();
    epilogue.mask = mask->data<T>();
  }
  T* dx;
  py::object out = new_array<T>(s.conv.x(), &dx);
  MaybeUnlocked unlocked(s.conv.work());
  chainrule::conv2d_max_pool2d_input_gradient<T>(s.conv, s.pool, g.data<T>(), at, w.data<T>(), epilogue, dx,
                                                 precision);
  return out;
}

template <class T>
py::object weight_gradient(Operand& x, Operand& g, const Indices& indices, const Shape& weights,
                           const Conv2dWindow& window, const Pool2dWindow& pooling, Precision precision) {
  const char* operation = "conv2d_max_pool2d_weight_gradient";
  const Shapes s(operation, x.shape(), weights, window, pooling);
  const uint8_t* at = checked<T>(operation, g, indices, s.pool);
  x.as<T>();
  T* dw;
  py::object out = new_array<T>(s.conv.weights(), &dw);
  MaybeUnlocked unlocked(s.conv.work());
  chainrule::conv2d_max_pool2d_weight_gradient<T>(s.conv, s.pool, x.data<T>(), g.data<T>(), at, dw,
                                                  precision);
  return out;
}

}  // namespace

void bind_conv2d_max_pool2d(py::module_& m) {
  m.def(
      "conv2d_max_pool2d_pays",
      [](const Shape& x, const Shape& weights, const Conv2dWindow& window, const Pool2dWindow& pooling) {
        const Shapes s("conv2d_max_pool2d", x, weights, window, pooling);
        return chainrule::conv2d_max_pool2d_pays(s.conv, s.pool);
      },
      py::arg("x_shape"), py::arg("weights_shape"), py::arg("window"), py::arg("pooling"));
  m.def(
      "conv2d_max_pool2d",
      [](py::handle x, py::handle weights, py::handle bias, const Conv2dWindow& window,
         const Pool2dWindow& pooling, bool relu, bool bfloat16) {
        const char* name = "conv2d_max_pool2d";
        Operand a(name, "x", x), w(name, "weights", weights);
        OptionalOperand b(name, "bias", bias);
        return common_dtype(a, w) == Dtype::float32
                   ? forward<float>(a, w, b.get(), window, pooling, relu, precision_of(bfloat16))
                   : forward<double>(a, w, b.get(), window, pooling, relu, precision_of(bfloat16));
      },
      py::arg("x"), py::arg("weights"), py::arg("bias"), py::arg("window"), py::arg("pooling"),
      py::arg("relu"), py::arg("bfloat16"));
  m.def(
      "conv2d_max_pool2d_input_gradient",
      [](py::handle gradient, const Indices& indices, py::handle weights, const Shape& x,
         const Conv2dWindow& window, const Pool2dWindow& pooling, bool bfloat16, py::handle mask) {
        const char* name = "conv2d_max_pool2d_input_gradient";
        Operand g(name, "gradient", gradient), w(name, "weights", weights);
        OptionalOperand m(name, "mask", mask);
        return common_dtype(g, w) == Dtype::float32
                   ? input_gradient<float>(g, indices, w, x, window, pooling, precision_of(bfloat16), m.get())
                   : input_gradient<double>(g, indices, w, x, window, pooling, precision_of(bfloat16),
                                            m.get());
      },
      py::arg("gradient"), py::arg("indices"), py::arg("weights"), py::arg("x_shape"), py::arg("window"),
      py::arg("pooling"), py::arg("bfloat16"), py::arg("mask") = py::none());
  m.def(
      "conv2d_max_pool2d_weight_gradient",
      [](py::handle x, py::handle gradient, const Indices& indices, const Shape& weights,
         const Conv2dWindow& window, const Pool2dWindow& pooling, bool bfloat16) {
        const char* name = "conv2d_max_pool2d_weight_gradient";
        Operand a(name, "x", x), g(name, "gradient", gradient);
        return common_dtype(a, g) == Dtype::float32
                   ? weight_gradient<float>(a, g, indices, weights, window, pooling, precision_of(bfloat16))
                   : weight_gradient<double>(a, g, indices, weights, window, pooling, precision_of(bfloat16));
      },
      py::arg("x"), py::arg("gradient"), py::arg("indices"), py::arg("weights_shape"), py::arg("window"),
      py::arg("pooling"), py::arg("bfloat16"));
}

}  // namespace chainrule::bindings
