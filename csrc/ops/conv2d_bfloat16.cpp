#include "ops/conv2d_bfloat16.h"

#include <cstring>

#include "kernels/table.h"
#include "ops/bfloat16.h"
#include "ops/conv2d_phases.h"
#include "runtime/allocator.h"

namespace chainrule {

namespace {

// How `target` follows from `source`: as direct convolution has it, for one group.
struct Pass {
  const float* source;  // (batch, source_height, source_width, depth)
  int64_t source_height, source_width;
  float* target;  // (batch, target_height, target_width, columns)
  int64_t target_height, target_width;
  int64_t batch, depth, columns;
  // The weight from source channel d to target channel c at sample (i, j) of the kernel:
  // weights[(i * kernel_width + j) * depth * columns + d * row + c * column].
  const float* weights;
  int64_t kernel_width, row, column;
  Epilogue<float> epilogue;
};

// Sources along one axis, `step` apart for neighbouring outputs, dealt into `step` planes: in its plane a
// window moves by one.
struct Planes {
  int64_t step, length;  // of each plane
  Planes(const AxisPhase& phase, int64_t outputs)
      : step(phase.source_step), length(outputs + (phase.reach() - 1) / phase.source_step) {}
};

// Rows [i0, i1) of a phase's outputs in one image, as rows of a product: row (i, j) is the window of output
// (i, j), and rows past the last output of a line are computed and dropped.
class Band {
 public:
  Band(const Pass& p, const AxisPhase& h, const AxisPhase& w, const Region& r)
      : depth_(round_up(p.depth, kernel_table().bfloat16.depth_unit)),
        height_(h, r.i1 - r.i0),
        width_(w, r.j1 - r.j0),
        values_((height_.step * width_.step * height_.length * width_.length +
                 kernel_table().bfloat16.row_block) *
                depth_) {
    const auto round = kernel_table().bfloat16.round;
    const int64_t row0 = h.source + r.i0 * h.source_step, column0 = w.source + r.j0 * w.source_step;
    const float* image = p.source + r.n * p.source_height * p.source_width * p.depth;
    for (int64_t i = 0; i < height_.length * height_.step; ++i)
      for (int64_t plane = 0; plane < width_.step; ++plane) {
        uint16_t* to = values_.data() + offset(i, plane);
        const int64_t row = row0 + i;
        if (row < 0 || row >= p.source_height) {
          std::fill(to, to + width_.length * depth_, uint16_t{0});
          continue;
        }
        const float* line = image + row * p.source_width * p.depth;
        for (int64_t j = 0; j < width_.length;) {
          const int64_t column = column0 + plane + j * width_.step;
          if (column < 0 || column >= p.source_width) {
            std::fill(to + j * depth_, to + (j + 1) * depth_, uint16_t{0});
            ++j;
          } else if (width_.step == 1 && depth_ == p.depth) {  // all of a line at once
            const int64_t count = std::min(width_.length - j, p.source_width - column);
            round(line + column * depth_, count * depth_, to + j * depth_);
            j += count;
          } else {
            round(line + column * p.depth, p.depth, to + j * depth_);
            std::fill(to + j * depth_ + p.depth, to + (j + 1) * depth_, uint16_t{0});
            ++j;
          }
        }
      }
  }

  const uint16_t* data() { return values_.data(); }
  int64_t depth() const { return depth_; }
  int64_t line() const { return width_.length; }  // rows of the product for one line of outputs
  // Where a tap's values begin.
  int64_t tap(int64_t i, int64_t j) const { return offset(i, j % width_.step) + j / width_.step * depth_; }

 private:
  // The first column of a plane in source row i.
  int64_t offset(int64_t i, int64_t plane) const {
    const int64_t rows = i % height_.step * width_.step + plane;
    return ((rows * height_.length) + i / height_.step) * width_.length * depth_;
  }

