#include "kernels/bfloat16.h"

#include "kernels/table.h"
#include "simd/bfloat16.h"
#include "simd/transpose.h"
#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

constexpr int L = lanes<float>;
constexpr int panel = 2 * L;

// ---- The product ------------------------------------------------------------------------------------------

// A row of sums to its place.
inline void finish_row(const Bfloat16Product& p, const float* sums, float* out) {
  for (int v = 0; v < 2; ++v) {
    const int left = p.columns - v * L;
    if (left <= 0) return;
    const bool whole = left >= L;
    Vec<float> value = load(sums + v * L);
    if (p.accumulate) value += whole ? load(out + v * L) : load_first(out + v * L, left);
    if (p.bias != nullptr) value += whole ? load(p.bias + v * L) : load_first(p.bias + v * L, left);
    if (p.relu) value = positive_part<float>(value);
    if (p.mask != nullptr) {
      const float* mask = p.mask + (out - p.target) + v * L;
      value = where_positive<float>(whole ? load(mask) : load_first(mask, left), value);
    }
    whole ? store<float>(out + v * L, value) : store_first<float>(out + v * L, value, left);
  }
}

#if defined(__AMX_BF16__)

constexpr int depth_unit = 32, row_block = 32;
constexpr bool fast = true;

// Two by two tiles of sums, 16 x 16 each, in registers 0 to 3; two of a in 4 and 5, two of b in 6 and 7.
template <bool two_rows, bool two_columns>
inline void tile_block(const Bfloat16Product& p, int64_t first, float* sums) {
  const int64_t stride = p.a_row * 2;
  constexpr int64_t b_stride = panel * 4;
  _tile_zero(0);
  if (two_columns) _tile_zero(1);
  if (two_rows) _tile_zero(2);
  if (two_rows && two_columns) _tile_zero(3);
  for (int64_t r = 0; r < p.run_count; ++r) {
    const uint16_t* b = p.b + r * p.b_run;
    const uint16_t* a = p.a + p.runs[r] + first * p.a_row;
    for (int64_t k = 0; k < p.depth; k += depth_unit, b += depth_unit * panel) {
      _tile_loadd(4, a + k, stride);
      _tile_loadd(6, b, b_stride);
      _tile_dpbf16ps(0, 4, 6);
      if (two_columns) {
        _tile_loadd(7, b + 32, b_stride);
        _tile_dpbf16ps(1, 4, 7);
      }
      if (two_rows) {
        _tile_loadd(5, a + 16 * p.a_row + k, stride);
        _tile_dpbf16ps(2, 5, 6);
        if (two_columns) _tile_dpbf16ps(3, 5, 7);
      }
    }
  }
  _tile_stored(0, sums, panel * 4);
  if (two_columns) _tile_stored(1, sums + 16, panel * 4);
  if (two_rows) _tile_stored(2, sums + 16 * panel, panel * 4);
  if (two_rows && two_columns) _tile_stored(3, sums + 16 * panel + 16, panel * 4);
}

void multiply(const Bfloat16Product& p) {
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } shapes;
  _tile_loadconfig(&shapes);
  alignas(64) float sums[row_block * panel];
  for (int64_t i = 0; i < p.rows; i += row_block) {
    const int64_t count = p.rows - i < row_block ? p.rows - i : row_block;
    if (count > 16)
      p.columns > 16 ? tile_block<true, true>(p, i, sums) : tile_block<true, false>(p, i, sums);
    else
      p.columns > 16 ? tile_block<false, true>(p, i, sums) : tile_block<false, false>(p, i, sums);
    for (int64_t row = 0; row < count; ++row)
      if (p.out[i + row] != nullptr) finish_row(p, sums + row * panel, p.out[i + row]);
  }
  _tile_release();
}

#else

constexpr int depth_unit = 2, row_block = vector_registers == 32 ? 12 : 4;
#if defined(__AVX512BF16__)
constexpr bool fast = true;
#else
constexpr bool fast = false;
#endif

template <int rows>
inline void tile_block(const Bfloat16Product& p, int64_t first, float* sums) {
  Vec<float> s[rows][2];
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i) s[i][0] = s[i][1] = Vec<float>{};
  for (int64_t r = 0; r < p.run_count; ++r) {
    const uint16_t* b = p.b + r * p.b_run;
    const uint16_t* a = p.a + p.runs[r] + first * p.a_row;
    for (int64_t k = 0; k < p.depth; k += 2, b += 2 * panel) {
      const Mask<float> left = load_words(b), right = load_words(b + panel);
#pragma GCC unroll 12
      for (int i = 0; i < rows; ++i) {
        const Mask<float> pair = broadcast_word(a + i * p.a_row + k);
        s[i][0] = dot_pairs(s[i][0], pair, left);
        s[i][1] = dot_pairs(s[i][1], pair, right);
      }
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i) {
    store<float>(sums + i * panel, s[i][0]);
    store<float>(sums + i * panel + L, s[i][1]);
  }
}

template <int rows>
inline void dispatch(int64_t wanted, const Bfloat16Product& p, int64_t first, float* sums) {
  if constexpr (rows > 0) {
    if (wanted == rows)
      tile_block<rows>(p, first, sums);
    else
      dispatch<rows - 1>(wanted, p, first, sums);
  }
}

