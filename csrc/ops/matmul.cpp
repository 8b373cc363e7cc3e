#include "ops/matmul.h"

#include <algorithm>
#include <type_traits>

#include "kernels/table.h"
#include "ops/bfloat16.h"
#include "ops/reduce.h"
#include "runtime/allocator.h"
#include "runtime/features.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

// The most of k that one pass takes: passes read and write all of C, and a panel of B of this depth, two
// vectors wide, streams well from the second cache.
constexpr int64_t depth_block = 2048;
// Work of one chunk, in multiply-adds: some 20 microseconds, so that handing it out is cheap beside it.
constexpr int64_t chunk_work = int64_t{1} << 20;

template <class T>
struct Problem {
  MatrixView<T> a, b;  // (m, k), (k, n)
  int64_t m, n, k;
  T* c;
  int64_t c_row, c_column;
  Epilogue<T> epilogue;
  bool flipped =
      false;  // the transpose of what was asked for: values of a row lie c_column apart, the bias along rows
};

// c = a b by its transpose: the same numbers, with rows and columns exchanged.
template <class T>
Problem<T> transposed(const Problem<T>& p) {
  auto flip = [](MatrixView<T> v) { return MatrixView<T>{v.data, v.column, v.row}; };
  return {flip(p.b), flip(p.a), p.n, p.m, p.k, p.c, p.c_column, p.c_row, p.epilogue, !p.flipped};
}

// Bias and activation of rows [i0, i1) and columns [j0, j1) of c, while they are still in the first cache.
template <class T>
void finish(const Problem<T>& p, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
  const T* bias = p.epilogue.bias;
  const bool relu = p.epilogue.relu;
  if (bias == nullptr && !relu) return;
  const auto& kernel = kernels<T>().matmul;
  const bool along_columns = !p.flipped;  // where values lie beside each other, too
  const int64_t first = along_columns ? j0 : i0, count = (along_columns ? j1 : i1) - first;
  for (int64_t line = along_columns ? i0 : j0; line < (along_columns ? i1 : j1); ++line)
    kernel.finish(p.c + line * (along_columns ? p.c_row : p.c_column) + first,
                  bias != nullptr ? bias + first : bias, count, relu);
}

// Few columns and contiguous rows of A: dot products along k.
template <class T>
void multiply_narrow(const Problem<T>& p) {
  const auto& kernel = kernels<T>().matmul;
  Scratch<T> columns(checked_multiply(p.n, p.k, "matmul"));  // B transposed: each column contiguous
  // In blocks along k, so that what is read with a stride stays in the first cache for all columns.
  constexpr int64_t block = 512;
  const int64_t copies = chunk_count(divide_up(p.k, block), block * p.n);
  parallel_for(copies, [&](int64_t chunk) {
    const int64_t blocks = divide_up(p.k, block);
    for (int64_t i = blocks * chunk / copies; i < blocks * (chunk + 1) / copies; ++i) {
      const int64_t first = i * block, last = std::min(p.k, first + block);
      kernel.pack({p.b.data + first * p.b.row, p.b.column, p.b.row}, p.n, last - first, last - first,
                  columns.data() + first, p.k);
    }
  });
  const int64_t work_per_row = p.n * p.k;
  // Many rows a chunk, for each chunk reads all of B's columns from the second cache.
  int64_t rows = std::clamp<int64_t>(chunk_work / std::max<int64_t>(work_per_row, 1), 4, narrow_rows);
  rows = rows / 4 * 4;
  parallel_for(divide_up(p.m, rows), [&](int64_t chunk) {
    int64_t first = chunk * rows, count = std::min(rows, p.m - first);
    kernel.narrow(p.a.data + first * p.a.row, p.a.row, count, columns.data(), p.n, p.k, p.c + first * p.c_row,
                  p.c_row, p.c_column);
    finish(p, first, first + count, 0, p.n);
  });
}

// Whether rows so far apart fall into the same few places of a first cache, whose ways are a page each.
template <class T>
bool collide(int64_t row) {
  constexpr int64_t page = 4096;
  return row * static_cast<int64_t>(sizeof(T)) % page == 0;
}

