#include "ops/conv2d_bfloat16.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/table.h"
#include "ops/bfloat16.h"
#include "ops/conv2d_bfloat16_lines.h"
#include "runtime/allocator.h"

namespace chainrule {

namespace {

// A max-pooling of the targets, and where its results go.
struct MaxPool {
  PoolGeometry shape;
  float* values;
  uint8_t* indices;

  // The lines [first, last) of targets that windows [begin, end) meet.
  int64_t first(int64_t begin) const { return std::max<int64_t>(begin * shape.stride_height - shape.top, 0); }
  int64_t last(int64_t end) const {
    return std::min((end - 1) * shape.stride_height - shape.top + shape.kernel_height, shape.height);
  }

  // Rows [begin, end) of windows in image n, from the lines that they meet.
  void run(int64_t n, int64_t begin, int64_t end, const float* lines) const {
    const int64_t start = first(begin), row = shape.out_width * shape.channels;
    PoolGeometry part = shape;
    part.height = last(end) - start;
    part.top += start - begin * shape.stride_height;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = (n * shape.out_height + i) * row;
      kernel_table().float32.pool.max.forward(part, lines, i - begin, values + at, indices + at);
    }
  }
};

// How `target` follows from `source`: as direct convolution has it, for one group.
struct Pass {
  const float* source;  // (batch, source_height, source_width, depth); not read where there is `scattered`
  int64_t source_height, source_width;
  float* target;  // (batch, target_height, target_width, columns)
  int64_t target_height, target_width;
  int64_t batch, depth, columns;
  // The weight from source channel d to target channel c at sample (i, j) of the kernel:
  // weights[(i * kernel_width + j) * depth * columns + d * row + c * column].
  const float* weights;
  int64_t kernel_width, row, column;
  Epilogue<float> epilogue;
  const ScatteredLines* scattered = nullptr;  // the sources' lines
  const MaxPool* pool = nullptr;              // where targets go, instead of to memory
};

// A chunk of work: rows [i0, i1) and columns [j0, j1) of a phase's outputs in images [n0, n1).
struct Block {
  int64_t n0, n1, i0, i1, j0, j1;
  int64_t images() const { return n1 - n0; }
  int64_t lines() const { return i1 - i0; }
  int64_t columns() const { return j1 - j0; }
};

// How the outputs of a phase are cut into blocks: several small images, one, a band of lines or a part of a
// line. With a max-pooling after them, bands are of its lines, which stand for several.
struct Blocks {
  Split images, bands, strips;

  Blocks(const Pass& p, int64_t phase_lines, const AxisPhase& w, const Lines& line, int64_t work_per_output,
         int64_t depth)
      : images(p.batch, 1),
        bands(p.pool != nullptr ? p.pool->shape.out_height : phase_lines, phase_lines),
        strips(w.count, w.count) {
    const int64_t batch = p.batch, lines = bands.total;
    // Lines that a pooled one stands for, and the fewest pooled ones of a band: where windows overlap, bands
    // compute again what lies between them.
    int64_t stride = 1, least = 1;
    if (p.pool != nullptr) {
      const PoolGeometry& pool = p.pool->shape;
      stride = std::min(pool.stride_height, pool.height);
      least = std::clamp<int64_t>(8 * (pool.kernel_height - stride) / stride, 1, lines);
    }
    const int64_t row_bytes = line.copies() * depth * static_cast<int64_t>(sizeof(uint16_t)) +
                              (p.pool != nullptr ? p.columns * static_cast<int64_t>(sizeof(float)) : 0);
    const int64_t work = std::max<int64_t>(work_per_output, 1);
    const int64_t length = (w.count + line.extra) * stride;
    const int64_t image = lines * length;
    const int64_t wanted =
        std::clamp<int64_t>(batch * lines * w.count * work / 64, int64_t{1} << 18, int64_t{1} << 26);
    const int64_t most = std::max<int64_t>(std::min(wanted / work, packed_bytes / row_bytes), tile);
    if (length > most) {
      bands = Split(lines, least);
      if (p.pool == nullptr) strips = Split(w.count, most / tile * tile);
    } else if (image > most) {
      bands = fullest(divide_up(image, most), lines, [&](int64_t parts) {
        const Split cut(lines, std::max(divide_up(lines, parts), least));
        int64_t rows = 0;
        for (int64_t i = 0; i < cut.parts; ++i) rows += tiled((cut.begin(i + 1) - cut.begin(i)) * length);
        return std::make_pair(cut, static_cast<double>(rows));
      });
    } else {
      images = fullest(1, most / image, [&](int64_t count) {
        const Split cut(batch, count);
        return std::make_pair(cut, static_cast<double>(tiled(count * image)) / static_cast<double>(count));
      });
    }
  }

