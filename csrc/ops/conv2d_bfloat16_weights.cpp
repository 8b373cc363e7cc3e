#include <algorithm>
#include <vector>

#include "kernels/table.h"
#include "ops/conv2d_bfloat16.h"
#include "ops/conv2d_phases.h"
#include "runtime/allocator.h"

namespace chainrule {

namespace {

// dw from x and dy, or from the lines that `pooled` scatters where that is not nullptr.
void run(const Conv2dShape& s, const float* x, const float* dy, const ScatteredLines* pooled, float* dw) {
  const auto& kernel = kernel_table().bfloat16;
  const int64_t panel = kernel.panel, panels = divide_up(s.channels, panel);
  const int64_t taps = s.height.kernel * s.width.kernel;
  if (s.batch * s.height.output() * s.width.output() == 0) {
    std::fill(dw, dw + taps * s.channels * s.filters, 0.0f);
    return;
  }

  // dw[tap][c][f] = the sum over pixels q of dy[q][f] x[q + tap][c]: a product of dy transposed, each
  // filter's pixels beside each other, and x, where a tap is a shift by pixels. Pixels of padding hold zeros
  // in x, and the places between lines of outputs zeros in dy. By strides x is dealt into planes, as in the
  // forward pass.
  const AxisPhase h = forward_phases(s.height)[0], w = forward_phases(s.width)[0];
  // A piece is a band of output lines (or, flattened, a strip of one long line) in an image.
  constexpr int64_t piece_pixels = 512;
  const Split bands(h.count, std::max<int64_t>(piece_pixels / w.count, 1)), strips(w.count, piece_pixels);
  const int64_t pieces = s.batch * bands.parts * strips.parts;
  const Planes rows(h, divide_up(h.count, bands.parts)), columns(w, divide_up(w.count, strips.parts));
  const int64_t planes = rows.step * columns.step, plane = rows.length * columns.length;
  auto shift_of = [&](int64_t tap) {
    const int64_t row = h.taps[static_cast<size_t>(tap / s.width.kernel)].offset,
                  column = w.taps[static_cast<size_t>(tap % s.width.kernel)].offset;
    return (row % rows.step * columns.step + column % columns.step) * plane +
           row / rows.step * columns.length + column / columns.step;
  };
  // Pixels of a piece in dy, and the places of x that taps reach from there, past the last line's end.
  const int64_t depth = round_up(divide_up(h.count, bands.parts) * columns.length, kernel.depth_unit);
  const int64_t places = round_up(planes * plane + depth, 2);
  // A filter's row of dy: an odd number of cache lines, so that neighbouring rows meet in different sets.
  constexpr int64_t line = 64 / sizeof(uint16_t);
  const int64_t row = (divide_up(depth, line) | 1) * line;
  // x lies in pairs of places: a tap that shifts by an odd number needs those that begin at odd ones.
  bool odd = false;
  for (int64_t tap = 0; tap < taps; ++tap) odd = odd || shift_of(tap) % 2 != 0;
  const int64_t pairings = odd ? 2 : 1;

  // Pieces packed at a time, then multiplied in blocks of filters, channels and taps. The order of each
  // sum is that of the pieces. A pass is what the second caches hold, and more than reading and writing the
  // sums costs.
  const int64_t sum_bytes = taps * s.filters * s.channels * static_cast<int64_t>(sizeof(float));
  const int64_t pass_bytes = std::clamp<int64_t>(8 * sum_bytes, 2 << 20, 4 << 20);
  const int64_t x_values = pairings * places * panels * panel, dy_values = s.filters * row;
  const int64_t pass = std::clamp<int64_t>(pass_bytes / 2 / (x_values + dy_values), 1, pieces);
  Scratch<uint16_t> packed_x(pass * x_values), packed_dy(pass * dy_values + kernel.row_block * row);
  Scratch<float> sums(taps * s.filters * s.channels);  // [tap][f][c]
  std::fill(sums.data(), sums.data() + taps * s.filters * s.channels, 0.0f);
  constexpr int64_t filter_block = 64;
  const int64_t blocks = divide_up(s.filters, filter_block);
  // A chunk is a panel of channels, which stays in the second cache, by blocks of filters and taps: all of
  // them where there are panels enough.
  constexpr int64_t enough_chunks = 12;
  const int64_t items = blocks * taps;
  const int64_t parts = std::min(divide_up(enough_chunks, panels), items);

  auto pack = [&](int64_t piece, const auto& xt, uint16_t* dyt) {
    const int64_t strip = piece % strips.parts, band = piece / strips.parts % bands.parts;
    const int64_t n = piece / (strips.parts * bands.parts);
    const Region r{n, bands.begin(band), bands.begin(band + 1), strips.begin(strip), strips.begin(strip + 1)};
    // Where the channels of each place lie, nullptr for zeros.
    std::vector<const float*> at(static_cast<size_t>(places + 1), nullptr);
    // Values wanted a little later: the processor's own prefetching waits for a few misses in each page.
    auto prefetch = [&](size_t place, int64_t count) {
      if (place >= at.size() || at[place] == nullptr) return;
      for (int64_t i = 0; i < count; i += 16) __builtin_prefetch(at[place] + i);
    };
    for (int64_t p = 0; p < planes; ++p)
      for (int64_t i = 0; i < rows.length; ++i) {
        const int64_t y = h.source + r.i0 * h.source_step + i * rows.step + p / columns.step;
        if (y < 0 || y >= s.height.input) continue;
        const float* source_line = x + (n * s.height.input + y) * s.width.input * s.channels;
        for (int64_t j = 0; j < columns.length; ++j) {
          const int64_t z = w.source + r.j0 * w.source_step + j * columns.step + p % columns.step;
          if (z >= 0 && z < s.width.input)
            at[static_cast<size_t>(p * plane + i * columns.length + j)] = source_line + z * s.channels;
        }
      }
    constexpr int64_t prefetched = 2048;  // values
    const int64_t x_ahead = divide_up(prefetched, s.channels),
                  dy_ahead = divide_up(prefetched, s.filters) / 2 * 2;
    // x: pairs of places, panel by panel.
    const float* first = at[0];
    for (int64_t place = 0; place < places; ++place) {  // and its neighbour
      const float* second = at[static_cast<size_t>(place + 1)];
      prefetch(static_cast<size_t>(place + x_ahead), s.channels);
      if (odd || place % 2 == 0)
        for (int64_t k = 0; k < panels; ++k) {
          uint32_t* to = reinterpret_cast<uint32_t*>(xt(place % 2, k)) + place / 2 * panel;
          const int64_t count = std::min(panel, s.channels - k * panel);
          kernel.interleave(first != nullptr ? first + k * panel : nullptr,
                            second != nullptr ? second + k * panel : nullptr, count, to);
          std::fill(to + count, to + panel, 0u);
        }
      first = second;
    }
    // dy: words of two neighbouring pixels for all filters, transposed.
    at.assign(static_cast<size_t>(depth), nullptr);
    const int64_t dy_line = w.count * s.filters;
    Scratch<float> scattered(pooled != nullptr ? (r.i1 - r.i0) * dy_line : 0);
    if (pooled != nullptr)
      for (int64_t i = r.i0; i < r.i1; ++i) pooled->line(n, i, scattered.data() + (i - r.i0) * dy_line);
    const float* dy_lines = pooled != nullptr ? scattered.data() : dy + (n * h.count + r.i0) * dy_line;
    for (int64_t i = 0; i < r.i1 - r.i0; ++i)
      for (int64_t j = 0; j < r.j1 - r.j0; ++j)
        at[static_cast<size_t>(i * columns.length + j)] = dy_lines + i * dy_line + (r.j0 + j) * s.filters;
    constexpr int64_t block = 32;
    Scratch<uint32_t> words(block * s.filters);
    for (int64_t pair = 0; pair < depth / 2; pair += block) {
      const int64_t count = std::min(block, depth / 2 - pair);
      for (int64_t i = 0; i < count; ++i) {
        prefetch(static_cast<size_t>(2 * (pair + i) + dy_ahead), s.filters);
        prefetch(static_cast<size_t>(2 * (pair + i) + dy_ahead + 1), s.filters);
        kernel.interleave(at[static_cast<size_t>(2 * (pair + i))],
                          at[static_cast<size_t>(2 * (pair + i) + 1)], s.filters,
                          words.data() + i * s.filters);
      }
      kernel.transpose(words.data(), s.filters, count, s.filters, reinterpret_cast<uint32_t*>(dyt) + pair,
                       row / 2);
    }
  };

  for (int64_t first = 0; first < pieces; first += pass) {
    const int64_t count = std::min(pass, pieces - first);
    // A panel of channels holds all pieces: a sum runs through them before it goes to memory.
    auto xt = [&](int64_t i, int64_t pairing, int64_t k) {
      return packed_x.data() + ((pairing * panels + k) * count + i) * places * panel;
    };
    auto dyt = [&](int64_t i) { return packed_dy.data() + i * dy_values; };
    parallel_for(count, [&](int64_t i) {
      pack(first + i, [&](int64_t pairing, int64_t k) { return xt(i, pairing, k); }, dyt(i));
    });
    std::vector<int64_t> runs(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) runs[static_cast<size_t>(i)] = i * dy_values;
    parallel_for(panels * parts, [&](int64_t chunk) {
      const int64_t k = chunk / parts, part = chunk % parts;
      Bfloat16Product product{};
      product.a_row = row;
      product.runs = runs.data();
      product.run_count = count;
      product.depth = depth;
      product.b_run = places * panel;
      product.columns = static_cast<int>(std::min(panel, s.channels - k * panel));
      product.accumulate = true;
      float* out[filter_block];
      product.out = out;
      for (int64_t item = items * part / parts; item < items * (part + 1) / parts; ++item) {
        const int64_t f = item / taps * filter_block, tap = item % taps, shift = shift_of(tap);
        product.a = dyt(0) + f * row;
        product.rows = std::min(filter_block, s.filters - f);
        for (int64_t j = 0; j < product.rows; ++j)
          out[j] = sums.data() + (tap * s.filters + f + j) * s.channels + k * panel;
        product.b = xt(0, shift % 2, k) + shift / 2 * 2 * panel;
        kernel.multiply(product);
      }
    });
  }
  parallel_for(taps, [&](int64_t tap) {
    kernel.transpose(reinterpret_cast<const uint32_t*>(sums.data() + tap * s.filters * s.channels),
                     s.channels, s.filters, s.channels,
                     reinterpret_cast<uint32_t*>(dw + tap * s.channels * s.filters), s.filters);
  });
}

}  // namespace

void conv2d_bfloat16_weight_gradient(const Conv2dShape& shape, const float* x, const float* dy, float* dw) {
  run(flattened(shape), x, dy, nullptr, dw);
}

void conv2d_bfloat16_max_pool2d_weight_gradient(const Conv2dShape& shape, const float* x,
                                                const ScatteredLines& lines, float* dw) {
  run(with_strides_cut(shape), x, nullptr, &lines, dw);
}

}  // namespace chainrule