void multiply(const Bfloat16Product& p) {
  float sums[row_block * panel];
  // In equal blocks: 32 rows as 11, 11 and 10.
  const int64_t blocks = (p.rows + row_block - 1) / row_block;
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t first = p.rows * block / blocks, count = p.rows * (block + 1) / blocks - first;
    dispatch<row_block>(count, p, first, sums);
    for (int64_t row = 0; row < count; ++row)
      if (p.out[first + row] != nullptr) finish_row(p, sums + row * panel, p.out[first + row]);
  }
}

#endif

// ---- Into the format --------------------------------------------------------------------------------------

void round(const float* from, int64_t count, uint16_t* to) {
  int64_t i = 0;
  for (; i + L <= count; i += L) {
    fetch_ahead(from + i);
    store_rounded(to + i, load(from + i));
  }
  for (; i < count; ++i) {
    uint16_t lane[L];
    store_rounded(lane, broadcast(from[i]));
    to[i] = lane[0];
  }
}

// Words of L values of two rows, zeros where a row is nullptr.
template <class Get>
inline Mask<float> pair_words(const float* first, const float* second, int64_t at, const Get& get) {
  return rounded_pairs(first != nullptr ? get(first + at) : Vec<float>{},
                       second != nullptr ? get(second + at) : Vec<float>{});
}

// Asks for what is read a little later: the processor's own prefetching waits for a few misses in each page.
class Ahead {
 public:
  Ahead(const float* const* rows, int64_t count, int64_t values)
      : rows_(rows), count_(count), values_(values), distance_(wanted / (values > 0 ? values : 1) + 1) {}
  void operator()(int64_t row) const {
    if (row + distance_ >= count_ || rows_[row + distance_] == nullptr) return;
    for (int64_t i = 0; i < values_; i += 16) __builtin_prefetch(rows_[row + distance_] + i);
  }

 private:
  static constexpr int64_t wanted = 2048;  // values
  const float* const* rows_;
  int64_t count_, values_, distance_;
};

void pack_pairs(const float* const* rows, int64_t pairs, int64_t columns, uint32_t* to, int64_t to_panel) {
  if (columns == 0) return;
  const Ahead ahead(rows, 2 * pairs, columns);
  for (int64_t i = 0; i < pairs; ++i, to += panel) {
    const float *first = rows[2 * i], *second = rows[2 * i + 1];
    ahead(2 * i);
    ahead(2 * i + 1);
    auto put_words = [&](int64_t c, Vec<float> words) {
      store<float>(reinterpret_cast<float*>(to + c / panel * to_panel + c % panel), words);
    };
    for_vectors<float>(columns, [&](int64_t c, auto get, auto) {
      put_words(c, from_bits<float>(pair_words(first, second, c, get)));
    });
    // Zeros in the last panel's other half.
    if (const int64_t end = (columns + L - 1) / L * L; end % panel != 0) put_words(end, Vec<float>{});
  }
}

void pack_pairs_transposed(const float* const* rows, int64_t pairs, int64_t columns, uint32_t* to,
                           int64_t to_row) {
  const Ahead ahead(rows, 2 * pairs, columns);
  for (int64_t i = 0; i < pairs; i += L) {
    const int64_t count = pairs - i < L ? pairs - i : L;
    for (int64_t r = 0; r < 2 * count; ++r) ahead(2 * i + r);
    for_vectors<float>(columns, [&](int64_t c, auto get, auto) {
      Vec<float> square[L] = {};
      for (int64_t r = 0; r < count; ++r)
        square[r] = from_bits<float>(pair_words(rows[2 * (i + r)], rows[2 * (i + r) + 1], c, get));
      transpose_square<float>(square);
      for (int64_t j = 0; j < L && c + j < columns; ++j) {
        float* out = reinterpret_cast<float*>(to + (c + j) * to_row + i);
        count == L ? store<float>(out, square[j]) : store_first<float>(out, square[j], count);
      }
    });
  }
}

void transpose(const uint32_t* from, int64_t from_row, int64_t rows, int64_t columns, uint32_t* to,
               int64_t to_row) {
  for (int64_t i = 0; i < rows; i += L) {
    const int64_t height = rows - i < L ? rows - i : L;
    for (int64_t j = 0; j < columns; j += L) {
      const int64_t width = columns - j < L ? columns - j : L;
      if (height < L || width < L) {
        for (int64_t r = i; r < i + height; ++r)
          for (int64_t c = j; c < j + width; ++c) to[c * to_row + r] = from[r * from_row + c];
        continue;
      }
      // Moving words through float vectors changes no bit.
      Vec<float> square[L];
#pragma GCC unroll 16
      for (int r = 0; r < L; ++r) std::memcpy(&square[r], from + (i + r) * from_row + j, sizeof square[r]);
      transpose_square<float>(square);
#pragma GCC unroll 16
      for (int c = 0; c < L; ++c) std::memcpy(to + (j + c) * to_row + i, &square[c], sizeof square[c]);
    }
  }
}

}  // namespace

void fill_bfloat16(KernelTable& table) {
  table.bfloat16 = {panel,    depth_unit, row_block, fast, multiply, round, pack_pairs, pack_pairs_transposed,
                    transpose};
}

}  // namespace chainrule::CHAINRULE_ISA
