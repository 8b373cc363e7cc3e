// Softmax, log-softmax and log-sum-exp along the middle axis of a contiguous (outer, n, inner) array; what
// they do with masked scores stands in kernels/softmax.h. An axis of size 0 gives nothing, or a log-sum-exp
// of -inf.
#pragma once

#include "kernels/softmax.h"
#include "ops/reduce.h"

namespace chainrule {

// out: the shape of x, or (outer, inner) for logsumexp.
template <class T>
void softmax_forward(SoftmaxOutput output, const T* x, const ReduceShape& shape, T* out);

// y: the output of the forward pass, g: its gradient, out: the gradient of the scores; all of one shape.
template <class T>
void softmax_backward(SoftmaxOutput output, const T* y, const T* g, const ReduceShape& shape, T* out);

}  // namespace chainrule
