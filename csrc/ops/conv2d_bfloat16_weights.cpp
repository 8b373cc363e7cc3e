#include <algorithm>
#include <vector>

#include "kernels/table.h"
#include "ops/conv2d_bfloat16.h"
#include "ops/conv2d_bfloat16_lines.h"
#include "runtime/allocator.h"

namespace chainrule {

namespace {

// dw[tap][c][f] = the sum over pixels q of dy[q][f] x[q + tap][c]: a product of dy transposed, each filter's
// pixels beside each other, and x, where a tap is a shift by pixels. Pixels of padding hold zeros in x, and
// the places between lines of outputs zeros in dy.
//
// A piece of the sum is several small images, one, a band of lines or a part of a line. Its pixels are in the
// order (line, image, column), so that a tap along the height is a shift by lines of all images.
class Pieces {
 public:
  explicit Pieces(const Conv2dShape& s)
      : shape(s),
        h_(forward_phases(s.height)[0]),
        w_(forward_phases(s.width)[0]),
        lines_(w_, short_line),
        images_(s.batch, 1),
        bands_(h_.count, 1),
        strips_(w_.count, most_pixels),
        rows_(h_, 1) {
    const int64_t line = largest(strips_) + lines_.extra, unit = kernel_table().bfloat16.depth_unit;
    // The cut that multiplies the fewest places in vain.
    auto places_of = [&](const Split& images, const Split& bands) {
      return static_cast<double>(images.parts * bands.parts) *
             static_cast<double>(round_up(largest(images) * largest(bands) * line, unit));
    };
    if (h_.count * line > most_pixels) {
      bands_ = Split(h_.count, std::max<int64_t>(most_pixels / line, 1));
      for (int64_t n = 1; n < 4; ++n) {
        const Split fewer(h_.count, divide_up(h_.count, bands_.parts + n));
        if (places_of(images_, fewer) < places_of(images_, bands_)) bands_ = fewer;
      }
    } else {
      bands_ = Split(h_.count, h_.count);
      // Lines of all images are an even number of pixels, so that a tap along the height shifts by pairs; and
      // the fewest images that are as good as more, but for one in a hundred.
      for (int64_t n = 2; n * h_.count * line <= most_pixels; ++n) {
        const Split more(s.batch, n);
        if (largest(more) * line % 2 == 0 && places_of(more, bands_) < 0.99 * places_of(images_, bands_))
          images_ = more;
      }
    }
    rows_ = Planes(h_, largest(bands_));
    image_line_ = line;
    line_ = largest(images_) * line;
    plane_ = round_up(rows_.length * line_, 2);
    depth_ = round_up(largest(bands_) * line_, unit);
    for (int64_t tap = 0; tap < taps(); ++tap) {
      odd_ = odd_ || shift(tap) % 2 != 0;
      places_ = std::max(places_, round_up(shift(tap) + depth_, 2));
    }
  }

  const Conv2dShape& shape;
  int64_t count() const { return images_.parts * bands_.parts * strips_.parts; }
  int64_t taps() const { return shape.height.kernel * shape.width.kernel; }
  // Places of dy in a piece, a multiple of the kernels' depth_unit, and of x.
  int64_t depth() const { return depth_; }
  int64_t places() const { return places_; }
  // From a pixel of dy to the place of x that a tap meets.
  int64_t shift(int64_t tap) const {
    const int64_t row = h_.taps[static_cast<size_t>(tap / shape.width.kernel)].offset;
    const Lines::Tap& column = lines_.taps[static_cast<size_t>(tap % shape.width.kernel)];
    return (column.copy * rows_.step + row % rows_.step) * plane_ + row / rows_.step * line_ + column.first;
  }
  // x lies in pairs of places: a tap that shifts by an odd number needs those that begin at odd ones.
  int64_t pairings() const { return odd_ ? 2 : 1; }

  // Where the channels of each place of x lie, nullptr for zeros; one place more than there are.
  std::vector<const float*> x_rows(int64_t piece, const float* x) const {
    const Region r = region(piece);
    std::vector<const float*> at(static_cast<size_t>(places_ + 1), nullptr);
    for (int64_t copy = 0; copy < lines_.copies(); ++copy)
      for (int64_t p = 0; p < rows_.step; ++p)
        for (int64_t i = 0; i < rows_.length; ++i) {
          const int64_t y = h_.source + (r.i0 + i) * rows_.step + p;
          if (y < 0 || y >= shape.height.input) continue;
          for (int64_t n = r.n0; n < r.n1; ++n) {
            const float* line = x + (n * shape.height.input + y) * shape.width.input * shape.channels;
            const int64_t first = (copy * rows_.step + p) * plane_ + i * line_ + (n - r.n0) * image_line_;
            const int64_t start = w_.source + lines_.starts[static_cast<size_t>(copy)];
            for (int64_t j = 0; j < r.j1 - r.j0 + lines_.extra && first + j < places_; ++j) {
              const int64_t z = start + (r.j0 + j) * w_.source_step;
              if (z >= 0 && z < shape.width.input)
                at[static_cast<size_t>(first + j)] = line + z * shape.channels;
            }
          }
        }
    return at;
  }

