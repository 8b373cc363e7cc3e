// Programs: built by `chainrule.nn.freeze`, a step for each gate.
#include "ops/program.h"

#include <pybind11/stl.h>

#include <map>
#include <optional>
#include <string>

#include "bindings/windows.h"

namespace chainrule::bindings {

namespace {

const std::map<std::string, UnaryOp> unary_ops{
    {"negative", UnaryOp::negate},  {"abs", UnaryOp::absolute}, {"exp", UnaryOp::exp},
    {"log", UnaryOp::log},          {"sqrt", UnaryOp::sqrt},    {"sin", UnaryOp::sin},
    {"cos", UnaryOp::cos},          {"tanh", UnaryOp::tanh},    {"sigmoid", UnaryOp::sigmoid},
    {"relu", UnaryOp::relu},        {"gelu", UnaryOp::gelu},    {"silu", UnaryOp::silu},
    {"softplus", UnaryOp::softplus}};

const std::map<std::string, BinaryOp> binary_ops{
    {"add", BinaryOp::add},         {"subtract", BinaryOp::subtract},     {"multiply", BinaryOp::multiply},
    {"divide", BinaryOp::divide},   {"power", BinaryOp::power},           {"maximum", BinaryOp::maximum},
    {"minimum", BinaryOp::minimum}, {"leaky_relu", BinaryOp::leaky_relu}, {"elu", BinaryOp::elu}};

const std::map<std::string, SoftmaxOutput> softmax_outputs{{"softmax", SoftmaxOutput::softmax},
                                                           {"log_softmax", SoftmaxOutput::log_softmax}};

template <class Op>
Op named(const std::map<std::string, Op>& ops, const std::string& name) {
  const auto found = ops.find(name);
  if (found == ops.end()) throw std::invalid_argument("program: there is no operation '" + name + "'");
  return found->second;
}

Shape one_sample(const Shape& sample) {
  Shape shape{1};
  shape.insert(shape.end(), sample.begin(), sample.end());
  return shape;
}

// `count` values of a step's parameter, of any shape; nullptr for None.
template <class T>
class Values {
 public:
  Values(const char* operation, const char* argument, py::handle given, int64_t count)
      : operand_(operation, argument, given) {
    if (operand_.get() == nullptr) return;
    operand_.get()->template as<T>();
    if (operand_.get()->elements() != count)
      throw std::invalid_argument(std::string(operation) + ": " + argument + " " +
                                  shape_text(operand_.get()->shape()) + " for " + std::to_string(count) +
                                  " values");
  }
  const T* data() { return operand_.get() != nullptr ? operand_.get()->template data<T>() : nullptr; }

