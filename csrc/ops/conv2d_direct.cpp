#include "ops/conv2d_direct.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "kernels/table.h"
#include "ops/conv2d_phases.h"
#include "ops/padded_band.h"
#include "runtime/allocator.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

// One pass of register tiles: how `target` follows from `source` and weights.
template <class T>
struct Pass {
  const T* source;  // (batch, source_height, source_width, groups * depth)
  int64_t source_height, source_width;
  T* target;  // (batch, target_height, target_width, groups * columns)
  int64_t target_height, target_width;
  int64_t batch, groups, depth, columns;
  // The weight from source channel d to target channel c of group g at sample (i, j) of the kernel:
  // weights[(i * kernel_width + j) * sample + g * group + d * row + c * column].
  const T* weights;
  int64_t kernel_width, sample, group, row, column;
  Epilogue<T> epilogue;
};

// The epilogue's mask on `count` outputs at `y`, for kernels that do not know of it.
template <class T>
void apply_mask(const Pass<T>& p, T* y, int64_t count) {
  if (p.epilogue.mask == nullptr) return;
  const T* mask = p.epilogue.mask + (y - p.target);
  for (int64_t c = 0; c < count; ++c) y[c] = mask[c] > T(0) ? y[c] : T(0);
}

template <class T>
void fill_unreached(const Pass<T>& p, const AxisPhase& h, const AxisPhase& w) {
  const int64_t channels = p.groups * p.columns;
  for (int64_t n = 0; n < p.batch; ++n)
    for (int64_t i = 0; i < h.count; ++i)
      for (int64_t j = 0; j < w.count; ++j) {
        T* to =
            p.target +
            ((n * p.target_height + h.first + i * h.step) * p.target_width + w.first + j * w.step) * channels;
        for (int64_t c = 0; c < channels; ++c) {
          const T value = p.epilogue.bias != nullptr ? p.epilogue.bias[c] : T(0);
          to[c] = p.epilogue.relu && value <= T(0) ? T(0) : value;
        }
        apply_mask(p, to, channels);
      }
}

template <class T>
PaddedBand<T> band_of(const Pass<T>& p, const AxisPhase& h, const AxisPhase& w, const Region& r) {
  const int64_t row0 = h.source + r.i0 * h.source_step, column0 = w.source + r.j0 * w.source_step;
  const int64_t channels = p.groups * p.depth;
  return PaddedBand<T>(p.source + r.n * p.source_height * p.source_width * channels, p.source_height,
                       p.source_width, channels, row0, row0 + (r.i1 - r.i0 - 1) * h.source_step + h.reach(),
                       column0, column0 + (r.j1 - r.j0 - 1) * w.source_step + w.reach());
}

