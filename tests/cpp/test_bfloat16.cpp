// The kernels of bfloat16: rounding, packing, and products against plain loops.
#include <algorithm>

#include "kernels/table.h"
#include "ops/bfloat16.h"
#include "reference_bfloat16.h"

using namespace chainrule;
using namespace reference;

namespace {

constexpr float tiny = std::numeric_limits<float>::denorm_min(), smallest = std::numeric_limits<float>::min(),
                largest = std::numeric_limits<float>::max();

uint16_t rounded(float value) {
  uint16_t bits;
  kernel_table().bfloat16.round(&value, 1, &bits);
  return bits;
}

std::vector<uint16_t> bits_of_all(const std::vector<float>& values) {
  std::vector<uint16_t> bits(values.size());
  std::transform(values.begin(), values.end(), bits.begin(), bfloat16_bits);
  return bits;
}

// Sizes that vectors and panels are cut at, with their neighbours.
std::vector<int64_t> around(std::vector<int64_t> blocks) {
  std::vector<int64_t> sizes = {0, 1, 2, 3, 5, 7};
  for (int64_t block : blocks)
    for (int64_t size : {block - 1, block, block + 1}) sizes.push_back(size);
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  return sizes;
}

std::string words_differ(const uint32_t* got, int64_t n, const std::vector<uint32_t>& expected) {
  return difference(got, n, [&](int64_t i) -> long double { return expected[static_cast<size_t>(i)]; });
}

}  // namespace

TEST_CASE("rounding to bfloat16: nearest, ties to even") {
  CHECK(rounded(1.0f) == 0x3f80);
  CHECK(rounded(1.0f + 0x1p-8f) == 0x3f80);             // between 1 and 1 + 2^-7: down to the even one
  CHECK(rounded(1.0f + 0x1p-8f + 0x1p-23f) == 0x3f81);  // just above the tie
  CHECK(rounded(1.0f + 3 * 0x1p-8f) == 0x3f82);         // a tie: up to the even one
  CHECK(rounded(1.0f + 3 * 0x1p-8f - 0x1p-23f) == 0x3f81);
  CHECK(rounded(-1.0f - 0x1p-8f) == 0xbf80);
  CHECK(rounded(-1.0f - 3 * 0x1p-8f) == 0xbf82);
  CHECK(rounded(1.9999999f) == 0x4000);  // a carry into the exponent
  CHECK(rounded(0.0f) == 0x0000);
  CHECK(rounded(-0.0f) == 0x8000);
}

TEST_CASE("rounding to bfloat16: subnormal numbers, and what becomes infinite") {
  CHECK(rounded(tiny) == 0x0000);
  CHECK(rounded(-tiny) == 0x8000);
  CHECK(rounded(0x1p-134f) == 0x0000);  // half of bfloat16's least: a tie with 0
  CHECK(rounded(0x1p-134f + tiny) == 0x0001);
  CHECK(rounded(3 * 0x1p-134f) == 0x0002);
  CHECK(rounded(0x1p-133f) == 0x0001);
  CHECK(rounded(smallest) == 0x0080);
  CHECK(rounded(smallest - tiny) == 0x0080);
  CHECK(rounded(float_of(0x7f7f0000)) == 0x7f7f);  // the largest number
  CHECK(rounded(float_of(0x7f7f7fff)) == 0x7f7f);
  CHECK(rounded(float_of(0x7f7f8000)) == 0x7f80);  // a tie between it and 2^128
  CHECK(rounded(largest) == 0x7f80);
  CHECK(rounded(-largest) == 0xff80);
  CHECK(rounded(infinity<float>) == 0x7f80);
  CHECK(rounded(-infinity<float>) == 0xff80);
}

