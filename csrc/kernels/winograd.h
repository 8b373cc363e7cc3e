// The transforms of Winograd's minimal filtering: a tile of outputs of a small convolution from fewer
// multiplications than it has products.
//
//   y = A^T [(G g G^T) * (B^T d B)] A
//
// Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016. Along one axis F(m, r) computes m
// outputs of an r-tap filter by m + r - 1 products, its frequencies; in two dimensions their number is
// squared. The points are 0, 1, -1, 2, -2, infinity for six frequencies, with 1/2 and -1/2 for eight, 0, 1,
// -1, infinity for four and 0, 1, -1, 2, infinity for five.
//
// A 3-tap filter with stride 2 takes samples of even number by its outer taps and samples of odd number by
// its middle one: 4 outputs by F(4, 2), five products, and by 4 products with the middle tap, which share one
// weight.
#pragma once

#include <cstdint>

namespace chainrule {

// One variant. All transforms run along n consecutive channels; values of a frequency or matrix lie `plane`
// apart.
template <class T>
struct WinogradTransforms {
  int samples, taps, outputs;  // of a tile, of the filter, of a tile's result, along one axis
  int step;                    // samples from one tile to the next
  int frequencies, matrices;   // products and different weights along one axis
  const int* matrix_of;        // which weight a product along one axis takes

  // out[f * plane + c] = (B^T d B)[f], d[i][j] at pixels[i * samples + j][c]
  void (*input)(const T* const* pixels, int64_t n, T* out, int64_t plane);
  // out[m * plane + c] = (G g G^T)[m], g[i][j] at weights[(i * taps + j) * sample + c]
  void (*weights)(const T* weights, int64_t sample, int64_t n, T* out, int64_t plane);
  // y[i * y_row + j * y_pixel + c] = (A^T p A)[i][j] + bias[c] for i < rows, j < columns, p[f] at
  // products[f * plane + c]; bias may be nullptr; with relu max(0, .) of that; 0 where the mask, which lies
  // as y does and may be nullptr, is not positive.
  void (*output)(const T* products, int64_t plane, int64_t n, const T* bias, bool relu, const T* mask, T* y,
                 int64_t y_row, int64_t y_pixel, int rows, int columns);
  // The adjoint of `output`: out[f * plane + c] = (A g A^T)[f], g[i][j] at pixels[i * outputs + j][c]
  void (*output_adjoint)(const T* const* pixels, int64_t n, T* out, int64_t plane);
  // The adjoint of `weights`: out[(i * taps + j) * sample + c] = (G^T p G)[i][j], p[m] at products[m * plane
  // + c]
  void (*weights_adjoint)(const T* products, int64_t plane, int64_t n, T* out, int64_t sample);
};

template <class T>
struct WinogradKernels {
  WinogradTransforms<T> f4x4_3x3, f2x2_3x3, f2x2_5x5, f6x6_3x3, f4x4_5x5;
  WinogradTransforms<T> f4x4_3x3_stride2;
};

}  // namespace chainrule
