#include "ops/bfloat16.h"

#include <algorithm>
#include <vector>

#include "kernels/table.h"
#include "runtime/allocator.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

uint32_t* as_words(uint16_t* values) { return reinterpret_cast<uint32_t*>(values); }

// `count` lines of a matrix, `step` apart, and zeros up to `padded`.
std::vector<const float*> lines(const float* data, int64_t step, int64_t count, int64_t padded) {
  std::vector<const float*> all(static_cast<size_t>(padded), nullptr);
  for (int64_t i = 0; i < count; ++i) all[static_cast<size_t>(i)] = data + i * step;
  return all;
}

}  // namespace

int64_t bfloat16_panel_values(int64_t depth) { return depth * kernel_table().bfloat16.panel; }

void pack_bfloat16_panel(MatrixView<float> b, int64_t k, int64_t columns, int64_t depth, uint16_t* to) {
  const auto& kernel = kernel_table().bfloat16;
  const int64_t panel = kernel.panel;
  if (columns == 0) {
    std::fill(to, to + depth * panel, uint16_t{0});
    return;
  }
  if (b.column == 1) {
    const std::vector<const float*> rows = lines(b.data, b.row, k, depth);
    return kernel.pack_pairs(rows.data(), depth / 2, columns, as_words(to), 0);
  }
  // Columns that lie in memory along k: round each, then transpose their pairs.
  Scratch<uint16_t> rounded(columns * depth);
  for (int64_t j = 0; j < columns; ++j) {
    kernel.round(b.data + j * b.column, k, rounded.data() + j * depth);
    std::fill(rounded.data() + j * depth + k, rounded.data() + (j + 1) * depth, uint16_t{0});
  }
  kernel.transpose(as_words(rounded.data()), depth / 2, columns, depth / 2, as_words(to), panel);
  for (int64_t i = 0; columns < panel && i < depth / 2; ++i)
    std::fill(as_words(to) + i * panel + columns, as_words(to) + (i + 1) * panel, 0u);
}

void pack_bfloat16_rows(MatrixView<float> a, int64_t rows, int64_t k, int64_t depth, uint16_t* to) {
  const auto& kernel = kernel_table().bfloat16;
  if (a.column == 1) {
    for (int64_t i = 0; i < rows; ++i) {
      kernel.round(a.data + i * a.row, k, to + i * depth);
      std::fill(to + i * depth + k, to + (i + 1) * depth, uint16_t{0});
    }
    return;
  }
  // Columns of a lie in memory along its rows.
  const std::vector<const float*> columns = lines(a.data, a.column, k, depth);
  kernel.pack_pairs_transposed(columns.data(), depth / 2, rows, as_words(to), depth / 2);
}

void matmul_bfloat16(MatrixView<float> a, MatrixView<float> b, int64_t m, int64_t n, int64_t k,
                     const Epilogue<float>& epilogue, float* c) {
  const auto& kernel = kernel_table().bfloat16;
  const int64_t panel = kernel.panel, panels = divide_up(n, panel), depth = round_up(k, kernel.depth_unit);
  const int64_t panel_values = bfloat16_panel_values(depth);
  Scratch<uint16_t> packed_b(panels * panel_values);
  const int64_t b_chunks = chunk_count(panels, panel_values, 1 << 14);
  parallel_for(b_chunks, [&](int64_t chunk) {
    for (int64_t j = panels * chunk / b_chunks; j < panels * (chunk + 1) / b_chunks; ++j)
      pack_bfloat16_panel({b.data + j * panel * b.column, b.row, b.column}, k, std::min(panel, n - j * panel),
                          depth, packed_b.data() + j * panel_values);
  });
  // Blocks of rows, rounded by who multiplies them: their panel of sums is read from the second cache.
  const int64_t wanted = (int64_t{1} << 23) / std::max<int64_t>(depth * panels * panel, 1);
  const int64_t rows = round_up(std::clamp<int64_t>(wanted, 1, 512), kernel.row_block);
  const int64_t chunks = divide_up(m, rows);
  parallel_for(chunks, [&](int64_t chunk) {
    const int64_t first = chunk * rows, count = std::min(rows, m - first);
    Scratch<uint16_t> packed_a((count + kernel.row_block) * depth);
    pack_bfloat16_rows({a.data + first * a.row, a.row, a.column}, count, k, depth, packed_a.data());
    std::vector<float*> out(static_cast<size_t>(count));
    const int64_t run = 0;
    Bfloat16Product p{};
    p.a = packed_a.data();
    p.a_row = p.depth = depth;
    p.runs = &run;
    p.run_count = 1;
    p.rows = count;
    p.out = out.data();
    p.relu = epilogue.relu;
    for (int64_t j = 0; j < panels; ++j) {
      for (int64_t i = 0; i < count; ++i) out[static_cast<size_t>(i)] = c + (first + i) * n + j * panel;
      p.b = packed_b.data() + j * panel_values;
      p.columns = static_cast<int>(std::min(panel, n - j * panel));
      p.bias = epilogue.bias != nullptr ? epilogue.bias + j * panel : nullptr;
      kernel.multiply(p);
    }
  });
}

}  // namespace chainrule
