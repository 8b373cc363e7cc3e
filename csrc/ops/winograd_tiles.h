// What the passes of Winograd's convolution share: which variant a shape takes, how its products are
// numbered, and where the samples of a tile lie.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/table.h"
#include "ops/conv2d_shape.h"
#include "runtime/allocator.h"

namespace chainrule {

constexpr int most_samples = 81;  // of a tile

// The variant for a kernel and its outputs. Larger tiles save products where they fit the outputs; their
// transforms cost more, so that they have to save many.
template <class T>
const WinogradTransforms<T>& stride1_variant(int64_t kernel, int64_t height, int64_t width) {
  const auto& w = kernels<T>().winograd;
  auto products = [&](const WinogradTransforms<T>& v) {
    return static_cast<double>(divide_up(height, v.outputs) * divide_up(width, v.outputs) * v.frequencies *
                               v.frequencies);
  };
  auto better = [&](const WinogradTransforms<T>& larger,
                    const WinogradTransforms<T>& smaller) -> const auto& {
    return products(larger) < 0.6 * products(smaller) ? larger : smaller;
  };
  if (kernel == 5) return better(w.f4x4_5x5, w.f2x2_5x5);
  return better(w.f6x6_3x3, std::max(height, width) <= 2 ? w.f2x2_3x3 : w.f4x4_3x3);
}

template <class T>
const WinogradTransforms<T>& winograd_variant(const Conv2dShape& s) {
  if (s.height.stride == 2) return kernels<T>().winograd.f4x4_3x3_stride2;
  return stride1_variant<T>(s.height.kernel, s.height.output(), s.width.output());
}

// The products of one tile, in two dimensions: what transform_weights and Product count in.
template <class T>
struct Plan {
  const WinogradTransforms<T>& v;
  std::vector<int64_t> order;   // frequencies, those of one matrix beside each other
  std::vector<int64_t> matrix;  // of each frequency in that order

  explicit Plan(const WinogradTransforms<T>& variant) : v(variant) {
    for (int64_t m = 0; m < matrices(); ++m)
      for (int64_t f = 0; f < frequencies(); ++f) {
        const int64_t i = v.matrix_of[f / v.frequencies], j = v.matrix_of[f % v.frequencies];
        if (i * v.matrices + j != m) continue;
        order.push_back(f);
        matrix.push_back(m);
      }
  }
  int64_t frequencies() const { return int64_t{v.frequencies} * v.frequencies; }
  int64_t matrices() const { return int64_t{v.matrices} * v.matrices; }
};

// An image as the tiles see it: sample (i, j) of tile (r, c) at row r * step + i - before_rows and so on;
// zeros outside.
template <class T>
struct Tiles {
  const T* data;  // (batch, height, width, channels)
  int64_t height, width, channels;
  int64_t rows, columns;  // tiles an image
  int64_t step, before_rows, before_columns;
  int size;        // samples along one axis
  const T* zeros;  // `channels` of them

  // Where the samples of tile number `tile` lie, from channel number `channel` on.
  void pixels(int64_t tile, const T** out, int64_t channel = 0) const {
    const int64_t n = tile / (rows * columns), r = tile / columns % rows, c = tile % columns;
    const T* image = data + n * height * width * channels + channel;
    const int64_t top = r * step - before_rows, left = c * step - before_columns;
    for (int i = 0; i < size; ++i)
      for (int j = 0; j < size; ++j) {
        const bool inside = top + i >= 0 && top + i < height && left + j >= 0 && left + j < width;
        out[i * size + j] = inside ? image + ((top + i) * width + left + j) * channels : zeros;
      }
  }
};

template <class T>
struct Zeros {
  explicit Zeros(int64_t count) : values(count) { std::fill(values.data(), values.data() + count, T(0)); }
  const T* data() { return values.data(); }
  Scratch<T> values;
};

}  // namespace chainrule
