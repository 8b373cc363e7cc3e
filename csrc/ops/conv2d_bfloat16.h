// Convolution and its two gradients with operands rounded to bfloat16 and sums in float32. One group alone.
//
// Each operand is off by at most 2^-8 of itself, so an output that sums n products is off by at most
// (2^-7 + n 2^-24) times the sum of their absolute values, a little more in the second order. Numbers from
// 2^128 (1 - 2^-9) on become infinite; where the processor's own instructions multiply, those below 2^-126
// count as 0.
//
// NaN and infinities reach the outputs that they meet. In the gradient of the weights they may reach other
// samples of the kernel too, in the same channels.
#pragma once

#include "ops/conv2d_direct.h"
#include "ops/pool.h"

namespace chainrule {

// Whether a shape can be computed so.
bool has_bfloat16(const Conv2dShape& shape);

void conv2d_bfloat16(const Conv2dShape& shape, const float* x, const float* weights,
                     const Epilogue<float>& epilogue, float* y);
void conv2d_bfloat16_input_gradient(const Conv2dShape& shape, const float* dy, const float* weights,
                                    const Epilogue<float>& epilogue, float* dx);
void conv2d_bfloat16_weight_gradient(const Conv2dShape& shape, const float* x, const float* dy, float* dw);

// The convolution and a max-pooling of its outputs, which never lie in memory whole. `pool` has windows of
// fewer than 257 pixels on images of the convolution's outputs.
void conv2d_bfloat16_max_pool2d(const Conv2dShape& shape, const Pool2dShape& pool, const float* x,
                                const float* weights, const Epilogue<float>& epilogue, float* values,
                                uint8_t* indices);
// Its gradients, from that of the values: `lines` scatters it.
void conv2d_bfloat16_max_pool2d_input_gradient(const Conv2dShape& shape, const ScatteredLines& lines,
                                               const float* weights, const Epilogue<float>& epilogue,
                                               float* dx);
void conv2d_bfloat16_max_pool2d_weight_gradient(const Conv2dShape& shape, const float* x,
                                                const ScatteredLines& lines, float* dw);

}  // namespace chainrule
