// Matrix products of strided matrices and of batches of them.
#pragma once

#include "kernels/matmul.h"
#include "ops/epilogue.h"
#include "runtime/checked.h"

namespace chainrule {

// An array as the caller holds it: strides in elements, any sign, 0 where a value repeats.
template <class T>
struct StridedArray {
  const T* data;
  Shape shape, strides;
};

// The shape of a b as numpy.matmul defines it for operands of two or more dimensions: leading dimensions
// broadcast. Throws std::invalid_argument naming both shapes when they clash.
Shape matmul_shape(const Shape& a, const Shape& b);

// Writes a b to `out`, which is contiguous and has matmul_shape(a.shape, b.shape), with bias (one value a
// column) and activation on the way to memory. The bits do not depend on the number of threads.
template <class T>
void matmul(const StridedArray<T>& a, const StridedArray<T>& b, T* out, const Epilogue<T>& epilogue = {},
            Precision precision = Precision::full);

}  // namespace chainrule
