#include "ops/pool.h"

#include <algorithm>

#include "kernels/table.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

// body(image, row) for every row of `rows` an image, where there are channels.
template <class Body>
void over_rows(const Pool2dShape& s, int64_t rows, int64_t work_per_row, const Body& body) {
  const int64_t items = s.channels == 0 ? 0 : s.batch * rows;
  const int64_t chunks = chunk_count(items, work_per_row, 1 << 16);
  parallel_for(chunks, [&](int64_t chunk) {
    for (int64_t item = items * chunk / chunks; item < items * (chunk + 1) / chunks; ++item)
      body(item / rows, item % rows);
  });
}

int64_t output_work(const Pool2dShape& s) {
  return s.out_width() * s.channels * s.height.kernel * s.width.kernel;
}

int64_t input_work(const Pool2dShape& s) {
  const int64_t overlap =
      ((s.height.kernel - 1) / s.height.stride + 1) * ((s.width.kernel - 1) / s.width.stride + 1);
  return s.width.input * s.channels * overlap * 2;
}

template <class Index>
void check_indices(const char* operation, const Pool2dShape& s, const Index* indices) {
  const PoolGeometry p = s.geometry();
  const int64_t pixels = p.out_height * p.out_width;
  for (int64_t i = 0; p.channels > 0 && i < s.batch * pixels; ++i) {
    const int64_t top = i % pixels / p.out_width * p.stride_height - p.top;
    const int64_t left = i % p.out_width * p.stride_width - p.left;
    for (int64_t c = 0; c < p.channels; ++c) {
      const int64_t index = indices[i * p.channels + c];
      const int64_t y = top + index / p.kernel_width, x = left + index % p.kernel_width;
      if (index < 0 || index >= p.kernel_height * p.kernel_width || y < 0 || y >= p.height || x < 0 ||
          x >= p.width)
        throw std::invalid_argument(std::string(operation) + ": index " + std::to_string(index) +
                                    " of window " + std::to_string(i) + " lies outside the image");
    }
  }
}

}  // namespace

int64_t Pool2dShape::outputs(const WindowAxis& axis) const {
  if (!ceil_mode) return axis.output();
  const int64_t room = axis.input + axis.before + axis.after - axis.kernel;
  const int64_t count = room / axis.stride + (room % axis.stride != 0) + 1;
  return (count - 1) * axis.stride >= axis.input + axis.before ? count - 1 : count;
}

PoolGeometry Pool2dShape::geometry() const {
  return {height.input,
          width.input,
          channels,
          out_height(),
          out_width(),
          height.kernel,
          width.kernel,
          height.stride,
          width.stride,
          height.before,
          width.before,
          count_include_pad,
          height.input + height.before + height.after,
          width.input + width.before + width.after};
}

void ScatteredLines::line(int64_t n, int64_t i, float* to) const {
  const int64_t image = n * pool.out_height * pool.out_width * pool.channels;
  kernel_table().float32.pool.max.scatter(pool, gradient + image, indices + image, i, to);
}

void check_pool2d(const char* operation, const Pool2dShape& s) {
  auto fail = [&](const std::string& what) {
    return std::invalid_argument(std::string(operation) + ": " + what);
  };
  if (s.batch < 0 || s.channels < 0) throw fail("negative size");
  check_window(operation, "height", s.height);
  check_window(operation, "width", s.width);
  for (const WindowAxis* axis : {&s.height, &s.width})
    if (axis->before >= axis->kernel || axis->after >= axis->kernel)
      throw fail("padding " + std::to_string(std::max(axis->before, axis->after)) +
                 " is not below the window's size " + std::to_string(axis->kernel) +
                 ": a window would hold padding alone");
  if (s.height.input == 0 || s.width.input == 0)
    throw fail("the image " + shape_text(s.x()) + " has no pixels");
  checked_multiply(element_count(s.x(), operation), 64, operation);
  checked_multiply(checked_multiply(element_count(s.y(), operation), 64, operation),
                   checked_multiply(s.height.kernel, s.width.kernel, operation), operation);
  checked_multiply(checked_multiply(s.height.kernel, s.width.kernel, operation), int64_t{1} << 32, operation);
}