template <class T>
void run_tiles(const Pass<T>& p, const AxisPhase& h, const AxisPhase& w) {
  const auto& kernel = kernels<T>().conv2d;
  const auto pack = kernels<T>().matmul.pack;
  const int64_t panel = kernel.panel, panels = divide_up(p.columns, panel);
  const auto h_taps = static_cast<int64_t>(h.taps.size()), w_taps = static_cast<int64_t>(w.taps.size());
  // Samples beside each other, with all channels, are one run.
  bool merged = p.groups == 1;
  for (int64_t t = 0; t < w_taps; ++t) merged = merged && w.taps[static_cast<size_t>(t)].offset == t;

  // Weights in the order in which the tile reads them: group, panel, sample, source channel, target channel.
  const int64_t packed_panel = h_taps * w_taps * p.depth * panel;
  Scratch<T> packed(p.groups * panels * packed_panel), bias(p.groups * panels * panel);
  const int64_t pieces = p.groups * panels * h_taps;
  const int64_t chunks = chunk_count(pieces, w_taps * p.depth * panel);
  parallel_for(chunks, [&](int64_t chunk) {
    for (int64_t piece = pieces * chunk / chunks; piece < pieces * (chunk + 1) / chunks; ++piece) {
      const int64_t i = piece % h_taps, j = piece / h_taps % panels, g = piece / (h_taps * panels);
      const int64_t columns = std::min(panel, p.columns - j * panel);
      T* to = packed.data() + (g * panels + j) * packed_panel + i * w_taps * p.depth * panel;
      for (const auto& tap : w.taps) {
        const int64_t sample = h.taps[static_cast<size_t>(i)].index * p.kernel_width + tap.index;
        pack({p.weights + sample * p.sample + g * p.group + j * panel * p.column, p.row, p.column}, p.depth,
             columns, panel, to);
        to += p.depth * panel;
      }
    }
  });
  if (p.epilogue.bias != nullptr)
    for (int64_t g = 0; g < p.groups; ++g)
      for (int64_t c = 0; c < panels * panel; ++c)
        bias[g * panels * panel + c] = c < p.columns ? p.epilogue.bias[g * p.columns + c] : T(0);

  const int64_t channels = p.groups * p.depth, target_channels = p.groups * p.columns;
  const int64_t work = p.groups * h_taps * w_taps * p.depth * panels * panel;
  over_regions(p.batch, h.count, w.count, work, kernel.tile_rows, [&](const Region& r) {
    const PaddedBand<T> band = band_of(p, h, w, r);
    std::vector<int64_t> runs;
    for (const auto& row : h.taps)
      for (int64_t t = 0; t < (merged ? 1 : w_taps); ++t)
        runs.push_back(row.offset * band.row() + w.taps[static_cast<size_t>(t)].offset * channels);
    TapTile<T> tile{};
    tile.x_pixel = w.source_step * channels;
    tile.runs = runs.data();
    tile.run_count = static_cast<int64_t>(runs.size());
    tile.depth = merged ? w_taps * p.depth : p.depth;
    tile.y_pixel = w.step * target_channels;
    tile.relu = p.epilogue.relu;
    const Split columns(r.j1 - r.j0, kernel.tile_rows);
    for (int64_t g = 0; g < p.groups; ++g)
      for (int64_t panel_index = 0; panel_index < panels; ++panel_index) {
        tile.weights = packed.data() + (g * panels + panel_index) * packed_panel;
        tile.columns = static_cast<int>(std::min(panel, p.columns - panel_index * panel));
        if (p.epilogue.bias != nullptr) tile.bias = bias.data() + (g * panels + panel_index) * panel;
        for (int64_t i = r.i0; i < r.i1; ++i) {
          const T* x = band.data() + (i - r.i0) * h.source_step * band.row() + g * p.depth;
          T* y = p.target +
                 ((r.n * p.target_height + h.first + i * h.step) * p.target_width + w.first + r.j0 * w.step) *
                     target_channels +
                 g * p.columns + panel_index * panel;
          for (int64_t part = 0; part < columns.parts; ++part) {
            const int64_t j = columns.begin(part);
            tile.rows = static_cast<int>(columns.begin(part + 1) - j);
            tile.x = x + j * tile.x_pixel;
            tile.y = y + j * tile.y_pixel;
            if (p.epilogue.mask != nullptr) tile.mask = p.epilogue.mask + (tile.y - p.target);
            kernel.tap_tile(tile);
          }
        }
      }
  });
}

// Few filters: lanes run along the pixels of a row.
template <class T>
void run_planar(const Pass<T>& p, const AxisPhase& h, const AxisPhase& w) {
  const auto& kernel = kernels<T>().conv2d;
  const auto h_taps = static_cast<int64_t>(h.taps.size()), w_taps = static_cast<int64_t>(w.taps.size());
  const int64_t panel = kernel.panel;
  Scratch<T> weights(h_taps * p.depth * w_taps * p.columns);
  T* to = weights.data();
  for (const auto& i : h.taps)
    for (int64_t d = 0; d < p.depth; ++d)
      for (const auto& j : w.taps)
        for (int64_t c = 0; c < p.columns; ++c)
          *to++ = p.weights[(i.index * p.kernel_width + j.index) * p.sample + d * p.row + c * p.column];
  std::vector<int64_t> taps;
  for (const auto& j : w.taps) taps.push_back(j.offset);
  over_regions(p.batch, h.count, w.count, h_taps * w_taps * p.depth * p.columns, panel, [&](const Region& r) {
    const PaddedBand<T> band = band_of(p, h, w, r);
    // Channel d of row i at planes[(i * depth + d) * width]; the tile reads whole vectors past a row's end.
    const int64_t rows = (r.i1 - r.i0 - 1) * h.source_step + h.reach();
    const int64_t columns = r.j1 - r.j0 - 1 + w.reach(), width = columns + panel;
    Scratch<T> planes(rows * p.depth * width);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t d = 0; d < p.depth; ++d) {
        T* plane = planes.data() + (i * p.depth + d) * width;
        const T* from = band.data() + i * band.row() + d;
        for (int64_t j = 0; j < columns; ++j) plane[j] = from[j * p.depth];
        std::fill(plane + columns, plane + width, T(0));
      }
    std::vector<int64_t> offsets;
    for (const auto& i : h.taps)
      for (int64_t d = 0; d < p.depth; ++d) offsets.push_back((i.offset * p.depth + d) * width);
    PlanarTile<T> tile{};
    tile.rows = offsets.data();
    tile.row_count = static_cast<int64_t>(offsets.size());
    tile.taps = taps.data();
    tile.tap_count = w_taps;
    tile.weights = weights.data();
    tile.y_pixel = w.step * p.columns;
    tile.filters = static_cast<int>(p.columns);
    tile.bias = p.epilogue.bias;
    tile.relu = p.epilogue.relu;
    for (int64_t i = r.i0; i < r.i1; ++i)
      for (int64_t j = r.j0; j < r.j1; j += panel) {
        tile.x = planes.data() + (i - r.i0) * h.source_step * p.depth * width + j - r.j0;
        tile.pixels = static_cast<int>(std::min(panel, r.j1 - j));
        tile.y = p.target +
                 ((r.n * p.target_height + h.first + i * h.step) * p.target_width + w.first + j * w.step) *
                     p.columns;
        kernel.planar_tile(tile);
        for (int64_t pixel = 0; p.epilogue.mask != nullptr && pixel < tile.pixels; ++pixel)
          apply_mask(p, tile.y + pixel * tile.y_pixel, p.columns);
      }
  });
}

