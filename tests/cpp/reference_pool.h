// Pooling by plain loops over windows.
#pragma once

#include "ops/pool.h"
#include "reference_conv2d.h"

namespace reference {

using chainrule::Pool2dShape;

inline Pool2dShape square(int64_t batch, int64_t size, int64_t channels, int64_t kernel, int64_t stride,
                          int64_t pad) {
  Pool2dShape s;
  s.batch = batch;
  s.channels = channels;
  s.height = s.width = {size, kernel, stride, 1, pad, pad};
  return s;
}

inline std::string text(const Pool2dShape& s) {
  std::ostringstream out;
  out << "batch " << s.batch << ", height " << text(s.height) << ", width " << text(s.width) << ", "
      << s.channels << " channels" << (s.ceil_mode ? ", ceil mode" : "")
      << (s.count_include_pad ? ", padding counts" : "");
  return out.str();
}

// Windows that fit; in ceil mode also one that begins within the data and reaches past what the one before it
// left.
inline int64_t windows(const WindowAxis& a, bool ceil_mode) {
  const int64_t padded = a.input + a.before + a.after;
  int64_t n = 0;
  for (int64_t start = 0; start + a.kernel <= padded; start += a.stride) ++n;
  const bool left_over = (n - 1) * a.stride + a.kernel < padded;
  return n + (ceil_mode && left_over && n * a.stride < a.input + a.before);
}

// body(output pixel, index within the window, input pixel) for every pixel that a window meets, in order.
template <class Body>
void each_meeting(const Pool2dShape& s, const Body& body) {
  const int64_t rows = windows(s.height, s.ceil_mode), columns = windows(s.width, s.ceil_mode);
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        for (int64_t k = 0; k < s.height.kernel * s.width.kernel; ++k) {
          const int64_t y = i * s.height.stride - s.height.before + k / s.width.kernel;
          const int64_t x = j * s.width.stride - s.width.before + k % s.width.kernel;
          if (y >= 0 && y < s.height.input && x >= 0 && x < s.width.input)
            body((n * rows + i) * columns + j, k, (n * s.height.input + y) * s.width.input + x);
        }
}

// What each window divides its sum by: the pixels that it meets, or with padding those of the padded image.
inline std::vector<int64_t> divisors(const Pool2dShape& s) {
  const int64_t rows = windows(s.height, s.ceil_mode), columns = windows(s.width, s.ceil_mode);
  std::vector<int64_t> counts(static_cast<size_t>(s.batch * rows * columns), 0);
  if (!s.count_include_pad) {
    each_meeting(s, [&](int64_t window, int64_t, int64_t) { ++counts[static_cast<size_t>(window)]; });
    return counts;
  }
  auto within = [](const WindowAxis& a, int64_t window) {
    return std::min(a.kernel, a.input + a.before + a.after - window * a.stride);
  };
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto window = static_cast<int64_t>(i);
    counts[i] = within(s.height, window / columns % rows) * within(s.width, window % columns);
  }
  return counts;
}

template <class Index, class T>
void plain_max(const Pool2dShape& s, const T* x, std::vector<T>& values, std::vector<Index>& indices) {
  const auto n = static_cast<size_t>(count(s.y()));
  values.assign(n, T(0));
  indices.assign(n, Index(0));
  std::vector<char> begun(n, 0);
  each_meeting(s, [&](int64_t window, int64_t k, int64_t pixel) {
    for (int64_t c = 0; c < s.channels; ++c) {
      const T value = x[pixel * s.channels + c];
      const auto at = static_cast<size_t>(window * s.channels + c);
      if (begun[at] && (std::isnan(values[at]) || !(value > values[at] || std::isnan(value)))) continue;
      begun[at] = 1;
      values[at] = value;
      indices[at] = static_cast<Index>(k);
    }
  });
}

}  // namespace reference