  int64_t depth_;
  Planes height_, width_;
  Scratch<uint16_t> values_;
};

void run(const Pass& p, const AxisPhase& h, const AxisPhase& w) {
  const auto& kernel = kernel_table().bfloat16;
  const int64_t panel = kernel.panel, panels = divide_up(p.columns, panel);
  const int64_t depth = round_up(p.depth, kernel.depth_unit), tap_values = bfloat16_panel_values(depth);
  const auto h_taps = static_cast<int64_t>(h.taps.size()), w_taps = static_cast<int64_t>(w.taps.size());
  const int64_t taps = h_taps * w_taps;

  Scratch<uint16_t> packed(panels * taps * tap_values);
  const int64_t chunks = chunk_count(panels * taps, tap_values);
  parallel_for(chunks, [&](int64_t chunk) {
    for (int64_t piece = panels * taps * chunk / chunks; piece < panels * taps * (chunk + 1) / chunks;
         ++piece) {
      const int64_t tap = piece % taps, j = piece / taps;
      const int64_t sample = h.taps[static_cast<size_t>(tap / w_taps)].index * p.kernel_width +
                             w.taps[static_cast<size_t>(tap % w_taps)].index;
      pack_bfloat16_panel({p.weights + sample * p.depth * p.columns + j * panel * p.column, p.row, p.column},
                          p.depth, std::min(panel, p.columns - j * panel), depth,
                          packed.data() + piece * tap_values);
    }
  });

  over_regions(p.batch, h.count, w.count, taps * p.depth * p.columns, kernel.row_block, [&](const Region& r) {
    Band band(p, h, w, r);
    std::vector<int64_t> runs;
    for (const auto& i : h.taps)
      for (const auto& j : w.taps) runs.push_back(band.tap(i.offset, j.offset));
    Bfloat16Product product{};
    product.a = band.data();
    product.a_row = product.depth = band.depth();
    product.runs = runs.data();
    product.run_count = taps;
    product.rows = (r.i1 - r.i0 - 1) * band.line() + r.j1 - r.j0;
    product.relu = p.epilogue.relu;
    product.mask = p.epilogue.mask;
    product.target = p.target;
    std::vector<float*> out(static_cast<size_t>(product.rows), nullptr);
    product.out = out.data();
    for (int64_t k = 0; k < panels; ++k) {
      for (int64_t i = r.i0; i < r.i1; ++i)
        for (int64_t j = r.j0; j < r.j1; ++j)
          out[static_cast<size_t>((i - r.i0) * band.line() + j - r.j0)] =
              p.target +
              ((r.n * p.target_height + h.first + i * h.step) * p.target_width + w.first + j * w.step) *
                  p.columns +
              k * panel;
      product.b = packed.data() + k * taps * tap_values;
      product.columns = static_cast<int>(std::min(panel, p.columns - k * panel));
      product.bias = p.epilogue.bias != nullptr ? p.epilogue.bias + k * panel : nullptr;
      kernel.multiply(product);
    }
  });
}

void run(const Pass& p, const std::vector<AxisPhase>& height, const std::vector<AxisPhase>& width) {
  for (const AxisPhase& h : height)
    for (const AxisPhase& w : width) {
      if (p.batch * h.count * w.count == 0) continue;
      if (h.taps.empty() || w.taps.empty())
        fill_unreached(p.epilogue, p.target, p.batch, p.target_height, p.target_width, p.columns, h, w);
      else
        run(p, h, w);
    }
}

}  // namespace

bool has_bfloat16(const Conv2dShape& s) { return s.groups == 1 && s.channels > 0 && s.filters > 0; }

void conv2d_bfloat16(const Conv2dShape& given, const float* x, const float* weights,
                     const Epilogue<float>& epilogue, float* y) {
  const Conv2dShape s = flattened(given);
  run({x, s.height.input, s.width.input, y, s.height.output(), s.width.output(), s.batch, s.channels,
       s.filters, weights, s.width.kernel, s.filters, 1, epilogue},
      forward_phases(s.height), forward_phases(s.width));
}

void conv2d_bfloat16_input_gradient(const Conv2dShape& given, const float* dy, const float* weights,
                                    const Epilogue<float>& given_epilogue, float* dx) {
  const Conv2dShape s = flattened(given);
  const FlattenedEpilogue<float> epilogue(given_epilogue, given.channels, s.channels);
  run({dy, s.height.output(), s.width.output(), dx, s.height.input, s.width.input, s.batch, s.filters,
       s.channels, weights, s.width.kernel, 1, s.filters, *epilogue},
      gradient_phases(s.height), gradient_phases(s.width));
}

void conv2d_bfloat16_weight_gradient(const Conv2dShape& given, const float* x, const float* dy, float* dw) {
  const Conv2dShape s = flattened(given);
  const auto& kernel = kernel_table().bfloat16;
  const int64_t panel = kernel.panel, panels = divide_up(s.filters, panel);
  const int64_t taps = s.height.kernel * s.width.kernel;
  std::fill(dw, dw + taps * s.channels * s.filters, 0.0f);
  if (s.batch * s.height.output() * s.width.output() == 0) return;

  // dw[tap][c][f] = the sum over pixels q of x[q + tap][c] dy[q][f]: a product of x transposed, each
  // channel's pixels beside each other, where a tap is a shift along them, and dy. Pixels of padding hold
  // zeros in x, and the places between lines of outputs zeros in dy. By strides x is dealt into planes, as in
  // the forward pass.
  const AxisPhase h = forward_phases(s.height)[0], w = forward_phases(s.width)[0];
  // A piece is a band of output lines (or, flattened, a strip of one long line) in an image.
  constexpr int64_t piece_pixels = 1024;
  const Split bands(h.count, std::max<int64_t>(piece_pixels / w.count, 1)), strips(w.count, piece_pixels);
  const int64_t pieces = s.batch * bands.parts * strips.parts;
  const Planes rows(h, divide_up(h.count, bands.parts)), columns(w, divide_up(w.count, strips.parts));
  const int64_t planes = rows.step * columns.step, plane = rows.length * columns.length;
  // Pixels of a piece in dy, and what a channel's row of x holds: taps reach past the last line's end.
  const int64_t depth = round_up(divide_up(h.count, bands.parts) * columns.length, kernel.depth_unit);
  const int64_t channel = round_up(planes * plane + depth, 2);

  // Pieces packed at a time, then multiplied in blocks of channels, filters and kernel rows. The order of
  // each sum is that of the pieces.
  constexpr int64_t pass_bytes = 4 << 20;
  const int64_t piece_values = channel * s.channels + depth * panels * panel;
  const int64_t pass = std::clamp<int64_t>(pass_bytes / 2 / piece_values, 1, pieces);
  Scratch<uint16_t> packed_x(pass * (channel * s.channels + kernel.row_block * channel)),
      packed_dy(pass * depth * panels * panel);
  constexpr int64_t channel_block = 64;
  const int64_t strips_of_channels = divide_up(s.channels, channel_block);

  auto pack = [&](int64_t piece, uint16_t* xt, uint16_t* dyt) {
    const int64_t strip = piece % strips.parts, band = piece / strips.parts % bands.parts;
    const int64_t n = piece / (strips.parts * bands.parts);
    const Region r{n, bands.begin(band), bands.begin(band + 1), strips.begin(strip), strips.begin(strip + 1)};
    // x: words of two neighbouring places for all channels, transposed.
    constexpr int64_t block = 32;
    Scratch<uint32_t> words(block * s.channels);
    auto source = [&](int64_t place) -> const float* {
      if (place >= planes * plane) return nullptr;
      const int64_t p = place / plane, i = place % plane / columns.length, j = place % columns.length;
      const int64_t row = h.source + r.i0 * h.source_step + i * rows.step + p / columns.step;
      const int64_t column = w.source + r.j0 * w.source_step + j * columns.step + p % columns.step;
      if (row < 0 || row >= s.height.input || column < 0 || column >= s.width.input) return nullptr;
      return x + ((n * s.height.input + row) * s.width.input + column) * s.channels;
    };
    for (int64_t pair = 0; pair < channel / 2; pair += block) {
      const int64_t count = std::min(block, channel / 2 - pair);
      for (int64_t i = 0; i < count; ++i)
        kernel.interleave(source(2 * (pair + i)), source(2 * (pair + i) + 1), s.channels,
                          words.data() + i * s.channels);
      kernel.transpose(words.data(), s.channels, count, s.channels, reinterpret_cast<uint32_t*>(xt) + pair,
                       channel / 2);
    }
    // dy: pairs of pixels, panel by panel.
    auto gradient = [&](int64_t q) -> const float* {
      const int64_t i = q / columns.length, j = q % columns.length;
      if (i >= r.i1 - r.i0 || j >= r.j1 - r.j0) return nullptr;
      return dy + ((n * h.count + r.i0 + i) * w.count + r.j0 + j) * s.filters;
    };
    for (int64_t q = 0; q < depth; q += 2) {
      const float *first = gradient(q), *second = gradient(q + 1);
      for (int64_t k = 0; k < panels; ++k) {
        uint32_t* to = reinterpret_cast<uint32_t*>(dyt) + (k * depth + q) / 2 * panel;
        const int64_t count = std::min(panel, s.filters - k * panel);
        kernel.interleave(first != nullptr ? first + k * panel : nullptr,
                          second != nullptr ? second + k * panel : nullptr, count, to);
        std::fill(to + count, to + panel, 0u);
      }
    }
  };

  for (int64_t first = 0; first < pieces; first += pass) {
    const int64_t count = std::min(pass, pieces - first);
    auto xt = [&](int64_t i) { return packed_x.data() + i * (s.channels + kernel.row_block) * channel; };
    auto dyt = [&](int64_t i) { return packed_dy.data() + i * depth * panels * panel; };
    parallel_for(count, [&](int64_t i) { pack(first + i, xt(i), dyt(i)); });
    parallel_for(panels * strips_of_channels * s.height.kernel, [&](int64_t chunk) {
      const int64_t k = chunk % panels, c = chunk / panels % strips_of_channels * channel_block;
      const int64_t tap_row = chunk / (panels * strips_of_channels);
      Bfloat16Product product{};
      product.a_row = channel;
      product.run_count = 1;
      product.depth = depth;
      product.rows = std::min(channel_block, s.channels - c);
      product.columns = static_cast<int>(std::min(panel, s.filters - k * panel));
      float* out[channel_block];
      product.out = out;
      product.accumulate = true;
      for (int64_t i = 0; i < count; ++i)
        for (int64_t t = 0; t < s.width.kernel; ++t) {
          const int64_t row = h.taps[static_cast<size_t>(tap_row)].offset,
                        column = w.taps[static_cast<size_t>(t)].offset;
          const int64_t run = (row % rows.step * columns.step + column % columns.step) * plane +
                              row / rows.step * columns.length + column / columns.step;
          for (int64_t j = 0; j < product.rows; ++j)
            out[j] = dw + ((tap_row * s.width.kernel + t) * s.channels + c + j) * s.filters + k * panel;
          product.a = xt(i) + c * channel;
          product.runs = &run;
          product.b = dyt(i) + k * depth * panel;
          kernel.multiply(product);
        }
    });
  }
}

}  // namespace chainrule