// One channel a group: lanes run along the channels.
template <class T>
void run_depthwise(const Pass<T>& p, const AxisPhase& h, const AxisPhase& w) {
  const auto& kernel = kernels<T>().conv2d;
  const int64_t channels = p.groups;
  const auto taps = static_cast<int64_t>(h.taps.size() * w.taps.size());
  Scratch<T> weights(taps * channels);
  T* to = weights.data();
  for (const auto& i : h.taps)
    for (const auto& j : w.taps)
      for (int64_t c = 0; c < channels; ++c)
        *to++ = p.weights[(i.index * p.kernel_width + j.index) * p.sample + c * p.group];
  over_regions(p.batch, h.count, w.count, taps * channels, kernel.tile_rows, [&](const Region& r) {
    const PaddedBand<T> band = band_of(p, h, w, r);
    std::vector<int64_t> offsets;
    for (const auto& i : h.taps)
      for (const auto& j : w.taps) offsets.push_back(i.offset * band.row() + j.offset * channels);
    for (int64_t i = r.i0; i < r.i1; ++i) {
      T* y = p.target +
             ((r.n * p.target_height + h.first + i * h.step) * p.target_width + w.first + r.j0 * w.step) *
                 channels;
      kernel.depthwise_row({band.data() + (i - r.i0) * h.source_step * band.row(), w.source_step * channels,
                            offsets.data(), taps, weights.data(), y, w.step * channels, r.j1 - r.j0, channels,
                            p.epilogue.bias, p.epilogue.relu});
      for (int64_t j = 0; p.epilogue.mask != nullptr && j < r.j1 - r.j0; ++j)
        apply_mask(p, y + j * w.step * channels, channels);
    }
  });
}

// Whether lanes are better filled by pixels than by filters.
template <class T>
bool few_filters(const Pass<T>& p, const AxisPhase& w) {
  const auto& kernel = kernels<T>().conv2d;
  const int64_t vector = kernel.panel / 2, half = vector / 2;
  return p.groups == 1 && w.source_step == 1 && p.columns <= std::min<int64_t>(half, kernel.tile_rows) &&
         w.count >= half && w.taps.size() > 1;
}

template <class T>
void run(const Pass<T>& p, const std::vector<AxisPhase>& height, const std::vector<AxisPhase>& width) {
  if (p.columns == 0) return;
  for (const AxisPhase& h : height)
    for (const AxisPhase& w : width) {
      if (p.batch * h.count * w.count == 0) continue;
      if (h.taps.empty() || w.taps.empty() || p.depth == 0)
        fill_unreached(p, h, w);
      else if (p.groups > 1 && p.depth == 1 && p.columns == 1)
        run_depthwise(p, h, w);
      else if (few_filters(p, w))
        run_planar(p, h, w);
      else
        run_tiles(p, h, w);
    }
}

}  // namespace