  template <class Body>
  void each(const Body& body) const {
    parallel_for(images.parts * bands.parts * strips.parts, [&](int64_t chunk) {
      const int64_t strip = chunk % strips.parts, band = chunk / strips.parts % bands.parts;
      const int64_t group = chunk / (strips.parts * bands.parts);
      body(Block{images.begin(group), images.begin(group + 1), bands.begin(band), bands.begin(band + 1),
                 strips.begin(strip), strips.begin(strip + 1)});
    });
  }

 private:
  static constexpr int64_t tile = 32;
  static constexpr int64_t packed_bytes = 384 << 10;  // beside the weights in the second cache
  // Rows that are computed for `rows` wanted ones: the tiles' halves.
  static int64_t tiled(int64_t rows) { return round_up(rows, tile / 2); }

  // Of the ways to cut from `least` to `last`, the first that computes less than the others by more than a
  // few in a hundred.
  template <class Cut>
  static Split fullest(int64_t least, int64_t last, const Cut& cut) {
    auto best = cut(least);
    for (int64_t n = least + 1; n <= std::min(last, least + 15); ++n) {
      const auto other = cut(n);
      if (other.second < 0.97 * best.second) best = other;
    }
    return best.first;
  }
};

// The sources of a block as rows of a product: row (i, n, j) of a copy is what its taps meet in line i for
// output column j of image n. A tap along the height is a shift by lines of all images.
class Band {
 public:
  Band(const Pass& p, const AxisPhase& h, const AxisPhase& w, const Lines& lines, const Block& b)
      : lines_(lines),
        depth_(round_up(p.depth, kernel_table().bfloat16.depth_unit)),
        height_(h, b.lines()),
        line_(b.images() * (b.columns() + lines.extra) * depth_),
        copy_(height_.step * height_.length * line_),
        values_(lines.copies() * copy_ + kernel_table().bfloat16.row_block * depth_) {
    const int64_t step = w.source_step, length = b.columns() + lines.extra;
    const int64_t reach = lines.starts.back() + (length - 1) * step + 1;  // of a source line, with padding
    const int64_t column0 = w.source + b.j0 * step, row0 = h.source + b.i0 * h.source_step;
    const int64_t first = std::clamp<int64_t>(-column0, 0, reach);
    const int64_t last = std::clamp<int64_t>(p.source_width - column0, first, reach);
    const bool dealt = step > 1 || lines.copies() > 1;
    Scratch<uint16_t> whole(dealt ? reach * depth_ : 0);
    Scratch<float> scattered(p.scattered != nullptr ? p.source_width * p.depth : 0);
    for (int64_t n = b.n0; n < b.n1; ++n)
      for (int64_t i = 0; i < height_.step * height_.length; ++i) {
        const int64_t row = row0 + i;
        uint16_t* to = values_.data() + line_at(i) + (n - b.n0) * length * depth_;
        if (row < 0 || row >= p.source_height) {
          for (int64_t c = 0; c < lines.copies(); ++c, to += copy_)
            std::fill(to, to + length * depth_, uint16_t{0});
          continue;
        }
        uint16_t* line = dealt ? whole.data() : to;
        std::fill(line, line + first * depth_, uint16_t{0});
        if (p.scattered != nullptr) p.scattered->line(n, row, scattered.data());
        const float* source = p.scattered != nullptr
                                  ? scattered.data()
                                  : p.source + (n * p.source_height + row) * p.source_width * p.depth;
        round_pixels(source + (column0 + first) * p.depth, last - first, p.depth, line + first * depth_);
        std::fill(line + last * depth_, line + reach * depth_, uint16_t{0});
        if (!dealt) continue;
        for (const int64_t start : lines.starts) {
          const uint16_t* from = line + start * depth_;
          if (step == 1)
            std::copy(from, from + length * depth_, to);
          else
            for (int64_t j = 0; j < length; ++j)
              std::copy(from + j * step * depth_, from + (j * step + 1) * depth_, to + j * depth_);
          to += copy_;
        }
      }
  }

  const uint16_t* data() { return values_.data(); }
  int64_t depth() const { return depth_; }
  // Where the values begin that tap `j` of the width meets, `offset` lines down.
  int64_t tap(int64_t offset, size_t j) const {
    return lines_.taps[j].copy * copy_ + line_at(offset) + lines_.taps[j].first * depth_;
  }

 private:
  int64_t line_at(int64_t i) const { return (i % height_.step * height_.length + i / height_.step) * line_; }

  void round_pixels(const float* from, int64_t count, int64_t depth, uint16_t* to) const {
    const auto round = kernel_table().bfloat16.round;
    if (depth == depth_) return round(from, count * depth, to);
    for (int64_t j = 0; j < count; ++j) {
      round(from + j * depth, depth, to + j * depth_);
      std::fill(to + j * depth_ + depth, to + (j + 1) * depth_, uint16_t{0});
    }
  }

