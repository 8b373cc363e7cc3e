// Convolution and its gradients: checks the problem and chooses the algorithm.
//
// The three are each bilinear and each other's adjoints, so they close under differentiation of any order.
#pragma once

#include <string>

#include "ops/conv2d_direct.h"
#include "ops/pool.h"

namespace chainrule {

// `automatic` takes Winograd where it exists and pays, in float32 alone: float64 is for checks, which want
// the last digits. A named algorithm that does not exist for a shape gives way to `direct`.
// Where bfloat16 is asked for it is used on enough channels of one group, unless the processor has mere dot
// products of it and float32 by Winograd is faster still.
enum class ConvAlgorithm { automatic, direct, winograd };

void set_conv_algorithm(ConvAlgorithm algorithm);
ConvAlgorithm conv_algorithm();
// "auto", "direct" or "winograd"; throws std::invalid_argument naming these for any other.
ConvAlgorithm parse_conv_algorithm(const std::string& name);
const char* conv_algorithm_name(ConvAlgorithm algorithm);

// y = x * weights, with bias and activation on the way to memory. Throws std::invalid_argument for an unsound
// shape; pointers are trusted to hold the arrays of the shape.
template <class T>
void conv2d(const Conv2dShape& shape, const T* x, const T* weights, const Epilogue<T>& epilogue, T* y,
            Precision precision = Precision::full);

// dx from dy and the weights. With an epilogue it is the transposed convolution.
template <class T>
void conv2d_input_gradient(const Conv2dShape& shape, const T* dy, const T* weights,
                           const Epilogue<T>& epilogue, T* dx, Precision precision = Precision::full);

// dw from x and dy.
template <class T>
void conv2d_weight_gradient(const Conv2dShape& shape, const T* x, const T* dy, T* dw,
                            Precision precision = Precision::full);

// conv2d and a max-pooling of its outputs, of windows of at most 256 pixels: values and indices as max_pool2d
// gives them. With bfloat16 the outputs between them never lie in memory whole.
template <class T>
void conv2d_max_pool2d(const Conv2dShape& shape, const Pool2dShape& pool, const T* x, const T* weights,
                       const Epilogue<T>& epilogue, T* values, uint8_t* indices, Precision precision);

// Whether that is expected to be faster, in bfloat16, than one after the other.
bool conv2d_max_pool2d_pays(const Conv2dShape& shape, const Pool2dShape& pool);

// The two gradients of conv2d from the gradient of what was pooled.
template <class T>
void conv2d_max_pool2d_input_gradient(const Conv2dShape& shape, const Pool2dShape& pool, const T* gradient,
                                      const uint8_t* indices, const T* weights, const Epilogue<T>& epilogue,
                                      T* dx, Precision precision);
template <class T>
void conv2d_max_pool2d_weight_gradient(const Conv2dShape& shape, const Pool2dShape& pool, const T* x,
                                       const T* gradient, const uint8_t* indices, T* dw, Precision precision);

}  // namespace chainrule