template <class T>
void conv2d_direct(const Conv2dShape& given, const T* x, const T* weights, const Epilogue<T>& epilogue,
                   T* y) {
  const Conv2dShape s = flattened(given);
  const Pass<T> pass{x,
                     s.height.input,
                     s.width.input,
                     y,
                     s.height.output(),
                     s.width.output(),
                     s.batch,
                     s.groups,
                     s.group_channels(),
                     s.group_filters(),
                     weights,
                     s.width.kernel,
                     s.group_channels() * s.filters,
                     s.group_filters(),
                     s.filters,
                     1,
                     epilogue};
  run(pass, forward_phases(s.height), forward_phases(s.width));
}

template <class T>
void conv2d_direct_input_gradient(const Conv2dShape& given, const T* dy, const T* weights,
                                  const Epilogue<T>& given_epilogue, T* dx) {
  const Conv2dShape s = flattened(given);
  const FlattenedEpilogue<T> epilogue(given_epilogue, given.channels, s.channels);
  const Pass<T> pass{dy,
                     s.height.output(),
                     s.width.output(),
                     dx,
                     s.height.input,
                     s.width.input,
                     s.batch,
                     s.groups,
                     s.group_filters(),
                     s.group_channels(),
                     weights,
                     s.width.kernel,
                     s.group_channels() * s.filters,
                     s.group_filters(),
                     1,
                     s.filters,
                     *epilogue};
  run(pass, gradient_phases(s.height), gradient_phases(s.width));
}

namespace {

// dw += the contributions of pixels [i0, i1) x [j0, j1) of image n to rows of the gradient of kernel rows
// [h0, h1): the sums run over the region's pixels in order.
template <class T>
void add_weight_gradient(const Conv2dShape& s, const T* x, const T* dy, int64_t dy_channels, const Region& r,
                         int64_t h0, int64_t h1, T* dw) {
  const auto& kernel = kernels<T>().conv2d;
  const int64_t depth = s.group_channels(), columns = s.group_filters();
  const int64_t row0 = r.i0 * s.height.stride - s.height.before,
                column0 = r.j0 * s.width.stride - s.width.before;
  const PaddedBand<T> band(x + r.n * s.height.input * s.width.input * s.channels, s.height.input,
                           s.width.input, s.channels, row0,
                           row0 + (r.i1 - r.i0 - 1) * s.height.stride + s.height.span(), column0,
                           column0 + (r.j1 - r.j0 - 1) * s.width.stride + s.width.span());
  const T* gradient = dy + ((r.n * s.height.output() + r.i0) * s.width.output() + r.j0) * dy_channels;
  if (s.groups > 1 && depth == 1 && columns == 1) {
    std::vector<int64_t> taps;
    for (int64_t h = h0; h < h1; ++h)
      for (int64_t w = 0; w < s.width.kernel; ++w)
        taps.push_back(h * s.height.dilation * band.row() + w * s.width.dilation * s.channels);
    kernel.depthwise_weights({band.data(), s.height.stride * band.row(), s.width.stride * s.channels,
                              gradient, s.width.output() * dy_channels, dy_channels, r.i1 - r.i0, r.j1 - r.j0,
                              s.channels, taps.data(), static_cast<int64_t>(taps.size()),
                              dw + h0 * s.width.kernel * s.channels});
    return;
  }
  // Samples beside each other are one run of values, cut into tiles.
  const bool merged = s.groups == 1 && s.width.dilation == 1;
  const int64_t runs = merged ? 1 : s.width.kernel, run = merged ? s.width.kernel * depth : depth;
  WeightTile<T> tile{};
  tile.x_row = s.height.stride * band.row();
  tile.x_pixel = s.width.stride * s.channels;
  tile.y_row = s.width.output() * dy_channels;
  tile.y_pixel = dy_channels;
  tile.height = r.i1 - r.i0;
  tile.width = r.j1 - r.j0;
  tile.out_row = s.filters;
  const Split strips(run, kernel.tile_rows);
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t k = 0; k < columns; k += kernel.panel) {
      tile.y = gradient + g * columns + k;
      tile.columns = static_cast<int>(std::min<int64_t>(kernel.panel, columns - k));
      for (int64_t h = h0; h < h1; ++h)
        for (int64_t w = 0; w < runs; ++w) {
          const T* from = band.data() + h * s.height.dilation * band.row() +
                          w * s.width.dilation * s.channels + g * depth;
          T* to = dw + ((h * s.width.kernel + w) * depth) * s.filters + g * columns + k;
          for (int64_t part = 0; part < strips.parts; ++part) {
            const int64_t c = strips.begin(part);
            tile.rows = static_cast<int>(strips.begin(part + 1) - c);
            tile.x = from + c;
            tile.out = to + c * s.filters;
            kernel.weight_tile(tile);
          }
        }
    }
}

