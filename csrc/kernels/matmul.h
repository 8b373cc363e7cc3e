// The inner parts of matrix multiplication: packing, the register tile, and products with few columns.
//
// Blocking follows Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication (2008): a panel
// of B stays in the first cache while tiles of A stream past it from the second.
#pragma once

#include <cstdint>

namespace chainrule {

// The part of a matrix that a kernel reads: element (i, j) at data[i * row + j * column].
template <class T>
struct MatrixView {
  const T* data;
  int64_t row, column;
};

template <class T>
struct TileArguments {
  MatrixView<T> a;  // (rows, k)
  const T* b;       // (k, columns), rows of consecutive values b_row apart
  int64_t b_row;
  int64_t k;
  T* c;                     // (rows, columns): element (i, j) at c[i * c_row + j * c_column]
  int64_t c_row, c_column;  // one of them is 1
  int rows, columns;        // of this tile: at most tile_rows and tile_columns
  bool accumulate;          // add to c instead of setting it
};

// Most columns that `narrow` takes.
constexpr int narrow_columns = 16;
// Most rows that one call of `narrow` takes.
constexpr int narrow_rows = 32;

template <class T>
struct MatmulKernels {
  int tile_rows;     // of the register tile
  int vector_width;  // a panel of B is one or two vectors wide
  // One tile. Reads whole vectors of b: its rows must hold columns rounded up to vector_width values.
  void (*tile)(const TileArguments<T>& arguments);
  // out[k * out_row + j] = b(k, j), zeros for columns <= j < width.
  void (*pack)(MatrixView<T> b, int64_t k, int64_t columns, int64_t width, T* out, int64_t out_row);
  // c(i, j) = sum_k a[i * a_row + k] b[j * k_size + k] for rows <= narrow_rows, columns <= narrow_columns:
  // dot products along contiguous rows, for matrices whose few columns would leave a tile's lanes idle.
  void (*narrow)(const T* a, int64_t a_row, int64_t rows, const T* b, int64_t columns, int64_t k, T* c,
                 int64_t c_row, int64_t c_column);
  // c[j] += bias[j] (nullptr: nothing), then max(0, .) which lets NaN through, for j < n.
  void (*finish)(T* c, const T* bias, int64_t n, bool relu);
};

}  // namespace chainrule