// Blocks of panels: B is packed into panels as wide as the register tile, A into panels as high as it, where
// that pays; then tiles are computed in chunks. The order of each sum along k is fixed by depth_block alone.
template <class T>
void multiply_blocked(const Problem<T>& p) {
  const auto& kernel = kernels<T>().matmul;
  const int64_t L = kernel.vector_width, panel = 2 * L;
  const int64_t row_tiles = divide_up(p.m, kernel.tile_rows);
  const int64_t height = divide_up(p.m, row_tiles);  // equal tiles: 64 rows as 11, 11, 11, 11, 10, 10
  const int64_t panels = divide_up(p.n, panel);
  const int64_t passes = divide_up(p.k, depth_block);
  const int64_t depth_most = divide_up(p.k, passes);

  // Reading A where it lies costs strided loads; copying it pays once enough panels read the copy. B can be
  // read where it lies when its rows are contiguous, except for a last panel that is not full. Either pays
  // sooner where rows push each other out of the first cache.
  const bool pack_a = panels > (collide<T>(p.a.row) ? 4 : 8);
  const bool pack_b = p.b.column != 1 || row_tiles > (collide<T>(p.b.row) ? 8 : 24);
  const bool pack_last = p.n % panel != 0;

  Scratch<T> packed_a(pack_a ? row_tiles * height * depth_most : 0);
  Scratch<T> packed_b(pack_b ? panels * panel * depth_most : pack_last ? panel * depth_most : 0);

  for (int64_t pass = 0; pass < passes; ++pass) {
    const int64_t k0 = p.k * pass / passes, depth = p.k * (pass + 1) / passes - k0;
    const int64_t first_packed = pack_b ? 0 : panels - 1;
    const MatrixView<T> a{p.a.data + k0 * p.a.column, p.a.row, p.a.column};
    const MatrixView<T> b{p.b.data + k0 * p.b.row, p.b.row, p.b.column};

    auto pack_panel = [&](int64_t j) {
      kernel.pack({b.data + j * panel * b.column, b.row, b.column}, depth, std::min(panel, p.n - j * panel),
                  panel, packed_b.data() + (j - first_packed) * panel * depth_most, panel);
    };
    auto pack_rows = [&](int64_t i) {
      kernel.pack({a.data + i * height * a.row, a.column, a.row}, depth, std::min(height, p.m - i * height),
                  height, packed_a.data() + i * height * depth_most, height);
    };
    // Both in one loop: a panel of B is `packs` of A.
    if (!pack_b && pack_last) pack_panel(panels - 1);
    const int64_t b_items = pack_b ? panels : 0, items = b_items + (pack_a ? row_tiles : 0);
    const int64_t packs = chunk_count(items, panel * depth);
    parallel_for(packs, [&](int64_t chunk) {
      for (int64_t item = items * chunk / packs; item < items * (chunk + 1) / packs; ++item)
        item < b_items ? pack_panel(item) : pack_rows(item - b_items);
    });

    // A chunk is a block of row tiles by a block of panels. Which tiles share a chunk does not touch the
    // bits. Neighbouring chunks share their rows: a block of A stays in the second cache while panels of B
    // pass by it.
    const int64_t tile_work = height * panel * depth;
    const int64_t tiles = row_tiles * panels;
    const int64_t least = divide_up(chunk_work, tile_work);
    const int64_t per_chunk = std::clamp(tiles / 16, least, 4 * least);
    const int64_t block_bytes = second_cache_bytes() / 2;
    const int64_t most_rows =
        std::max<int64_t>(block_bytes / (height * depth * static_cast<int64_t>(sizeof(T))), 1);
    const int64_t row_chunks = divide_up(row_tiles, std::min({row_tiles, per_chunk, most_rows}));
    const int64_t panels_per_chunk =
        std::clamp<int64_t>(per_chunk / divide_up(row_tiles, row_chunks), 1, panels);
    const int64_t panel_chunks = divide_up(panels, panels_per_chunk);

    parallel_for(row_chunks * panel_chunks, [&](int64_t chunk) {
      const int64_t i0 = row_tiles * (chunk / panel_chunks) / row_chunks;
      const int64_t i1 = row_tiles * (chunk / panel_chunks + 1) / row_chunks;
      const int64_t j0 = panels * (chunk % panel_chunks) / panel_chunks;
      const int64_t j1 = panels * (chunk % panel_chunks + 1) / panel_chunks;
      TileArguments<T> t{};
      t.k = depth;
      t.c_row = p.c_row;
      t.c_column = p.c_column;
      t.accumulate = pass > 0;
      for (int64_t j = j0; j < j1; ++j) {
        const bool packed = pack_b || (pack_last && j == panels - 1);
        t.b = packed ? packed_b.data() + (j - first_packed) * panel * depth_most : b.data + j * panel;
        t.b_row = packed ? panel : b.row;
        t.columns = static_cast<int>(std::min(panel, p.n - j * panel));
        for (int64_t i = i0; i < i1; ++i) {
          t.rows = static_cast<int>(std::min(height, p.m - i * height));
          if (pack_a)
            t.a = {packed_a.data() + i * height * depth_most, 1, height};
          else
            t.a = {a.data + i * height * a.row, a.row, a.column};
          t.c = p.c + i * height * p.c_row + j * panel * p.c_column;
          kernel.tile(t);
        }
      }
      if (pass == passes - 1)
        finish(p, i0 * height, std::min(p.m, i1 * height), j0 * panel, std::min(p.n, j1 * panel));
    });
  }
}

