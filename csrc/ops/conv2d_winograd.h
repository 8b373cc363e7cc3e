// Convolution by Winograd's minimal filtering, with stride 1, and 3x3 with stride 2; its gradients are exact
// adjoints in the same domain. The error, relative to the largest output, stays below 5e-5 in float32 (1e-13
// in float64) for the tiles of 6 x 6 and 8 x 8, below 5e-6 (1e-14) for those of 4 x 4, on normally
// distributed values. An infinity or NaN makes NaN of all outputs of the tiles that hold it.
#pragma once

#include "ops/conv2d_direct.h"

namespace chainrule {

// Whether the algorithm exists for a shape: 3x3 with stride 1 or 2, 5x5 with stride 1; dilation 1, one group.
bool has_winograd(const Conv2dShape& shape);
// The gradient of the input: stride 1 alone. For stride 2 it was slower than the direct one.
bool has_winograd_input_gradient(const Conv2dShape& shape);
// Whether it is expected to be faster than the direct one; for the gradient of the weights, whose tiles of dy
// are transformed as well.
bool winograd_pays(const Conv2dShape& shape);
bool winograd_weight_gradient_pays(const Conv2dShape& shape);

template <class T>
void conv2d_winograd(const Conv2dShape& shape, const T* x, const T* weights, const Epilogue<T>& epilogue,
                     T* y);

template <class T>
void conv2d_winograd_input_gradient(const Conv2dShape& shape, const T* dy, const T* weights,
                                    const Epilogue<T>& epilogue, T* dx);

template <class T>
void conv2d_winograd_weight_gradient(const Conv2dShape& shape, const T* x, const T* dy, T* dw);

}  // namespace chainrule