// dy in memory that may be read past its end: tiles read whole vectors, where `columns` may not fill them.
// Past a pixel's last channel that meets the next pixel's first, which is harmless, but for the last pixel.
template <class T>
class VectorRows {
 public:
  VectorRows(const T* dy, int64_t values, int64_t columns, int64_t width) : data_(dy) {
    if (columns % width == 0) return;
    copy_.emplace(values + 2 * width);
    std::memcpy(copy_->data(), dy, static_cast<size_t>(values) * sizeof(T));
    std::fill(copy_->data() + values, copy_->data() + values + 2 * width, T(0));
    data_ = copy_->data();
  }
  const T* data() const { return data_; }

 private:
  const T* data_;
  std::optional<Scratch<T>> copy_;
};

}  // namespace

template <class T>
void conv2d_direct_weight_gradient(const Conv2dShape& given, const T* x, const T* dy, T* dw) {
  Conv2dShape s = flattened(given);
  const int64_t values = s.height.kernel * s.width.kernel * s.group_channels() * s.filters;
  const int64_t rows = s.height.output(), columns = s.width.output();
  std::fill(dw, dw + values, T(0));
  if (values == 0 || s.batch * rows * columns == 0) return;
  const int64_t panel = kernels<T>().conv2d.panel;
  const VectorRows<T> gradient(dy, s.batch * rows * columns * s.filters, s.group_filters(), panel / 2);

  // Regions of the pixels, each summed on its own: whole images, or where a flattened shape is one long row,
  // parts of that row. A region's x and dy stay in the second cache while all of dw passes over them.
  constexpr int64_t pixels_per_region = 256;
  const Split bands(rows, std::max<int64_t>(pixels_per_region / columns, 1)),
      strips(columns, pixels_per_region);
  const int64_t regions = s.batch * bands.parts * strips.parts;
  const int64_t parts =
      std::min<int64_t>(regions, std::clamp<int64_t>(
                                     // Partial sums cost a pass over dw each: few for large weights.
                                     s.batch * rows * columns / 256, 1, 8));
  // Where the parts are few, the rows of the kernel and panels of filters are handed out apart as well.
  const int64_t slices = parts >= 8 ? 1 : s.height.kernel;
  Scratch<T> sums(parts > 1 ? parts * values : 0);
  if (parts > 1) std::fill(sums.data(), sums.data() + parts * values, T(0));
  parallel_for(parts * slices, [&](int64_t chunk) {
    const int64_t part = chunk / slices, slice = chunk % slices;
    T* out = parts > 1 ? sums.data() + part * values : dw;
    for (int64_t region = regions * part / parts; region < regions * (part + 1) / parts; ++region) {
      const int64_t strip = region % strips.parts, band = region / strips.parts % bands.parts;
      const Region r{region / (strips.parts * bands.parts), bands.begin(band), bands.begin(band + 1),
                     strips.begin(strip), strips.begin(strip + 1)};
      add_weight_gradient(s, x, gradient.data(), s.filters, r, s.height.kernel * slice / slices,
                          s.height.kernel * (slice + 1) / slices, out);
    }
  });
  if (parts == 1) return;
  const auto add = kernels<T>().reduce.sum_rows;
  const int64_t chunks = chunk_count(values, parts);
  parallel_for(chunks, [&](int64_t chunk) {
    const int64_t first = values * chunk / chunks;
    add(sums.data() + first, parts, values, dw + first, values * (chunk + 1) / chunks - first);
  });
}

#define CHAINRULE_INSTANTIATE(T)                                                                            \
  template void conv2d_direct<T>(const Conv2dShape&, const T*, const T*, const Epilogue<T>&, T*);           \
  template void conv2d_direct_input_gradient<T>(const Conv2dShape&, const T*, const T*, const Epilogue<T>&, \
                                                T*);                                                        \
  template void conv2d_direct_weight_gradient<T>(const Conv2dShape&, const T*, const T*, T*);
CHAINRULE_INSTANTIATE(float)
CHAINRULE_INSTANTIATE(double)

}  // namespace chainrule