  // Where the filters of each place of dy lie. Lines that are scattered go to `scattered`.
  std::vector<const float*> dy_rows(int64_t piece, const float* dy, const ScatteredLines* pooled,
                                    Scratch<float>& scattered) const {
    const Region r = region(piece);
    std::vector<const float*> at(static_cast<size_t>(depth_), nullptr);
    const int64_t line = w_.count * shape.filters;
    for (int64_t i = r.i0; i < r.i1; ++i)
      for (int64_t n = r.n0; n < r.n1; ++n) {
        const float* from;
        if (pooled != nullptr) {
          float* to = scattered.data() + ((i - r.i0) * largest(images_) + n - r.n0) * line;
          pooled->line(n, i, to);
          from = to;
        } else {
          from = dy + (n * h_.count + i) * line;
        }
        for (int64_t j = r.j0; j < r.j1; ++j)
          at[static_cast<size_t>((i - r.i0) * line_ + (n - r.n0) * image_line_ + j - r.j0)] =
              from + j * shape.filters;
      }
    return at;
  }
  int64_t scattered_values() const { return largest(bands_) * largest(images_) * w_.count * shape.filters; }

 private:
  // Long runs: whoever begins one reads and writes its sums. Longer ones gain nothing more.
  static constexpr int64_t most_pixels = 2048;
  // Where the copies, packed once, cost as much as the places between lines, multiplied by every filter.
  static constexpr int64_t short_line = 12;

  struct Region {
    int64_t n0, n1, i0, i1, j0, j1;
  };
  Region region(int64_t piece) const {
    const int64_t strip = piece % strips_.parts, band = piece / strips_.parts % bands_.parts;
    const int64_t group = piece / (strips_.parts * bands_.parts);
    return {images_.begin(group),   images_.begin(group + 1), bands_.begin(band),
            bands_.begin(band + 1), strips_.begin(strip),     strips_.begin(strip + 1)};
  }
  static int64_t largest(const Split& split) { return divide_up(split.total, split.parts); }

  AxisPhase h_, w_;
  Lines lines_;
  Split images_, bands_, strips_;
  Planes rows_;
  int64_t image_line_, line_, plane_;  // places of a line of one image, of all, and of a plane of lines
  int64_t depth_, places_ = 0;
  bool odd_ = false;
};

// dw from x and dy, or from the lines that `pooled` scatters where that is not nullptr.
void run(const Conv2dShape& s, const float* x, const float* dy, const ScatteredLines* pooled, float* dw) {
  const auto& kernel = kernel_table().bfloat16;
  const int64_t panel = kernel.panel, panels = divide_up(s.channels, panel);
  if (s.batch * s.height.output() * s.width.output() == 0) {
    std::fill(dw, dw + element_count(s.weights(), "conv2d_weight_gradient"), 0.0f);
    return;
  }
  const Pieces pieces(s);
  const int64_t taps = pieces.taps(), depth = pieces.depth(), pairings = pieces.pairings();
  // A filter's row of dy: an odd number of cache lines, so that neighbouring rows meet in different sets.
  constexpr int64_t line = 64 / sizeof(uint16_t);
  const int64_t row = (divide_up(depth, line) | 1) * line;

  // Pieces packed at a time, then multiplied in blocks of filters, channels and taps. The order of each
  // sum is that of the pieces. A pass is what the second caches of some processors hold, and more than
  // reading and writing the sums costs.
  const int64_t sum_values = taps * s.filters * s.channels;
  const int64_t pass_bytes = std::clamp<int64_t>(32 * sum_values, 2 << 20, 8 << 20);
  const int64_t panel_values = pieces.places() * panel;
  const int64_t x_values = pairings * panels * panel_values, dy_values = s.filters * row;
  const int64_t pass = std::clamp<int64_t>(pass_bytes / 2 / (x_values + dy_values), 1, pieces.count());
  Scratch<uint16_t> packed_x(pass * x_values), packed_dy(pass * dy_values + kernel.row_block * row);
  Scratch<float> sums(sum_values);  // [tap][f][c]
  std::fill(sums.data(), sums.data() + sum_values, 0.0f);
  constexpr int64_t filter_block = 32;  // a tile's rows
  const int64_t items = divide_up(s.filters, filter_block) * taps;
  // A chunk is a panel of channels, which stays in the second cache, by blocks of filters and taps: all of
  // them where there are panels enough.
  constexpr int64_t enough_chunks = 12;
  const int64_t parts = std::min(divide_up(enough_chunks, panels), items);

  for (int64_t first = 0; first < pieces.count(); first += pass) {
    const int64_t count = std::min(pass, pieces.count() - first);
    // A panel of channels holds all pieces: a sum runs through them before it goes to memory.
    auto xt = [&](int64_t i, int64_t pairing, int64_t k) {
      return packed_x.data() + ((pairing * panels + k) * count + i) * panel_values;
    };
    parallel_for(2 * count, [&](int64_t half) {
      const int64_t i = half / 2;
      if (half % 2 == 0) {
        const auto rows = pieces.x_rows(first + i, x);
        for (int64_t pairing = 0; pairing < pairings; ++pairing)
          kernel.pack_pairs(rows.data() + pairing, pieces.places() / 2, s.channels,
                            reinterpret_cast<uint32_t*>(xt(i, pairing, 0)), count * panel_values / 2);
      } else {
        Scratch<float> scattered(pooled != nullptr ? pieces.scattered_values() : 0);
        const auto rows = pieces.dy_rows(first + i, dy, pooled, scattered);
        kernel.pack_pairs_transposed(rows.data(), depth / 2, s.filters,
                                     reinterpret_cast<uint32_t*>(packed_dy.data() + i * dy_values), row / 2);
      }
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
      product.b_run = panel_values;
      product.columns = static_cast<int>(std::min(panel, s.channels - k * panel));
      product.accumulate = true;
      float* out[filter_block];
      product.out = out;
      for (int64_t item = items * part / parts; item < items * (part + 1) / parts; ++item) {
        const int64_t f = item / taps * filter_block, tap = item % taps, shift = pieces.shift(tap);
        product.a = packed_dy.data() + f * row;
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
