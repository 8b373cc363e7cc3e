// Products of bfloat16 values summed in float32, and the ways into that format.
//
// bfloat16 is the upper half of a float32, rounded to nearest, ties to even: 8 bits of significand, all of
// the exponent. What is multiplied lies in pairs along the sum, as the processors' instructions take it: two
// neighbouring values are one 32-bit word.
#pragma once

#include <cstdint>

namespace chainrule {

// out(i, j) = sum over runs r and k < depth of a[runs[r] + i * a_row + k] b(r, k, j), for any number of rows.
struct Bfloat16Product {
  const uint16_t* a;    // row_block - 1 rows past the last may be read: their sums are dropped
  int64_t a_row;        // from a row to the next; rows may overlap
  const int64_t* runs;  // where the values of each run begin in a row
  int64_t run_count;
  int64_t depth;      // values in a run: a multiple of depth_unit
  const uint16_t* b;  // b(r, k, j) at r * b_run + (k / 2 * panel + j) * 2 + k % 2: all `panel` columns there
  int64_t b_run;
  float* const* out;  // the place of each row, or nullptr for one that nobody wants
  int64_t rows;
  int columns;        // at most panel
  const float* bias;  // `columns` values added to each row, or nullptr
  bool relu;          // max(0, .) at the end, which lets NaN through
  // Where out[i] is `target` + n, that row becomes 0 where mask + n is not positive; mask may be nullptr.
  const float *mask, *target;
  bool accumulate;  // add to out
};

struct Bfloat16Kernels {
  int panel;       // columns that b holds side by side
  int depth_unit;  // what a run's depth must be a multiple of
  int row_block;   // rows computed at a time
  bool fast;       // by instructions of the processor's own, faster than float32
  void (*multiply)(const Bfloat16Product& product);
  // to[i] = from[i] rounded.
  void (*round)(const float* from, int64_t count, uint16_t* to);
  // Rows of `columns` values each, nullptr for one of zeros; 2 * pairs of them. Word i of a column holds its
  // values of rows 2i and 2i + 1, rounded. Word (i, c) at to[c / panel * to_panel + i * panel + c % panel],
  // with zeros for columns up to the panels' end.
  void (*pack_pairs)(const float* const* rows, int64_t pairs, int64_t columns, uint32_t* to,
                     int64_t to_panel);
  // Word (i, c) at to[c * to_row + i].
  void (*pack_pairs_transposed)(const float* const* rows, int64_t pairs, int64_t columns, uint32_t* to,
                                int64_t to_row);
  // to(j, i) = from(i, j) for whole words.
  void (*transpose)(const uint32_t* from, int64_t from_row, int64_t rows, int64_t columns, uint32_t* to,
                    int64_t to_row);
};

}  // namespace chainrule
