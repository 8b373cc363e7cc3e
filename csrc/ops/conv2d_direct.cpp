#include "ops/conv2d_direct.h"

#include <algorithm>
#include <atomic>
#include <vector>

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
  std::atomic<bool> finite{true};
  const int64_t pieces = p.groups * panels * h_taps;
  const int64_t chunks = chunk_count(pieces, w_taps * p.depth * panel);
  parallel_for(chunks, [&](int64_t chunk) {
    for (int64_t piece = pieces * chunk / chunks; piece < pieces * (chunk + 1) / chunks; ++piece) {
      const int64_t i = piece % h_taps, j = piece / h_taps % panels, g = piece / (h_taps * panels);
      const int64_t columns = std::min(panel, p.columns - j * panel);
      T* const begin = packed.data() + (g * panels + j) * packed_panel + i * w_taps * p.depth * panel;
      T* to = begin;
      for (const auto& tap : w.taps) {
        const int64_t sample = h.taps[static_cast<size_t>(i)].index * p.kernel_width + tap.index;
        pack({p.weights + sample * p.sample + g * p.group + j * panel * p.column, p.row, p.column}, p.depth,
             columns, panel, to, panel);
        to += p.depth * panel;
      }
      if (!kernel.all_finite(begin, to - begin)) finite = false;
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
    tile.depth = merged ? w_taps * p.depth : p.depth;
    // Of one row of the kernel.
    const int64_t row_runs = merged ? 1 : w_taps, row_weights = w_taps * p.depth * panel;
    tile.y_pixel = w.step * target_channels;
    tile.relu = p.epilogue.relu;
    const Split columns(r.j1 - r.j0, kernel.tile_rows);
    for (int64_t g = 0; g < p.groups; ++g)
      for (int64_t panel_index = 0; panel_index < panels; ++panel_index) {
        const T* weights = packed.data() + (g * panels + panel_index) * packed_panel;
        tile.columns = static_cast<int>(std::min(panel, p.columns - panel_index * panel));
        if (p.epilogue.bias != nullptr) tile.bias = bias.data() + (g * panels + panel_index) * panel;
        for (int64_t i = r.i0; i < r.i1; ++i) {
          const TapRange range = finite ? TapRange(h, p.source_height, i, i + 1) : TapRange(h);
          tile.runs = runs.data() + range.first * row_runs;
          tile.run_count = range.count() * row_runs;
          tile.weights = weights + range.first * row_weights;
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

// to(j, i) = from(i, j), from (rows, columns).
void transpose(const float* from, int64_t rows, int64_t columns, float* to, int64_t to_row) {
  if (columns == 1) {
    std::copy(from, from + rows, to);
    return;
  }
  kernel_table().bfloat16.transpose(reinterpret_cast<const uint32_t*>(from), columns, rows, columns,
                                    reinterpret_cast<uint32_t*>(to), to_row);
}
void transpose(const double* from, int64_t rows, int64_t columns, double* to, int64_t to_row) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) to[j * to_row + i] = from[i * columns + j];
}

// Few filters: lanes run along the pixels of a row.
template <class T>
void run_planar(const Pass<T>& p, const AxisPhase& h, const AxisPhase& w) {
  const auto& kernel = kernels<T>().conv2d;
  const auto h_taps = static_cast<int64_t>(h.taps.size()), w_taps = static_cast<int64_t>(w.taps.size());
  const int64_t panel = kernel.panel, lanes = panel / 2;
  Scratch<T> weights(h_taps * p.depth * w_taps * p.columns);
  T* to = weights.data();
  for (const auto& i : h.taps)
    for (int64_t d = 0; d < p.depth; ++d)
      for (const auto& j : w.taps)
        for (int64_t c = 0; c < p.columns; ++c)
          *to++ = p.weights[(i.index * p.kernel_width + j.index) * p.sample + d * p.row + c * p.column];
  const bool finite = kernel.all_finite(weights.data(), to - weights.data());
  std::vector<int64_t> taps;
  for (const auto& j : w.taps) taps.push_back(j.offset);
  over_regions(p.batch, h.count, w.count, h_taps * w_taps * p.depth * p.columns, panel, [&](const Region& r) {
    const PaddedBand<T> band = band_of(p, h, w, r);
    // Channel d of row i at planes[(i * depth + d) * width]; whole vectors of outputs are computed.
    const int64_t rows = (r.i1 - r.i0 - 1) * h.source_step + h.reach(), outputs = r.j1 - r.j0;
    const int64_t columns = outputs - 1 + w.reach(), width = round_up(outputs, lanes) - 1 + w.reach();
    Scratch<T> planes(rows * p.depth * width);
    for (int64_t i = 0; i < rows; ++i) {
      T* to = planes.data() + i * p.depth * width;
      transpose(band.data() + i * band.row(), columns, p.depth, to, width);
      for (int64_t d = 0; d < p.depth; ++d) std::fill(to + d * width + columns, to + (d + 1) * width, T(0));
    }
    std::vector<int64_t> offsets;
    for (const auto& i : h.taps)
      for (int64_t d = 0; d < p.depth; ++d) offsets.push_back((i.offset * p.depth + d) * width);
    PlanarTile<T> tile{};
    tile.taps = taps.data();
    tile.tap_count = w_taps;
    tile.y_pixel = w.step * p.columns;
    tile.filters = static_cast<int>(p.columns);
    tile.bias = p.epilogue.bias;
    tile.relu = p.epilogue.relu;
    const int64_t x_line = h.source_step * p.depth * width, y_line = h.step * p.target_width * p.columns;
    // `count` outputs of row i from `first` on, and `second` in a second vector, all in rows [i, end).
    auto run_tile = [&](int64_t i, int64_t end, int64_t first, int64_t count, int64_t second) {
      tile.x = planes.data() + (i - r.i0) * x_line + first - r.j0;
      tile.y = p.target +
               ((r.n * p.target_height + h.first + i * h.step) * p.target_width + w.first + first * w.step) *
                   p.columns;
      const TapRange range = finite ? TapRange(h, p.source_height, i, end) : TapRange(h);
      tile.rows = offsets.data() + range.first * p.depth;
      tile.row_count = range.count() * p.depth;
      tile.weights = weights.data() + range.first * p.depth * w_taps * p.columns;
      tile.pixels = static_cast<int>(count);
      tile.second_pixels = static_cast<int>(second);
      kernel.planar_tile(tile);
      for (int64_t v = 0; p.epilogue.mask != nullptr && v < (second > 0 ? 2 : 1); ++v)
        for (int64_t pixel = 0; pixel < (v == 0 ? count : second); ++pixel)
          apply_mask(p, tile.y + v * tile.y_second + pixel * tile.y_pixel, p.columns);
    };
    for (int64_t j = r.j0; j < r.j1; j += panel) {
      const int64_t count = std::min(panel, r.j1 - j);
      if (count > lanes) {  // two vectors of a row
        tile.x_second = lanes;
        tile.y_second = lanes * tile.y_pixel;
        for (int64_t i = r.i0; i < r.i1; ++i) run_tile(i, i + 1, j, lanes, count - lanes);
      } else {  // one in each of two rows
        tile.x_second = x_line;
        tile.y_second = y_line;
        for (int64_t i = r.i0; i < r.i1; i += 2) {
          const int64_t end = std::min(i + 2, r.i1);
          run_tile(i, end, j, count, end > i + 1 ? count : 0);
        }
      }
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
        fill_unreached(p.epilogue, p.target, p.batch, p.target_height, p.target_width, p.groups * p.columns,
                       h, w);
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

#define CHAINRULE_INSTANTIATE(T)                                                                            \
  template void conv2d_direct<T>(const Conv2dShape&, const T*, const T*, const Epilogue<T>&, T*);           \
  template void conv2d_direct_input_gradient<T>(const Conv2dShape&, const T*, const T*, const Epilogue<T>&, \
                                                T*);
CHAINRULE_INSTANTIATE(float)
CHAINRULE_INSTANTIATE(double)

}  // namespace chainrule