 private:
  OptionalOperand operand_;
};

template <class T>
py::object run(const Program<T>& program, py::handle given) {
  Operand x("frozen model", "x", given);
  const Dtype given_dtype = common_dtype(x);  // refuses integer arrays; lists of numbers take the model's
  if (x.has_dtype() && given_dtype != dtype_of<T>)
    throw py::type_error("frozen model: x is " + std::string(sizeof(T) == 4 ? "float64" : "float32") +
                         ", the model's values are " + (sizeof(T) == 4 ? "float32" : "float64"));
  const Shape& sample = program.shape(0);
  bool fits = x.dimensions() == static_cast<int>(sample.size()) + 1;
  for (size_t d = 0; fits && d < sample.size(); ++d) fits = x.size(static_cast<int>(d) + 1) == sample[d];
  if (!fits) {
    std::string wanted = "(N";
    for (int64_t size : sample) wanted += ", " + std::to_string(size);
    throw std::invalid_argument("frozen model: x " + shape_text(x.shape()) + " is not " + wanted + ")");
  }
  x.as<T>();
  const int64_t batch = x.size(0);
  Shape shape{batch};
  const Shape& result = program.shape(program.values() - 1);
  shape.insert(shape.end(), result.begin(), result.end());
  T* out;
  py::object array = new_array<T>(shape, &out);
  MaybeUnlocked unlocked(checked_multiply(batch, std::max<int64_t>(program.work(), 1), "frozen model"));
  if (batch > 0) program.run(batch, x.data<T>(), out);
  return array;
}

template <class T>
void bind(py::module_& m, const char* name) {
  using P = Program<T>;
  py::class_<P>(m, name)
      .def(py::init<const Shape&>(), py::arg("input"))
      .def("conv2d",
           [](P& p, int64_t x, py::handle weights, py::handle bias, const Conv2dWindow& window, bool relu,
              bool bfloat16) {
             Operand w("conv2d", "weights", weights);
             w.as<T>();
             const Conv2dShape s = conv2d_shape("conv2d", one_sample(p.shape(x)), w.shape(), window);
             Values<T> b("conv2d", "bias", bias, s.filters);
             return p.conv2d(x, s, w.data<T>(), b.data(), relu, precision_of(bfloat16));
           })
      .def("conv2d_max_pool2d",
           [](P& p, int64_t x, py::handle weights, py::handle bias, const Conv2dWindow& window,
              const Pool2dWindow& pooling, bool relu, bool bfloat16) {
             Operand w("conv2d_max_pool2d", "weights", weights);
             w.as<T>();
             const Conv2dShape s =
                 conv2d_shape("conv2d_max_pool2d", one_sample(p.shape(x)), w.shape(), window);
             const Pool2dShape pool = pool2d_shape("conv2d_max_pool2d", s.y(), pooling, true);
             Values<T> b("conv2d_max_pool2d", "bias", bias, s.filters);
             return p.conv2d_max_pool2d(x, s, pool, w.data<T>(), b.data(), relu, precision_of(bfloat16));
           })
      .def("conv_transpose2d",
           [](P& p, int64_t x, py::handle weights, py::handle bias, int64_t height, int64_t width,
              const Conv2dWindow& window, bool bfloat16) {
             Operand w("conv_transpose2d", "weights", weights);
             w.as<T>();
             const int64_t channels =
                 w.dimensions() == 4 ? checked_multiply(w.size(2), window[8], "conv_transpose2d") : 0;
             const Conv2dShape s =
                 conv2d_shape("conv_transpose2d", {1, height, width, channels}, w.shape(), window);
             Values<T> b("conv_transpose2d", "bias", bias, s.channels);
             return p.conv_transpose2d(x, s, w.data<T>(), b.data(), precision_of(bfloat16));
           })
      .def("linear",
           [](P& p, int64_t x, py::handle weights, py::handle bias, bool relu, bool bfloat16) {
             Operand w("linear", "weight", weights);
             w.as<T>();
             if (w.dimensions() != 2)
               throw std::invalid_argument("linear: weight " + shape_text(w.shape()) + " is not a matrix");
             Values<T> b("linear", "bias", bias, w.size(1));
             return p.linear(x, w.size(0), w.size(1), w.data<T>(), b.data(), relu, precision_of(bfloat16));
           })
      .def("max_pool2d",
           [](P& p, int64_t x, const Pool2dWindow& window) {
             return p.max_pool2d(x, pool2d_shape("max_pool2d", one_sample(p.shape(x)), window, true));
           })
      .def("average_pool2d",
           [](P& p, int64_t x, const Pool2dWindow& window) {
             return p.average_pool2d(x,
                                     pool2d_shape("average_pool2d", one_sample(p.shape(x)), window, false));
           })
      .def("standardise",
           [](P& p, int64_t x, py::handle mean, py::handle scale, py::handle bias,
              const std::optional<std::string>& activation) {
             const Shape& shape = p.shape(x);
             const int64_t channels = shape.empty() ? 0 : shape.back();
             Values<T> m("standardise", "mean", mean, channels), s("standardise", "scale", scale, channels),
                 b("standardise", "bias", bias, channels);
             return p.standardise(x, m.data(), s.data(), b.data(), activation_of("standardise", activation));
           })
      .def("layer_norm",
           [](P& p, int64_t x, py::handle weight, py::handle bias, double epsilon) {
             Operand w("layer_norm", "weight", weight);
             w.as<T>();
             Values<T> b("layer_norm", "bias", bias, w.elements());
             return p.layer_norm(x, w.elements(), w.data<T>(), b.data(), epsilon);
           })
      .def("sum", &P::sum)
      .def("max", [](P& p, int64_t x, int64_t first,
                     int64_t last) { return p.extreme(Extreme::max, x, first, last); })
      .def("min", [](P& p, int64_t x, int64_t first,
                     int64_t last) { return p.extreme(Extreme::min, x, first, last); })
      .def("softmax", [](P& p, const std::string& name, int64_t x, int64_t first,
                         int64_t last) { return p.softmax(named(softmax_outputs, name), x, first, last); })
      .def("reshape", &P::reshape)
      .def("unary",
           [](P& p, const std::string& name, int64_t x) { return p.unary(named(unary_ops, name), x); })
      .def("binary", [](P& p, const std::string& name, int64_t a,
                        int64_t b) { return p.binary(named(binary_ops, name), a, b); })
      .def("binary_constant",
           [](P& p, const std::string& name, int64_t x, py::handle constant, bool constant_first) {
             Operand c(name.c_str(), "constant", constant);
             c.as<T>();
             return p.binary_constant(named(binary_ops, name), x, {c.data<T>(), c.shape()}, constant_first);
           })
      .def("shape", &P::shape)
      .def("__call__", &run<T>);
}

}  // namespace

void bind_program(py::module_& m) {
  bind<float>(m, "ProgramFloat32");
  bind<double>(m, "ProgramFloat64");
}

}  // namespace chainrule::bindings
