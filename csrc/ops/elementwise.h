// Elementwise maps with NumPy's broadcasting, over contiguous arrays.
#pragma once

#include "kernels/elementwise.h"
#include "runtime/checked.h"

namespace chainrule {

// A contiguous array, or a single number (empty shape).
template <class T>
struct ArrayView {
  const T* data;
  Shape shape;
};

// The common shape; throws std::invalid_argument naming the operation and the shapes when they clash.
Shape broadcast_shape(const char* operation, const Shape& a, const Shape& b);

template <class T>
void apply_unary(UnaryOp op, const T* x, T* out, int64_t n);

// `out` is contiguous, of broadcast_shape(a.shape, b.shape).
template <class T>
void apply_binary(BinaryOp op, const ArrayView<T>& a, const ArrayView<T>& b, T* out);

// The same for a few values: no chunks, no shapes. b_step is 1, or 0 to repeat one number.
template <class T>
void apply_small(BinaryOp op, const T* a, const T* b, int64_t b_step, T* out, int64_t n);

// out: 1 where a passes through maximum (or minimum) and 0 where b does, of the common shape; ties go to a.
enum class Extremum { maximum, minimum };
template <class T>
void apply_chosen(Extremum which, const ArrayView<T>& a, const ArrayView<T>& b, uint8_t* out);

// x repeated to `shape`, to which it must broadcast (std::invalid_argument otherwise).
template <class T>
void apply_broadcast(const ArrayView<T>& x, const Shape& shape, T* out);

// out = condition ? a : b, of the three shapes' common shape.
template <class T>
void apply_where(const ArrayView<uint8_t>& condition, const ArrayView<T>& a, const ArrayView<T>& b, T* out);

}  // namespace chainrule