TEST_CASE("rounding to bfloat16: NaN stays NaN, with its sign") {
  for (uint32_t payload : {0x7fc00000u, 0x7f800001u, 0x7f80ffffu, 0x7fbfffffu, 0x7fffffffu, 0x7fff8000u})
    for (uint32_t sign : {0u, 0x80000000u}) {
      const uint16_t bits = rounded(float_of(payload | sign));
      CAPTURE(payload);
      CHECK((bits >> 15) == (sign >> 31));
      CHECK((bits & 0x7fc0) == 0x7fc0);  // a quiet one
    }
}

TEST_CASE("rounding to bfloat16: each upper half with lower halves around the tie, at every length") {
  std::vector<float> values;
  for (uint32_t upper = 0; upper < 0x10000; ++upper)
    for (uint32_t lower : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const float value = float_of(upper << 16 | lower);
      if (!std::isnan(value)) values.push_back(value);
    }
  const std::vector<uint16_t> expected = bits_of_all(values);
  std::vector<uint16_t> got(values.size());
  kernel_table().bfloat16.round(values.data(), static_cast<int64_t>(values.size()), got.data());
  CHECK(difference(got.data(), static_cast<int64_t>(got.size()),
                   [&](int64_t i) -> long double { return expected[static_cast<size_t>(i)]; }) == "");

  for (int64_t n = 0; n <= 70; ++n) {
    const Unaligned<float> some(normal<float>(n, static_cast<uint64_t>(n)));
    Guarded<uint16_t> to(n);
    kernel_table().bfloat16.round(some.data(), n, to.data());
    CAPTURE(n);
    CHECK(to.intact());
    CHECK(difference(to.data(), n, [&](int64_t i) -> long double { return bfloat16_bits(some.data()[i]); }) ==
          "");
  }
}

// Rows of normal values, some of them absent; and the words that pairs of them make.
struct Rows {
  std::vector<Unaligned<float>> values;
  std::vector<const float*> at;

  Rows(int64_t pairs, int64_t columns) {
    values.reserve(static_cast<size_t>(2 * pairs));
    for (int64_t i = 0; i < 2 * pairs; ++i) {
      values.emplace_back(normal<float>(columns, static_cast<int>(i)));
      at.push_back(i % 5 == 3 || i % 7 == 0 ? nullptr : values.back().data());
    }
  }
  uint32_t word(int64_t pair, int64_t column) const {
    auto bits = [&](int64_t row) -> uint32_t {
      const float* values = at[static_cast<size_t>(row)];
      return values != nullptr ? bfloat16_bits(values[column]) : 0;
    };
    return bits(2 * pair + 1) << 16 | bits(2 * pair);
  }
};

TEST_CASE("packing pairs of rows: panels of columns, zeros for what is absent and up to a panel's end") {
  const auto& kernel = kernel_table().bfloat16;
  const int64_t panel = kernel.panel;
  for (int64_t columns : around({panel / 2, panel, 2 * panel, 70}))
    for (int64_t pairs : {0, 1, 2, 3, 8, 37}) {
      const Rows rows(pairs, columns);
      const int64_t panels = (columns + panel - 1) / panel, gap = 5, stride = pairs * panel + gap;
      Guarded<uint32_t> words(panels * stride);
      std::fill(words.data(), words.data() + panels * stride, 7u);
      kernel.pack_pairs(rows.at.data(), pairs, columns, words.data(), stride);
      CAPTURE(columns);
      CAPTURE(pairs);
      CHECK(words.intact());
      CHECK(difference(words.data(), panels * stride, [&](int64_t i) -> long double {
              const int64_t column = i / stride * panel + i % stride % panel, pair = i % stride / panel;
              if (pair >= pairs) return 7;
              return column < columns ? rows.word(pair, column) : 0;
            }) == "");
    }
}

