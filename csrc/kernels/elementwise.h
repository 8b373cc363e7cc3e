// Elementwise maps of one, two and three arguments, on one range on the calling thread.
#pragma once

#include <cstdint>

namespace chainrule {

// The order is the order of the functions in the tables below.
enum class UnaryOp {
  negate,
  absolute,
  sign,
  square,
  sqrt,
  exp,
  log,
  sin,
  cos,
  tanh,
  sigmoid,
  relu,
  gelu,
  silu,
  softplus,
  count
};
enum class BinaryOp {
  add,
  subtract,
  multiply,
  divide,
  power,
  maximum,
  minimum,
  // The derivatives that training runs at every step, in one pass each. The first argument is the incoming
  // gradient, the second what the forward pass kept.
  relu_gradient,     // g where y > 0, else 0
  sigmoid_gradient,  // g y (1 - y)
  tanh_gradient,     // g (1 - y^2)
  // The same, but the second argument is the input x.
  gelu_gradient,  // g (P(x) + x p(x)), P and p the normal distribution and its density
  silu_gradient,  // g s (1 + x (1 - s)), s the sigmoid of x
  // Activations with a setting, the second argument, and their slopes.
  leaky_relu,        // x where x > 0, else slope x
  leaky_relu_slope,  // 1 where x > 0, else slope
  elu,               // x where x > 0, else alpha (e^x - 1)
  elu_slope,         // 1 where x > 0, else alpha e^x
  count
};

template <class T>
struct ElementwiseKernels {
  using Unary = void (*)(const T* x, T* out, int64_t n);
  // A step of 0 repeats one value, of 1 walks the array.
  using Binary = void (*)(const T* a, int64_t a_step, const T* b, int64_t b_step, T* out, int64_t n);
  // out = 1 where a passes through maximum or minimum, 0 where b does: ties and NaN in a count for a.
  using Chosen = void (*)(const T* a, int64_t a_step, const T* b, int64_t b_step, uint8_t* out, int64_t n);
  using Copy = void (*)(const T* x, int64_t x_step, T* out, int64_t n);
  using Where = void (*)(const uint8_t* condition, int64_t condition_step, const T* a, int64_t a_step,
                         const T* b, int64_t b_step, T* out, int64_t n);
  Unary unary[static_cast<int>(UnaryOp::count)];
  Binary binary[static_cast<int>(BinaryOp::count)];
  Where where;
  Chosen chosen_by_maximum, chosen_by_minimum;
  Copy copy;
};

}  // namespace chainrule
