// Batch and layer normalisation of (rows, columns) matrices with their gradients. Sums run in an order that
// the shape alone fixes.
#pragma once

#include <cstdint>

#include "kernels/normalise.h"

namespace chainrule {

struct MatrixShape {
  int64_t rows, columns;
};

// Per column over the rows: y = activation((x - mean) / sqrt(variance + epsilon) weight + bias). mean,
// variance (the biased one) and inverse_deviation: (columns,), written. Throws std::invalid_argument without
// rows.
template <class T>
void batch_norm(const MatrixShape& shape, const T* x, const T* weight, const T* bias, double epsilon,
                Activation activation, T* y, T* mean, T* variance, T* inverse_deviation);

// y = activation((x - mean) scale + bias) with values given for each column.
template <class T>
void standardise(const MatrixShape& shape, const T* x, const T* mean, const T* scale, const T* bias,
                 Activation activation, T* y);

// From what batch_norm was given and what it wrote.
template <class T>
void batch_norm_gradient(const MatrixShape& shape, const T* g, const T* x, const T* weight, const T* bias,
                         Activation activation, const T* mean, const T* inverse_deviation, T* dx, T* dweight,
                         T* dbias);

// The same per row over its columns; mean, inverse_deviation: (rows,), written.
template <class T>
void layer_norm(const MatrixShape& shape, const T* x, const T* weight, const T* bias, double epsilon, T* y,
                T* mean, T* inverse_deviation);

template <class T>
void layer_norm_gradient(const MatrixShape& shape, const T* g, const T* x, const T* weight, const T* mean,
                         const T* inverse_deviation, T* dx, T* dweight, T* dbias);

}  // namespace chainrule
