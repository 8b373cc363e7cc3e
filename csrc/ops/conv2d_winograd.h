// Convolution with stride 1 by Winograd's minimal filtering, and its gradients as exact adjoints in the same
// domain. The error, relative to the largest output, is a few 1e-5 in float32 for the tiles of 6 x 6 and
// about 1e-6 for those of 4 x 4.
#pragma once

#include "ops/conv2d_direct.h"

namespace chainrule {

// Whether the algorithm exists for a shape: 3x3 or 5x5, stride and dilation 1, one group.
bool has_winograd(const Conv2dShape& shape);
// Whether it is expected to be faster than the direct one.
bool winograd_pays(const Conv2dShape& shape);

template <class T>
void conv2d_winograd(const Conv2dShape& shape, const T* x, const T* weights, const Epilogue<T>& epilogue,
                     T* y);

template <class T>
void conv2d_winograd_input_gradient(const Conv2dShape& shape, const T* dy, const T* weights,
                                    const Epilogue<T>& epilogue, T* dx);

template <class T>
void conv2d_winograd_weight_gradient(const Conv2dShape& shape, const T* x, const T* dy, T* dw);

}  // namespace chainrule