TEST_CASE("packing pairs of rows transposed: a row of words for each column, nothing beside them") {
  const auto& kernel = kernel_table().bfloat16;
  const int64_t L = kernel.panel / 2;
  for (int64_t columns : around({L, 2 * L, 70}))
    for (int64_t pairs : around({L, 2 * L}))
      for (int64_t gap : {0, 3}) {
        const Rows rows(pairs, columns);
        const int64_t stride = pairs + gap;
        Guarded<uint32_t> words(columns * stride);
        std::fill(words.data(), words.data() + columns * stride, 7u);
        kernel.pack_pairs_transposed(rows.at.data(), pairs, columns, words.data(), stride);
        CAPTURE(columns);
        CAPTURE(pairs);
        CHECK(words.intact());
        CHECK(difference(words.data(), columns * stride, [&](int64_t i) -> long double {
                return i % stride < pairs ? rows.word(i % stride, i / stride) : 7;
              }) == "");
      }
}

TEST_CASE("transposing words changes no bit, NaN's patterns among them") {
  const auto& kernel = kernel_table().bfloat16;
  const int64_t L = kernel.panel / 2;
  std::mt19937 random(1);
  for (int64_t rows : around({L, 2 * L}))
    for (int64_t columns : around({L, 2 * L}))
      for (int64_t gap : {0, 3}) {
        const int64_t from_row = columns + gap, to_row = rows + gap;
        std::vector<uint32_t> from(static_cast<size_t>(std::max<int64_t>(rows * from_row - gap, 0)));
        for (size_t i = 0; i < from.size(); ++i)
          from[i] = static_cast<uint32_t>(random()) | (i % 3 == 0 ? 0x7f800000u : 0u);
        Guarded<uint32_t> to(std::max<int64_t>(columns * to_row - gap, 0));
        std::vector<uint32_t> expected = to.values();  // what lies between rows stays as it was
        kernel.transpose(from.data(), from_row, rows, columns, to.data(), to_row);
        for (int64_t i = 0; i < rows; ++i)
          for (int64_t j = 0; j < columns; ++j)
            expected[static_cast<size_t>(j * to_row + i)] = from[static_cast<size_t>(i * from_row + j)];
        CAPTURE(rows);
        CAPTURE(columns);
        CAPTURE(gap);
        CHECK(to.intact());
        CHECK(words_differ(to.data(), to.size(), expected) == "");
      }
}