// Few rows of c and much to read of B, which is read where it lies: the weight gradient of a layer with few
// outputs. In halves along k, so that a thread reads the rows that it has read before, for the scores: half a
// batch stays in its second cache, where half of every row would have to come from the other's.
template <class T>
void multiply_in_halves(const Problem<T>& p) {
  const auto& kernel = kernels<T>().matmul;
  constexpr int64_t halves = 2;
  const int64_t panel = 2 * kernel.vector_width, panels = divide_up(p.n, panel);
  const int64_t size = p.m * p.n;
  Scratch<T> sums(checked_multiply(halves, size, "matmul"));
  Scratch<T> last_panel(p.n % panel != 0 ? p.k * panel : 0);
  const int64_t blocks = chunk_count(panels, p.m * panel * p.k / halves, chunk_work / 2);
  parallel_for(halves * blocks, [&](int64_t chunk) {
    const int64_t half = chunk / blocks, block = chunk % blocks;
    const int64_t k_end = p.k * (half + 1) / halves;
    TileArguments<T> t{};
    t.rows = static_cast<int>(p.m);
    t.c_row = p.c_row;
    t.c_column = p.c_column;
    for (int64_t k = p.k * half / halves; k < k_end; k += t.k) {
      t.k = std::min(depth_block, k_end - k);
      t.a = {p.a.data + k * p.a.column, p.a.row, p.a.column};
      for (int64_t j = panels * block / blocks; j < panels * (block + 1) / blocks; ++j) {
        const T* from = p.b.data + k * p.b.row + j * panel;
        t.columns = static_cast<int>(std::min(panel, p.n - j * panel));
        t.b = from;
        t.b_row = p.b.row;
        if (t.columns < panel) {  // a tile reads whole vectors
          T* to = last_panel.data() + k * panel;
          kernel.pack({from, p.b.row, 1}, t.k, t.columns, panel, to, panel);
          t.b = to;
          t.b_row = panel;
        }
        t.c = sums.data() + half * size + j * panel * p.c_column;
        kernel.tile(t);
      }
      t.accumulate = true;
    }
  });
  reduce_sum(sums.data(), {1, halves, size}, p.c);
  finish(p, 0, p.m, 0, p.n);
}

template <class T>
void multiply(const Problem<T>& p) {
  if (p.k == 0) {  // an empty sum
    for (int64_t i = 0; i < p.m; ++i)
      for (int64_t j = 0; j < p.n; ++j) p.c[i * p.c_row + j * p.c_column] = 0;
    return finish(p, 0, p.m, 0, p.n);
  }
  // Dot products want k contiguous on the side with many rows; their packing of the other side must be small.
  constexpr int64_t long_enough = 64;
  const bool narrow = p.n <= narrow_columns && p.k >= long_enough && p.a.column == 1;
  const bool narrow_transposed = p.m <= narrow_columns && p.k >= long_enough && p.b.row == 1;
  if (narrow && (!narrow_transposed || p.n <= p.m)) return multiply_narrow(p);
  if (narrow_transposed) return multiply_narrow(transposed(p));
  // Lanes run along the columns of c: take its longer side, when the other would leave most of a panel idle.
  const Problem<T> wide = p.n <= narrow_columns && p.m > p.n ? transposed(p) : p;
  const bool few_rows = wide.m <= kernels<T>().matmul.tile_rows && wide.b.column == 1;
  if (few_rows && wide.k >= long_enough && wide.m * wide.n * wide.k >= 4 * chunk_work)
    return multiply_in_halves(wide);
  multiply_blocked(wide);
}

// Takes the product where the format's kernels do: not for vectors and the smallest matrices, which are read
// faster than they are rounded.
bool multiply_bfloat16(const Problem<float>& p) {
  constexpr int64_t least = 16;
  auto plain = [](const MatrixView<float>& v) { return v.row == 1 || v.column == 1; };
  if (std::min({p.m, p.n, p.k}) < least || !plain(p.a) || !plain(p.b)) return false;
  matmul_bfloat16(p.a, p.b, p.m, p.n, p.k, p.epilogue, p.c);
  return true;
}

// The index of a matrix of the batch, as offsets into a and b.
struct BatchOffsets {
  Shape sizes, a_strides, b_strides;
  int64_t a_offset(int64_t index) const { return offset(index, a_strides); }
  int64_t b_offset(int64_t index) const { return offset(index, b_strides); }
  int64_t offset(int64_t index, const Shape& strides) const {
    int64_t total = 0;
    for (size_t d = sizes.size(); d-- > 0;) {
      total += index % sizes[d] * strides[d];
      index /= sizes[d];
    }
    return total;
  }
};

