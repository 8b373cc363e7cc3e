// The transforms of Winograd's minimal filtering: F(m x m, r x r) computes m x m outputs of an r x r
// convolution from an a x a tile, a = m + r - 1, with a^2 multiplications instead of m^2 r^2.
//
//   y = A^T [(G g G^T) * (B^T d B)] A
//
// Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016. The points are 0, 1, -1, infinity
// for a = 4 and 0, 1, -1, 2, -2, infinity for a = 6, so F(4x4, 3x3) and F(2x2, 5x5) share B. "Frequency" is
// one of the a^2 products.
#pragma once

#include <cstdint>

namespace chainrule {

// One variant. All transforms run along n consecutive channels; values of a frequency lie `plane` apart.
template <class T>
struct WinogradTransforms {
  int outputs, taps, tile;  // m, r, a

  // out[f * plane + c] = (B^T d B)[f], d[i][j] at pixels[i * a + j][c]
  void (*input)(const T* const* pixels, int64_t n, T* out, int64_t plane);
  // out[f * plane + c] = (G g G^T)[f], g[i][j] at weights[(i * r + j) * sample + c]
  void (*weights)(const T* weights, int64_t sample, int64_t n, T* out, int64_t plane);
  // y[i * y_row + j * y_pixel + c] = (A^T p A)[i][j] + bias[c] for i < rows, j < columns, p[f] at
  // products[f * plane + c]; bias may be nullptr; with relu max(0, .) of that.
  void (*output)(const T* products, int64_t plane, int64_t n, const T* bias, bool relu, T* y, int64_t y_row,
                 int64_t y_pixel, int rows, int columns);
  // The adjoint of `output`: out[f * plane + c] = (A g A^T)[f], g[i][j] at pixels[i * m + j][c]
  void (*output_adjoint)(const T* const* pixels, int64_t n, T* out, int64_t plane);
  // The adjoint of `weights`: out[(i * r + j) * sample + c] = (G^T p G)[i][j], p[f] at products[f * plane +
  // c]
  void (*weights_adjoint)(const T* products, int64_t plane, int64_t n, T* out, int64_t sample);
};

template <class T>
struct WinogradKernels {
  WinogradTransforms<T> f4x4_3x3, f2x2_3x3, f2x2_5x5;
};

}  // namespace chainrule
