// Max and average pooling of images (batch, height, width, channels), and their adjoints.
#pragma once

#include "kernels/pool.h"
#include "ops/conv2d_shape.h"

namespace chainrule {

struct Pool2dShape {
  int64_t batch = 1, channels = 1;
  WindowAxis height, width;       // dilation 1
  bool ceil_mode = false;         // a last window that is not full counts too, if it begins within the data
  bool count_include_pad = true;  // of averages

  int64_t out_height() const { return outputs(height); }
  int64_t out_width() const { return outputs(width); }
  Shape x() const { return {batch, height.input, width.input, channels}; }
  Shape y() const { return {batch, out_height(), out_width(), channels}; }
  // Whether indices need more than a byte.
  bool wide_indices() const { return height.kernel * width.kernel > 256; }
  PoolGeometry geometry() const;

 private:
  int64_t outputs(const WindowAxis& axis) const;
};

// Throws std::invalid_argument unless the shape is sound and padding is below the kernel's size, so that each
// window meets a pixel.
void check_pool2d(const char* operation, const Pool2dShape& shape);

// Index: uint8_t, or int32_t for shape.wide_indices().
template <class T, class Index>
void max_pool2d(const Pool2dShape& shape, const T* x, T* values, Index* indices);

// dx from dy: the adjoint of max_pool2d at its indices. An index outside its window or the image counts
// nowhere.
template <class T, class Index>
void max_pool2d_scatter(const Pool2dShape& shape, const T* dy, const Index* indices, T* dx);

// Of each window the value at its index: the adjoint of max_pool2d_scatter. Throws std::invalid_argument
// when an index lies outside its window or the image.
template <class T, class Index>
void max_pool2d_gather(const Pool2dShape& shape, const T* x, const Index* indices, T* y);

// What max_pool2d_scatter computes, a line at a time, for those who read it once: it need not lie in memory.
struct ScatteredLines {
  PoolGeometry pool;
  const float* gradient;   // of the pooled images
  const uint8_t* indices;  // of fewer than 257 pixels a window

  // Line i of image n, (width, channels).
  void line(int64_t n, int64_t i, float* to) const;
};

template <class T>
void average_pool2d(const Pool2dShape& shape, const T* x, T* y);

template <class T>
void average_pool2d_adjoint(const Pool2dShape& shape, const T* dy, T* dx);

}  // namespace chainrule
