#include "kernels/matmul.h"

#include "kernels/table.h"
#include "simd/transpose.h"
#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

// Accumulators for `tile_rows` x 2 vectors, two vectors of B and one broadcast of A fill the register file.
constexpr int tile_rows = vector_registers == 32 ? 12 : 6;

// ---- The register tile ------------------------------------------------------------------------------------

template <class T, int rows, int vectors>
inline void store_tile(const Vec<T> (&sums)[rows][vectors], const TileArguments<T>& t) {
  constexpr int L = lanes<T>;
  auto whole = [&](auto value) {
#pragma GCC unroll 12
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) {
        T* at = t.c + i * t.c_row + v * L;
        store<T>(at, value(at, sums[i][v]));
      }
  };
  if (t.c_column == 1 && t.columns == vectors * L) {
    if (t.accumulate)
      whole([](const T* at, Vec<T> sum) { return load(at) + sum; });
    else
      whole([](const T*, Vec<T> sum) { return sum; });
    return;
  }
  if (t.c_column == 1) {
#pragma GCC unroll 12
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) {
        T* at = t.c + i * t.c_row + v * L;
        const int left = t.columns - v * L;
        if (left >= L)
          store<T>(at, t.accumulate ? load(at) + sums[i][v] : sums[i][v]);
        else if (left > 0)
          store_first<T>(at, t.accumulate ? load_first(at, left) + sums[i][v] : sums[i][v], left);
      }
    return;
  }
  // A transposed result: its rows are this tile's columns.
#pragma GCC unroll 2
  for (int v = 0; v < vectors; ++v)
#pragma GCC unroll 6
    for (int i0 = 0; i0 < rows; i0 += L) {
      const int height = rows - i0 < L ? rows - i0 : L;
      Vec<T> square[L];
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) square[i] = i < height ? sums[i0 + i][v] : Vec<T>{};
      transpose_square<T>(square);
      const int columns = t.columns - v * L < L ? t.columns - v * L : L;
      for (int j = 0; j < columns; ++j) {
        T* at = t.c + i0 + (v * L + j) * t.c_column;
        store_first<T>(at, t.accumulate ? load_first(at, height) + square[j] : square[j], height);
      }
    }
}

// `packed`: the rows of A lie beside each other, so their offsets are known to the compiler.
template <class T, int rows, int vectors, bool packed>
void multiply_tile(const TileArguments<T>& t) {
  constexpr int L = lanes<T>;
  Vec<T> sums[rows][vectors];
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i)
    for (int v = 0; v < vectors; ++v) sums[i][v] = Vec<T>{};
  const T* a = t.a.data;
  const T* b = t.b;
  const int64_t a_row = packed ? 1 : t.a.row;
  for (int64_t k = 0; k < t.k; ++k) {
    // Both stream from the second cache, whose delay the sums alone do not hide.
    __builtin_prefetch(b + 12 * t.b_row);
    if (vectors == 2) __builtin_prefetch(b + 12 * t.b_row + L);
    if (packed) __builtin_prefetch(a + 16 * t.a.column);
    Vec<T> right[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) right[v] = load(b + v * L);
#pragma GCC unroll 12
    for (int i = 0; i < rows; ++i) {
      Vec<T> left = broadcast(a[i * a_row]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sums[i][v] += left * right[v];
    }
    a += t.a.column;
    b += t.b_row;
  }
  store_tile<T, rows, vectors>(sums, t);
}

template <class T>
using TileFunction = void (*)(const TileArguments<T>&);

template <class T, int rows>
TileFunction<T> tile_function(int wanted_rows, bool two_vectors, bool packed) {
  if constexpr (rows == 0) {
    return nullptr;
  } else {
    if (wanted_rows != rows) return tile_function<T, rows - 1>(wanted_rows, two_vectors, packed);
    if (two_vectors) return packed ? multiply_tile<T, rows, 2, true> : multiply_tile<T, rows, 2, false>;
    return packed ? multiply_tile<T, rows, 1, true> : multiply_tile<T, rows, 1, false>;
  }
}

template <class T>
void tile(const TileArguments<T>& t) {
  tile_function<T, tile_rows>(t.rows, t.columns > lanes<T>, t.a.row == 1)(t);
}

// Rows of k with up to `width` values beside each other.
template <class T>
void pack(MatrixView<T> b, int64_t k_size, int64_t columns, int64_t width, T* out, int64_t out_row) {
  constexpr int L = lanes<T>;
  if (b.column == 1) {
    if (columns == 2 * L && width == 2 * L) {
      for (int64_t k = 0; k < k_size; ++k) {
        store<T>(out + k * out_row, load(b.data + k * b.row));
        store<T>(out + k * out_row + L, load(b.data + k * b.row + L));
      }
      return;
    }
    for (int64_t k = 0; k < k_size; ++k) {
      const T* from = b.data + k * b.row;
      T* to = out + k * out_row;
      for_vectors<T>(columns, [&](int64_t j, auto get, auto put) { put(to + j, get(from + j)); });
      for (int64_t j = columns; j < width; ++j) to[j] = 0;
    }
    return;
  }
  if (columns < width)
    for (int64_t k = 0; k < k_size; ++k)
      for (int64_t j = columns; j < width; ++j) out[k * out_row + j] = 0;
  if (b.row == 1) {
    int64_t k = 0;
    auto squares = [&](int64_t rows, auto get) {
      for (int64_t j = 0; j < columns; j += L) {
        const int64_t count = columns - j < L ? columns - j : L;
        Vec<T> square[L];
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) square[i] = i < count ? get(b.data + k + (j + i) * b.column) : Vec<T>{};
        transpose_square<T>(square);
        for (int64_t i = 0; i < rows; ++i) {
          T* to = out + (k + i) * out_row + j;
          count == L ? store<T>(to, square[i]) : store_first<T>(to, square[i], count);
        }
      }
    };
    for (; k + L <= k_size; k += L) squares(L, [](const T* p) { return load(p); });
    if (const int64_t left = k_size - k; left > 0)
      squares(left, [left](const T* p) { return load_first(p, left); });
    return;
  }
  for (int64_t j = 0; j < columns; ++j)
    for (int64_t i = 0; i < k_size; ++i) out[i * out_row + j] = b.data[i * b.row + j * b.column];
}