template <class T, class Index>
void max_pool2d(const Pool2dShape& s, const T* x, T* values, Index* indices) {
  check_pool2d("max_pool2d", s);
  const PoolGeometry p = s.geometry();
  const auto kernel = max_pool_kernels<T, Index>(kernels<T>().pool).forward;
  const int64_t image = p.height * p.width * p.channels, row = p.out_width * p.channels;
  over_rows(s, p.out_height, output_work(s), [&](int64_t n, int64_t i) {
    const int64_t at = (n * p.out_height + i) * row;
    kernel(p, x + n * image, i, values + at, indices + at);
  });
}

template <class T, class Index>
void max_pool2d_scatter(const Pool2dShape& s, const T* dy, const Index* indices, T* dx) {
  check_pool2d("max_pool2d_scatter", s);
  const PoolGeometry p = s.geometry();
  const auto kernel = max_pool_kernels<T, Index>(kernels<T>().pool).scatter;
  // An index that fits no pixel is met by none: nothing is read or written through it.
  const int64_t image = p.out_height * p.out_width * p.channels, row = p.width * p.channels;
  over_rows(s, p.height, input_work(s), [&](int64_t n, int64_t i) {
    kernel(p, dy + n * image, indices + n * image, i, dx + (n * p.height + i) * row);
  });
}

template <class T, class Index>
void max_pool2d_gather(const Pool2dShape& s, const T* x, const Index* indices, T* y) {
  check_pool2d("max_pool2d_gather", s);
  check_indices("max_pool2d_gather", s, indices);
  const PoolGeometry p = s.geometry();
  const auto kernel = max_pool_kernels<T, Index>(kernels<T>().pool).gather;
  const int64_t image = p.height * p.width * p.channels, row = p.out_width * p.channels;
  over_rows(s, p.out_height, row * 4, [&](int64_t n, int64_t i) {
    const int64_t at = (n * p.out_height + i) * row;
    kernel(p, x + n * image, indices + at, i, y + at);
  });
}

template <class T>
void average_pool2d(const Pool2dShape& s, const T* x, T* y) {
  check_pool2d("average_pool2d", s);
  const PoolGeometry p = s.geometry();
  const auto kernel = kernels<T>().pool.average;
  const int64_t image = p.height * p.width * p.channels, row = p.out_width * p.channels;
  over_rows(s, p.out_height, output_work(s),
            [&](int64_t n, int64_t i) { kernel(p, x + n * image, i, y + (n * p.out_height + i) * row); });
}

template <class T>
void average_pool2d_adjoint(const Pool2dShape& s, const T* dy, T* dx) {
  check_pool2d("average_pool2d_adjoint", s);
  const PoolGeometry p = s.geometry();
  const auto kernel = kernels<T>().pool.average_adjoint;
  const int64_t image = p.out_height * p.out_width * p.channels, row = p.width * p.channels;
  over_rows(s, p.height, input_work(s),
            [&](int64_t n, int64_t i) { kernel(p, dy + n * image, i, dx + (n * p.height + i) * row); });
}

#define CHAINRULE_INSTANTIATE_MAX(T, I)                                               \
  template void max_pool2d<T, I>(const Pool2dShape&, const T*, T*, I*);               \
  template void max_pool2d_scatter<T, I>(const Pool2dShape&, const T*, const I*, T*); \
  template void max_pool2d_gather<T, I>(const Pool2dShape&, const T*, const I*, T*);
#define CHAINRULE_INSTANTIATE(T)                                     \
  CHAINRULE_INSTANTIATE_MAX(T, uint8_t)                              \
  CHAINRULE_INSTANTIATE_MAX(T, int32_t)                              \
  template void average_pool2d<T>(const Pool2dShape&, const T*, T*); \
  template void average_pool2d_adjoint<T>(const Pool2dShape&, const T*, T*);
CHAINRULE_INSTANTIATE(float)
CHAINRULE_INSTANTIATE(double)

}  // namespace chainrule