  const Lines& lines_;
  int64_t depth_;
  Planes height_;
  int64_t line_, copy_;  // values of a line of all images, and of a copy
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

  constexpr int64_t short_line = 6;  // where copies cost as much as the rows that they save
  const Lines lines(w, short_line);
  const Blocks blocks(p, h.count, w, lines, taps * p.depth * p.columns, depth);
  blocks.each([&](const Block& block) {
    Block b = block;
    if (p.pool != nullptr) {
      b.i0 = p.pool->first(block.i0);
      b.i1 = p.pool->last(block.i1);
    }
    // Targets that are pooled lie here, image by image.
    const int64_t target_line = p.target_width * p.columns;
    Scratch<float> unpooled(p.pool != nullptr ? b.images() * b.lines() * target_line : 0);
    auto line_of = [&](int64_t n, int64_t i) {
      return p.pool != nullptr
                 ? unpooled.data() + ((n - b.n0) * b.lines() + i - b.i0) * target_line
                 : p.target +
                       ((n * p.target_height + h.first + i * h.step) * p.target_width + w.first) * p.columns;
    };
    Band band(p, h, w, lines, b);
    std::vector<int64_t> runs;
    for (const auto& i : h.taps)
      for (size_t j = 0; j < w.taps.size(); ++j) runs.push_back(band.tap(i.offset, j));
    Bfloat16Product product{};
    product.a = band.data();
    product.a_row = product.depth = band.depth();
    product.b_run = product.depth * panel;
    product.runs = runs.data();
    product.run_count = taps;
    product.rows = b.images() * b.lines() * (b.columns() + lines.extra) - lines.extra;
    product.relu = p.epilogue.relu;
    product.mask = p.epilogue.mask;
    product.target = p.target;
    std::vector<float*> out(static_cast<size_t>(product.rows + lines.extra), nullptr);
    size_t at = 0;
    for (int64_t i = b.i0; i < b.i1; ++i)
      for (int64_t n = b.n0; n < b.n1; ++n, at += static_cast<size_t>(lines.extra)) {
        float* line = line_of(n, i);
        for (int64_t j = b.j0; j < b.j1; ++j) out[at++] = line + j * w.step * p.columns;
      }
    product.out = out.data();
    for (int64_t k = 0; k < panels; ++k) {
      product.b = packed.data() + k * taps * tap_values;
      product.columns = static_cast<int>(std::min(panel, p.columns - k * panel));
      product.bias = p.epilogue.bias != nullptr ? p.epilogue.bias + k * panel : nullptr;
      kernel.multiply(product);
      for (float*& place : out)
        if (place != nullptr) place += panel;
    }
    if (p.pool != nullptr)
      for (int64_t n = b.n0; n < b.n1; ++n) p.pool->run(n, block.i0, block.i1, line_of(n, b.i0));
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

void run_input_gradient(const Conv2dShape& s, const float* dy, const ScatteredLines* scattered,
                        const float* weights, const Epilogue<float>& epilogue, float* dx) {
  run({dy, s.height.output(), s.width.output(), dx, s.height.input, s.width.input, s.batch, s.filters,
       s.channels, weights, s.width.kernel, 1, s.filters, epilogue, scattered},
      gradient_phases(s.height), gradient_phases(s.width));
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

void conv2d_bfloat16_max_pool2d(const Conv2dShape& given, const Pool2dShape& pooling, const float* x,
                                const float* weights, const Epilogue<float>& epilogue, float* values,
                                uint8_t* indices) {
  const Conv2dShape s = with_strides_cut(given);
  const MaxPool pool{pooling.geometry(), values, indices};
  run({x, s.height.input, s.width.input, nullptr, s.height.output(), s.width.output(), s.batch, s.channels,
       s.filters, weights, s.width.kernel, s.filters, 1, epilogue, nullptr, &pool},
      forward_phases(s.height), forward_phases(s.width));
}

void conv2d_bfloat16_input_gradient(const Conv2dShape& given, const float* dy, const float* weights,
                                    const Epilogue<float>& given_epilogue, float* dx) {
  const Conv2dShape s = flattened(given);
  const FlattenedEpilogue<float> epilogue(given_epilogue, given.channels, s.channels);
  run_input_gradient(s, dy, nullptr, weights, *epilogue, dx);
}

void conv2d_bfloat16_max_pool2d_input_gradient(const Conv2dShape& given, const ScatteredLines& lines,
                                               const float* weights, const Epilogue<float>& epilogue,
                                               float* dx) {
  run_input_gradient(with_strides_cut(given), nullptr, &lines, weights, epilogue, dx);
}

}  // namespace chainrule