// ---- Few columns ------------------------------------------------------------------------------------------

constexpr int dot_rows = vector_registers == 32 ? 4 : 2;
constexpr int dot_columns = 5;
constexpr int64_t dot_block = 512;  // values along k: ten columns of B and four rows of A fit the first cache

// Adds to sums[i][j] the products of the lanes of row i of a and row j of b.
template <class T, int rows, int columns>
void dot_tile(const T* a, int64_t a_row, const T* b, int64_t b_row, int64_t k_size, Vec<T>* sums,
              int64_t sums_row) {
  constexpr int L = lanes<T>;
  Vec<T> s[rows][columns];
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) s[i][j] = sums[i * sums_row + j];
  auto step = [&](auto get, int64_t k) {
    Vec<T> left[rows];
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) left[i] = get(a + i * a_row + k);
#pragma GCC unroll 5
    for (int j = 0; j < columns; ++j) {
      Vec<T> right = get(b + j * b_row + k);
#pragma GCC unroll 4
      for (int i = 0; i < rows; ++i) s[i][j] += left[i] * right;
    }
  };
  int64_t k = 0;
  for (; k + L <= k_size; k += L) step([](const T* p) { return load(p); }, k);
  if (int64_t left = k_size - k; left > 0) step([left](const T* p) { return load_first(p, left); }, k);
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) sums[i * sums_row + j] = s[i][j];
}

template <class T, int rows, int columns>
void dot_dispatch(int wanted_rows, int wanted_columns, const T* a, int64_t a_row, const T* b, int64_t b_row,
                  int64_t k_size, Vec<T>* sums, int64_t sums_row) {
  if constexpr (rows > 0 && columns > 0) {
    if (wanted_columns != columns)
      dot_dispatch<T, rows, columns - 1>(wanted_rows, wanted_columns, a, a_row, b, b_row, k_size, sums,
                                         sums_row);
    else if (wanted_rows != rows)
      dot_dispatch<T, rows - 1, columns>(wanted_rows, wanted_columns, a, a_row, b, b_row, k_size, sums,
                                         sums_row);
    else
      dot_tile<T, rows, columns>(a, a_row, b, b_row, k_size, sums, sums_row);
  }
}

template <class T>
void narrow(const T* a, int64_t a_row, int64_t rows, const T* b, int64_t columns, int64_t k_size, T* c,
            int64_t c_row, int64_t c_column) {
  Vec<T> sums[narrow_rows * narrow_columns];
  for (int64_t i = 0; i < rows * columns; ++i) sums[i] = Vec<T>{};
  // Columns in equal groups, so that ten become five and five, not five, four and one.
  const int64_t groups = (columns + dot_columns - 1) / dot_columns;
  for (int64_t k = 0; k < k_size; k += dot_block) {
    const int64_t depth = k_size - k < dot_block ? k_size - k : dot_block;
    for (int64_t i = 0; i < rows; i += dot_rows) {
      const int64_t height = rows - i < dot_rows ? rows - i : dot_rows;
      for (int64_t group = 0; group < groups; ++group) {
        const int64_t first = columns * group / groups, last = columns * (group + 1) / groups;
        dot_dispatch<T, dot_rows, dot_columns>(static_cast<int>(height), static_cast<int>(last - first),
                                               a + i * a_row + k, a_row, b + first * k_size + k, k_size,
                                               depth, sums + i * columns + first, columns);
      }
    }
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) c[i * c_row + j * c_column] = sum_lanes<T>(sums[i * columns + j]);
}

// ---- What follows the product -----------------------------------------------------------------------------

template <class T>
void finish(T* c, const T* bias, int64_t n, bool relu) {
  for_vectors<T>(n, [&](int64_t j, auto get, auto put) {
    Vec<T> value = get(c + j);
    if (bias != nullptr) value += get(bias + j);
    if (relu) value = positive_part<T>(value);
    put(c + j, value);
  });
}

template <class T>
void fill(MatmulKernels<T>& kernels) {
  kernels = {tile_rows, lanes<T>, tile<T>, pack<T>, narrow<T>, finish<T>};
}

}  // namespace

void fill_matmul(KernelTable& table) {
  fill(table.float32.matmul);
  fill(table.float64.matmul);
}

}  // namespace chainrule::CHAINRULE_ISA
