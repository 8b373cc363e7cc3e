// A fixed sequence of operations on batches of samples: the forward pass of a frozen model, run as one call.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "ops/conv2d.h"
#include "ops/elementwise.h"
#include "ops/normalise.h"
#include "ops/pool.h"
#include "ops/reduce.h"
#include "ops/softmax.h"

namespace chainrule {

// Values are numbered; value 0 is the input, and each step adds one. Shapes are those of one sample: a value
// of a batch has the batch's size before them. Steps own copies of their weights and check what they are
// given when they are added; std::invalid_argument names the operation.
template <class T>
class Program {
 public:
  explicit Program(const Shape& input);

  // ---- Steps: each returns the number of its value
  // ---------------------------------------------------------

  // `shape` is that of a batch of one; bias: (filters,) or nullptr.
  int64_t conv2d(int64_t x, const Conv2dShape& shape, const T* weights, const T* bias, bool relu,
                 Precision precision);
  // The same with max-pooling of its outputs.
  int64_t conv2d_max_pool2d(int64_t x, const Conv2dShape& shape, const Pool2dShape& pool, const T* weights,
                            const T* bias, bool relu, Precision precision);
  // The transposed convolution: from outputs of `shape` to its inputs; bias: (channels,) or nullptr.
  int64_t conv_transpose2d(int64_t x, const Conv2dShape& shape, const T* weights, const T* bias,
                           Precision precision);
  // x (..., in) times weights (in, out); bias: (out,) or nullptr.
  int64_t linear(int64_t x, int64_t in, int64_t out, const T* weights, const T* bias, bool relu,
                 Precision precision);
  int64_t max_pool2d(int64_t x, const Pool2dShape& pool);
  int64_t average_pool2d(int64_t x, const Pool2dShape& pool);
  // mean, scale, bias: (channels,), channels the last axis.
  int64_t standardise(int64_t x, const T* mean, const T* scale, const T* bias, Activation activation);
  // weight, bias: of the last axes, together `size` values.
  int64_t layer_norm(int64_t x, int64_t size, const T* weight, const T* bias, double epsilon);
  // Over axes [first, last) of a sample, which then are gone: sums, and the largest or smallest values.
  int64_t sum(int64_t x, int64_t first, int64_t last);
  int64_t extreme(Extreme which, int64_t x, int64_t first, int64_t last);
  // Softmax or log-softmax over axes [first, last) of a sample.
  int64_t softmax(SoftmaxOutput output, int64_t x, int64_t first, int64_t last);
  int64_t reshape(int64_t x, const Shape& shape);
  int64_t unary(UnaryOp op, int64_t x);
  // Of two values of one shape.
  int64_t binary(BinaryOp op, int64_t a, int64_t b);
  // Of a value and a constant that broadcasts to its shape; `constant_first`: the constant is the left one.
  int64_t binary_constant(BinaryOp op, int64_t x, const ArrayView<T>& constant, bool constant_first);

  // ---- Running
  // -----------------------------------------------------------------------------------------------

  int64_t values() const { return static_cast<int64_t>(values_.size()); }
  const Shape& shape(int64_t value) const;
  // About the work of one sample, in multiply-adds.
  int64_t work() const { return work_; }
  // x: (batch, shape(0)...); out: (batch, the last value's shape...). Several threads may run one program.
  void run(int64_t batch, const T* x, T* out) const;

 private:
  // Computes `out` from the values read, for a batch.
  using Body = std::function<void(int64_t batch, const T* const* x, T* out)>;
  struct Value {
    Shape shape;
    int64_t elements;
    int64_t memory;        // the value whose memory holds it: itself, or what it is a reshaped view of
    size_t last_read = 0;  // the step after which nobody reads the memory, of a value that holds its own
  };
  struct Step {
    std::vector<int64_t> inputs;
    int64_t output;
    Body body;
  };

  int64_t add(const char* operation, std::vector<int64_t> inputs, const Shape& shape, int64_t work,
              Body body);
  const Value& value(const char* operation, int64_t number) const;
  // The value that holds another's memory.
  size_t memory_of(int64_t number) const {
    return static_cast<size_t>(values_[static_cast<size_t>(number)].memory);
  }
  // The axes [first, last) of a value as the middle one of (outer, n, inner), of one sample.
  ReduceShape middle(const char* operation, int64_t x, int64_t first, int64_t last) const;
  Shape without(int64_t x, int64_t first, int64_t last) const;

  std::vector<Value> values_;
  std::vector<Step> steps_;
  int64_t work_ = 0;
};

}  // namespace chainrule