// Strides of the leading dimensions, 0 where the array repeats along them.
template <class T>
Shape batch_strides(const StridedArray<T>& array, const Shape& batch) {
  Shape strides(batch.size(), 0);
  size_t own = array.shape.size() - 2;
  for (size_t d = 0; d < own; ++d)
    if (array.shape[d] != 1) strides[batch.size() - own + d] = array.strides[d];
  return strides;
}

}  // namespace

Shape matmul_shape(const Shape& a, const Shape& b) {
  auto clash = [&](const std::string& what) {
    return std::invalid_argument("matmul: " + shape_text(a) + " x " + shape_text(b) + ": " + what);
  };
  if (a.size() < 2 || b.size() < 2) throw clash("matrices have two or more dimensions");
  if (a.back() != b[b.size() - 2])
    throw clash("inner dimensions " + std::to_string(a.back()) + " and " + std::to_string(b[b.size() - 2]) +
                " differ");
  element_count(a, "matmul");  // no negative sizes, nothing that overflows
  element_count(b, "matmul");
  const size_t dimensions = std::max(a.size(), b.size());
  Shape out(dimensions);
  for (size_t d = 0; d + 2 < dimensions; ++d) {
    // Counted from the right; missing dimensions are 1.
    size_t from_end = dimensions - d;
    int64_t x = from_end <= a.size() ? a[a.size() - from_end] : 1;
    int64_t y = from_end <= b.size() ? b[b.size() - from_end] : 1;
    if (x != y && x != 1 && y != 1)
      throw clash("batch dimensions " + std::to_string(x) + " and " + std::to_string(y) +
                  " do not broadcast");
    out[d] = x == 1 ? y : x;
  }
  out[dimensions - 2] = a[a.size() - 2];
  out[dimensions - 1] = b.back();
  element_count(out, "matmul");
  return out;
}

template <class T>
void matmul(const StridedArray<T>& a, const StridedArray<T>& b, T* out, const Epilogue<T>& epilogue,
            Precision precision) {
  const Shape shape = matmul_shape(a.shape, b.shape);
  const size_t da = a.shape.size(), db = b.shape.size();
  const Shape batch(shape.begin(), shape.end() - 2);
  const int64_t matrices = element_count(batch, "matmul");
  Problem<T> p{{a.data, a.strides[da - 2], a.strides[da - 1]},
               {b.data, b.strides[db - 2], b.strides[db - 1]},
               a.shape[da - 2],
               b.shape[db - 1],
               a.shape[da - 1],
               out,
               b.shape[db - 1],
               1,
               epilogue};
  // NumPy may give any stride to a dimension of size 1; the choice of algorithm reads them.
  if (p.m == 1) p.a.row = p.k;
  if (p.n == 1) p.b.column = 1;
  if (p.k == 1) p.a.column = p.b.row = 1;
  const auto multiply_one = [&](const Problem<T>& one) {
    if constexpr (std::is_same_v<T, float>)
      if (precision == Precision::bfloat16 && multiply_bfloat16(one)) return;
    multiply(one);
  };
  if (p.m == 0 || p.n == 0) return;
  if (batch.empty()) return multiply_one(p);
  const BatchOffsets offsets{batch, batch_strides(a, batch), batch_strides(b, batch)};
  auto one = [&](int64_t index) {
    Problem<T> own = p;
    if (p.k > 0) {  // else there may be no memory to point into
      own.a.data += offsets.a_offset(index);
      own.b.data += offsets.b_offset(index);
    }
    own.c += index * p.m * p.n;
    multiply_one(own);
  };
  // Few large products share their work among the threads; many small ones are handed out whole.
  const int64_t work = p.m * p.n * std::max<int64_t>(p.k, 1);
  if (work >= 4 * chunk_work) {
    for (int64_t index = 0; index < matrices; ++index) one(index);
    return;
  }
  const int64_t chunks = chunk_count(matrices, work, chunk_work);
  parallel_for(chunks, [&](int64_t chunk) {
    for (int64_t i = matrices * chunk / chunks; i < matrices * (chunk + 1) / chunks; ++i) one(i);
  });
}

#define CHAINRULE_INSTANTIATE(T) \
  template void matmul<T>(const StridedArray<T>&, const StridedArray<T>&, T*, const Epilogue<T>&, Precision);
CHAINRULE_INSTANTIATE(float)
CHAINRULE_INSTANTIATE(double)

}  // namespace chainrule