TEST_CASE(
    "the product: every number of rows and columns, runs, bias, relu, sums added to, rows nobody wants") {
  const auto& kernel = kernel_table().bfloat16;
  const int64_t panel = kernel.panel, unit = kernel.depth_unit;
  int round = 0;
  for (int64_t rows : around({kernel.row_block / 2, kernel.row_block, 2 * kernel.row_block}))
    for (int64_t columns = 1; columns <= panel; ++columns, ++round) {
      const int64_t depth = (1 + round % 3) * unit, run_count = 1 + round % 4, a_row = depth / 2 + round % 5;
      const bool accumulate = round & 1, relu = round & 2, has_bias = round % 3 == 0;
      // Runs overlap, as rows do, and begin at any place.
      std::vector<int64_t> runs;
      for (int64_t r = 0; r < run_count; ++r) runs.push_back((run_count - r) * 7);
      const int64_t used = rows == 0 ? 0 : (rows - 1) * a_row + run_count * 7 + depth;
      const std::vector<float> a = small_integers<float>(used, 1),
                               bias = small_integers<float>(columns, 3, 20),
                               b = small_integers<float>(run_count * depth * columns, 2);
      // NaN in the rows past the last and the columns past the last must show nowhere.
      const int64_t b_run = depth * panel + 2 * panel * (columns % 3);
      std::vector<uint16_t> a_bits = bits_of_all(a),
                            b_bits(static_cast<size_t>(run_count * b_run), uint16_t{0x7fc0});
      a_bits.resize(static_cast<size_t>(used + run_count * 7 + depth + kernel.row_block * a_row), 0x7fc0);
      auto b_at = [&](int64_t r, int64_t k, int64_t j) {
        return b[static_cast<size_t>((r * depth + k) * columns + j)];
      };
      for (int64_t r = 0; r < run_count; ++r)
        for (int64_t k = 0; k < depth; ++k)
          for (int64_t j = 0; j < columns; ++j)
            b_bits[static_cast<size_t>(r * b_run + (k / 2 * panel + j) * 2 + k % 2)] =
                bfloat16_bits(b_at(r, k, j));
      Guarded<float> c(small_integers<float>(rows * columns, 4, 9));
      const std::vector<float> before = c.values();
      std::vector<float*> out;
      for (int64_t i = 0; i < rows; ++i) out.push_back(i % 5 == 3 ? nullptr : c.data() + i * columns);
      Bfloat16Product p{};
      p.a = a_bits.data();
      p.a_row = a_row;
      p.runs = runs.data();
      p.run_count = run_count;
      p.depth = depth;
      p.b = b_bits.data();
      p.b_run = b_run;
      p.out = out.data();
      p.rows = rows;
      p.columns = static_cast<int>(columns);
      p.bias = has_bias ? bias.data() : nullptr;
      p.relu = relu;
      p.accumulate = accumulate;
      kernel.multiply(p);
      CAPTURE(rows);
      CAPTURE(columns);
      CAPTURE(depth);
      CHECK(c.intact());
      CHECK(difference(c.data(), c.size(), [&](int64_t at) -> long double {
              const int64_t i = at / columns, j = at % columns;
              const float old = before[static_cast<size_t>(at)];
              if (out[static_cast<size_t>(i)] == nullptr) return old;
              float sum = (accumulate ? old : 0) + (has_bias ? bias[static_cast<size_t>(j)] : 0);
              for (int64_t r = 0; r < run_count; ++r)
                for (int64_t k = 0; k < depth; ++k)
                  sum += a[static_cast<size_t>(runs[static_cast<size_t>(r)] + i * a_row + k)] * b_at(r, k, j);
              return relu && sum <= 0 ? 0 : sum;
            }) == "");
    }
}

TEST_CASE("packing fills panels and rows up with zeros, from either layout") {
  const auto& kernel = kernel_table().bfloat16;
  const int64_t panel = kernel.panel;
  for (int64_t k : around({kernel.depth_unit, 64}))
    for (int64_t size : around({panel / 2, panel}))
      for (int64_t gap : {0, 1})
        for (bool along_k : {false, true}) {
          // b (k, size) and a (size, k): the same numbers, with k along memory or across it.
          const int64_t stride = gap + (along_k ? k : size), depth = round_up(k, kernel.depth_unit);
          const Unaligned<float> values(normal<float>(std::max(along_k ? size : k, int64_t{0}) * stride, 1));
          auto at = [&](int64_t i, int64_t j) -> long double {  // sample i along k
            return i < k && j < size ? bfloat16_bits(values.data()[along_k ? j * stride + i : i * stride + j])
                                     : 0;
          };
          CAPTURE(k);
          CAPTURE(size);
          CAPTURE(along_k);
          const MatrixView<float> view{values.data(), along_k ? 1 : stride, along_k ? stride : 1};
          std::vector<uint16_t> rows(static_cast<size_t>(size * depth), uint16_t{7});
          pack_bfloat16_rows({view.data, view.column, view.row}, size, k, depth, rows.data());
          CHECK(difference(rows.data(), size * depth, [&](int64_t i) { return at(i % depth, i / depth); }) ==
                "");
          if (size > panel) continue;
          CHECK(bfloat16_panel_values(depth) == depth * panel);
          std::vector<uint16_t> packed(static_cast<size_t>(depth * panel), uint16_t{7});
          pack_bfloat16_panel(view, k, size, depth, packed.data());
          CHECK(difference(packed.data(), depth * panel,
                           [&](int64_t i) { return at(i / 2 / panel * 2 + i % 2, i / 2 % panel); }) == "");
        }
}
