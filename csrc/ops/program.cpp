#include "ops/program.h"

#include <algorithm>

#include "ops/matmul.h"
#include "runtime/allocator.h"

namespace chainrule {

namespace {

std::invalid_argument wrong(const char* operation, const std::string& what) {
  return std::invalid_argument(std::string(operation) + ": " + what);
}

// What a step keeps of its weights; no values where there are none.
template <class T>
std::vector<T> copied(const T* values, int64_t count) {
  return values == nullptr ? std::vector<T>() : std::vector<T>(values, values + count);
}

template <class T>
const T* data_of(const std::vector<T>& values) {
  return values.empty() ? nullptr : values.data();
}

Shape sample_of(Shape shape) {
  shape.erase(shape.begin());
  return shape;
}

void require_shape(const char* operation, const Shape& got, const Shape& wanted) {
  if (got != wanted)
    throw wrong(operation, "a value of " + shape_text(got) + " where " + shape_text(wanted) + " is read");
}

void require_one_sample(const char* operation, int64_t batch) {
  if (batch != 1) throw wrong(operation, "a step is given the shape of one sample");
}

Conv2dShape of_batch(Conv2dShape shape, int64_t batch) {
  shape.batch = batch;
  return shape;
}
Pool2dShape of_batch(Pool2dShape shape, int64_t batch) {
  shape.batch = batch;
  return shape;
}

}  // namespace

template <class T>
Program<T>::Program(const Shape& input) {
  values_.push_back({input, element_count(input, "program"), 0});
}

template <class T>
const Shape& Program<T>::shape(int64_t number) const {
  return value("program", number).shape;
}

template <class T>
auto Program<T>::value(const char* operation, int64_t number) const -> const Value& {
  if (number < 0 || number >= values()) throw wrong(operation, "there is no value " + std::to_string(number));
  return values_[static_cast<size_t>(number)];
}

template <class T>
int64_t Program<T>::add(const char* operation, std::vector<int64_t> inputs, const Shape& shape, int64_t work,
                        Body body) {
  const int64_t output = values();
  for (int64_t input : inputs) values_[memory_of(input)].last_read = steps_.size();
  values_.push_back({shape, element_count(shape, operation), output});
  steps_.push_back({std::move(inputs), output, std::move(body)});
  work_ = checked_add(work_, work, operation);
  return output;
}

// ---- Convolutions ----------------------------------------------------------------------------------------

template <class T>
int64_t Program<T>::conv2d(int64_t x, const Conv2dShape& s, const T* weights, const T* bias, bool relu,
                           Precision precision) {
  check_conv2d("conv2d", s);
  require_one_sample("conv2d", s.batch);
  require_shape("conv2d", value("conv2d", x).shape, sample_of(s.x()));
  return add("conv2d", {x}, sample_of(s.y()), s.work(),
             [s, w = copied(weights, element_count(s.weights(), "conv2d")), b = copied(bias, s.filters), relu,
              precision](int64_t batch, const T* const* in, T* out) {
               chainrule::conv2d<T>(of_batch(s, batch), in[0], w.data(), {data_of(b), relu}, out, precision);
             });
}

template <class T>
int64_t Program<T>::conv2d_max_pool2d(int64_t x, const Conv2dShape& s, const Pool2dShape& pool,
                                      const T* weights, const T* bias, bool relu, Precision precision) {
  const char* operation = "conv2d_max_pool2d";
  check_conv2d(operation, s);
  check_pool2d(operation, pool);
  require_one_sample(operation, s.batch);
  require_shape(operation, value(operation, x).shape, sample_of(s.x()));
  require_shape(operation, pool.x(), s.y());
  return add(operation, {x}, sample_of(pool.y()), s.work(),
             [s, pool, w = copied(weights, element_count(s.weights(), operation)),
              b = copied(bias, s.filters), relu, precision](int64_t batch, const T* const* in, T* out) {
               const Pool2dShape pools = of_batch(pool, batch);
               Scratch<uint8_t> indices(element_count(pools.y(), "conv2d_max_pool2d"));
               chainrule::conv2d_max_pool2d<T>(of_batch(s, batch), pools, in[0], w.data(), {data_of(b), relu},
                                               out, indices.data(), precision);
             });
}

template <class T>
int64_t Program<T>::conv_transpose2d(int64_t x, const Conv2dShape& s, const T* weights, const T* bias,
                                     Precision precision) {
  const char* operation = "conv_transpose2d";
  check_conv2d(operation, s);
  require_one_sample(operation, s.batch);
  require_shape(operation, value(operation, x).shape, sample_of(s.y()));
  return add(operation, {x}, sample_of(s.x()), s.work(),
             [s, w = copied(weights, element_count(s.weights(), operation)), b = copied(bias, s.channels),
              precision](int64_t batch, const T* const* in, T* out) {
               chainrule::conv2d_input_gradient<T>(of_batch(s, batch), in[0], w.data(), {data_of(b), false},
                                                   out, precision);
             });
}

// ---- Products --------------------------------------------------------------------------------------------

template <class T>
int64_t Program<T>::linear(int64_t x, int64_t in, int64_t out, const T* weights, const T* bias, bool relu,
                           Precision precision) {
  const Value& from = value("linear", x);
  if (in < 0 || out < 0 || from.shape.empty() || from.shape.back() != in)
    throw wrong("linear", "a value of " + shape_text(from.shape) + " for weights " + shape_text({in, out}));
  Shape shape = from.shape;
  shape.back() = out;
  int64_t rows = 1;
  for (size_t d = 0; d + 1 < shape.size(); ++d) rows = checked_multiply(rows, shape[d], "linear");
  // Transposed: few samples are dot products with its rows, and for many it costs no more.
  std::vector<T> w(static_cast<size_t>(checked_multiply(in, out, "linear")));
  for (int64_t i = 0; i < in; ++i)
    for (int64_t j = 0; j < out; ++j)
      w[static_cast<size_t>(j * in + i)] = weights[static_cast<size_t>(i * out + j)];
  return add("linear", {x}, shape, checked_multiply(rows, checked_multiply(in, out, "linear"), "linear"),
             [in, out, rows, w = std::move(w), b = copied(bias, out), relu, precision](
                 int64_t batch, const T* const* values, T* to) {
               const int64_t m = checked_multiply(batch, rows, "linear");
               matmul<T>({values[0], {m, in}, {in, 1}}, {w.data(), {in, out}, {1, in}}, to,
                         {data_of(b), relu}, precision);
             });
}

// ---- Pooling and normalisation ---------------------------------------------------------------------------

template <class T>
int64_t Program<T>::max_pool2d(int64_t x, const Pool2dShape& pool) {
  check_pool2d("max_pool2d", pool);
  require_one_sample("max_pool2d", pool.batch);
  require_shape("max_pool2d", value("max_pool2d", x).shape, sample_of(pool.x()));
  return add("max_pool2d", {x}, sample_of(pool.y()), value("max_pool2d", x).elements,
             [pool](int64_t batch, const T* const* in, T* out) {
               const Pool2dShape pools = of_batch(pool, batch);
               const int64_t count = element_count(pools.y(), "max_pool2d");
               if (pool.wide_indices())
                 chainrule::max_pool2d<T>(pools, in[0], out, Scratch<int32_t>(count).data());
               else
                 chainrule::max_pool2d<T>(pools, in[0], out, Scratch<uint8_t>(count).data());
             });
}

template <class T>
int64_t Program<T>::average_pool2d(int64_t x, const Pool2dShape& pool) {
  check_pool2d("average_pool2d", pool);
  require_one_sample("average_pool2d", pool.batch);
  require_shape("average_pool2d", value("average_pool2d", x).shape, sample_of(pool.x()));
  return add("average_pool2d", {x}, sample_of(pool.y()), value("average_pool2d", x).elements,
             [pool](int64_t batch, const T* const* in, T* out) {
               chainrule::average_pool2d<T>(of_batch(pool, batch), in[0], out);
             });
}

template <class T>
int64_t Program<T>::standardise(int64_t x, const T* mean, const T* scale, const T* bias,
                                Activation activation) {
  const Value& from = value("standardise", x);
  if (from.shape.empty()) throw wrong("standardise", "a number has no channels");
  if (mean == nullptr || scale == nullptr || bias == nullptr)
    throw wrong("standardise", "give mean, scale and bias");
  const int64_t channels = from.shape.back(), rows = channels > 0 ? from.elements / channels : 0;
  return add("standardise", {x}, from.shape, from.elements,
             [rows, channels, m = copied(mean, channels), s = copied(scale, channels),
              b = copied(bias, channels), activation](int64_t batch, const T* const* in, T* out) {
               chainrule::standardise<T>({batch * rows, channels}, in[0], m.data(), s.data(), b.data(),
                                         activation, out);
             });
}

template <class T>
int64_t Program<T>::layer_norm(int64_t x, int64_t size, const T* weight, const T* bias, double epsilon) {
  const Value& from = value("layer_norm", x);
  if (weight == nullptr || bias == nullptr) throw wrong("layer_norm", "give weight and bias");
  int64_t last_axes = 1;
  for (size_t d = from.shape.size(); d > 0 && last_axes < size; --d) last_axes *= from.shape[d - 1];
  if (size < 1 || last_axes != size)
    throw wrong("layer_norm",
                std::to_string(size) + " values for the last axes of " + shape_text(from.shape));
  const int64_t rows = from.elements / size;
  return add("layer_norm", {x}, from.shape, from.elements,
             [rows, size, w = copied(weight, size), b = copied(bias, size), epsilon](
                 int64_t batch, const T* const* in, T* out) {
               Scratch<T> statistics(2 * batch * rows);
               chainrule::layer_norm<T>({batch * rows, size}, in[0], w.data(), b.data(), epsilon, out,
                                        statistics.data(), statistics.data() + batch * rows);
             });
}

// ---- Reductions ------------------------------------------------------------------------------------------

template <class T>
ReduceShape Program<T>::middle(const char* operation, int64_t x, int64_t first, int64_t last) const {
  const Shape& shape = value(operation, x).shape;
  if (first < 0 || last <= first || last > static_cast<int64_t>(shape.size()))
    throw wrong(operation, "axes " + std::to_string(first) + " to " + std::to_string(last) +
                               " of a value of " + shape_text(shape));
  auto product = [&](int64_t from, int64_t to) {
    return element_count(Shape(shape.begin() + from, shape.begin() + to), operation);
  };
  return {product(0, first), product(first, last), product(last, static_cast<int64_t>(shape.size()))};
}

template <class T>
Shape Program<T>::without(int64_t x, int64_t first, int64_t last) const {
  Shape shape = value("program", x).shape;
  shape.erase(shape.begin() + first, shape.begin() + last);
  return shape;
}

template <class T>
int64_t Program<T>::sum(int64_t x, int64_t first, int64_t last) {
  const ReduceShape s = middle("sum", x, first, last);
  return add("sum", {x}, without(x, first, last), value("sum", x).elements,
             [s](int64_t batch, const T* const* in, T* out) {
               reduce_sum<T>(in[0], {batch * s.outer, s.n, s.inner}, out);
             });
}

template <class T>
int64_t Program<T>::extreme(Extreme which, int64_t x, int64_t first, int64_t last) {
  const char* operation = which == Extreme::max ? "max" : "min";
  const ReduceShape s = middle(operation, x, first, last);
  if (s.n == 0) throw wrong(operation, "over no values");
  return add(operation, {x}, without(x, first, last), value(operation, x).elements,
             [which, s](int64_t batch, const T* const* in, T* out) {
               Scratch<int64_t> indices(batch * s.outer * s.inner);
               reduce_extreme<T>(which, in[0], {batch * s.outer, s.n, s.inner}, out, indices.data());
             });
}

template <class T>
int64_t Program<T>::softmax(SoftmaxOutput output, int64_t x, int64_t first, int64_t last) {
  const ReduceShape s = middle("softmax", x, first, last);
  return add("softmax", {x}, value("softmax", x).shape, value("softmax", x).elements,
             [output, s](int64_t batch, const T* const* in, T* out) {
               softmax_forward<T>(output, in[0], {batch * s.outer, s.n, s.inner}, out);
             });
}

// ---- Elementwise -----------------------------------------------------------------------------------------

template <class T>
int64_t Program<T>::reshape(int64_t x, const Shape& shape) {
  const Value from = value("reshape", x);
  const int64_t elements = element_count(shape, "reshape");
  if (elements != from.elements)
    throw wrong("reshape",
                shape_text(from.shape) + " to " + shape_text(shape) + ": the number of values differs");
  values_.push_back({shape, elements, from.memory});
  return values() - 1;
}

template <class T>
int64_t Program<T>::unary(UnaryOp op, int64_t x) {
  const Value& from = value("unary", x);
  return add("unary", {x}, from.shape, from.elements,
             [op, n = from.elements](int64_t batch, const T* const* in, T* out) {
               apply_unary<T>(op, in[0], out, batch * n);
             });
}

template <class T>
int64_t Program<T>::binary(BinaryOp op, int64_t a, int64_t b) {
  const Value& from = value("binary", a);
  require_shape("binary", value("binary", b).shape, from.shape);
  return add("binary", {a, b}, from.shape, from.elements,
             [op, n = from.elements](int64_t batch, const T* const* in, T* out) {
               const Shape all{batch * n};
               apply_binary<T>(op, {in[0], all}, {in[1], all}, out);
             });
}

template <class T>
int64_t Program<T>::binary_constant(BinaryOp op, int64_t x, const ArrayView<T>& constant,
                                    bool constant_first) {
  const Value& from = value("binary", x);
  require_shape("binary", broadcast_shape("binary", from.shape, constant.shape), from.shape);
  // Of a constant with as many axes as a sample, the batch is one more.
  return add("binary", {x}, from.shape, from.elements,
             [op, sample = from.shape, shape = constant.shape,
              c = copied(constant.data, element_count(constant.shape, "binary")),
              constant_first](int64_t batch, const T* const* in, T* out) {
               Shape all{batch};
               all.insert(all.end(), sample.begin(), sample.end());
               const ArrayView<T> value{in[0], all}, number{c.data(), shape};
               constant_first ? apply_binary<T>(op, number, value, out)
                              : apply_binary<T>(op, value, number, out);
             });
}

// ---- Running ---------------------------------------------------------------------------------------------

template <class T>
void Program<T>::run(int64_t batch, const T* x, T* out) const {
  const size_t count = values_.size();
  const size_t result = memory_of(values() - 1);
  std::vector<std::optional<Scratch<T>>> held(count);
  std::vector<const T*> at(count, nullptr);
  at[0] = x;
  std::vector<const T*> read;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = steps_[i];
    read.clear();
    for (int64_t input : step.inputs) read.push_back(at[memory_of(input)]);
    const auto output = static_cast<size_t>(step.output);
    T* to = out;
    if (output != result) {
      held[output].emplace(checked_multiply(batch, values_[output].elements, "program"));
      to = held[output]->data();
    }
    at[output] = to;
    step.body(batch, read.data(), to);
    for (int64_t input : step.inputs)
      if (values_[memory_of(input)].last_read == i) held[memory_of(input)].reset();
  }
  if (result == 0) std::copy(x, x + batch * values_[0].elements, out);
}

template class Program<float>;
template class Program<double>;

}  // namespace chainrule
