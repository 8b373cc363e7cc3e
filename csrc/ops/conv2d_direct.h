// Direct convolution and its two gradients: any stride, padding, dilation and groups. The shape was checked.
// An output that sums n products is off by at most n + 1 roundings of the sum of their absolute values.
#pragma once

#include "ops/conv2d_shape.h"
#include "ops/epilogue.h"

namespace chainrule {

template <class T>
void conv2d_direct(const Conv2dShape& shape, const T* x, const T* weights, const Epilogue<T>& epilogue, T* y);

// dx from dy: the adjoint of conv2d_direct in x.
template <class T>
void conv2d_direct_input_gradient(const Conv2dShape& shape, const T* dy, const T* weights,
                                  const Epilogue<T>& epilogue, T* dx);

// dw from x and dy: the adjoint of conv2d_direct in the weights.
template <class T>
void conv2d_direct_weight_gradient(const Conv2dShape& shape, const T* x, const T* dy, T* dw);

}  // namespace chainrule
