// The gradient of the weights: tiles of it pass over regions of the pixels, each summed on its own.
#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "kernels/table.h"
#include "ops/conv2d_direct.h"
#include "ops/conv2d_phases.h"
#include "ops/padded_band.h"
#include "ops/reduce.h"
#include "runtime/allocator.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

// Pixels to sum over: a region of one image, or as many whole images from it on.
struct Pixels : Region {
  int64_t images;
  // Lines of outputs from the first to the last.
  int64_t lines(const Conv2dShape& s) const { return (images - 1) * s.height.output() + i1 - i0; }
};

// The gradient of some outputs, from their first pixel on, in memory that may be read past its end: tiles
// read whole vectors, which `columns` filters may not fill. Past a pixel's last channel that meets the next
// pixel's first, which is harmless; the last pixels of all are copied.
template <class T>
class ReadableGradient {
 public:
  ReadableGradient(const Conv2dShape& s, const T* dy, const Pixels& r) {
    const int64_t width = s.width.output(), all = s.batch * s.height.output() * width * s.filters;
    const int64_t first = ((r.n * s.height.output() + r.i0) * width + r.j0) * s.filters;
    const int64_t values = ((r.lines(s) - 1) * width + r.j1 - r.j0) * s.filters;
    const int64_t panel = kernels<T>().conv2d.panel;
    data_ = dy + first;
    if (s.group_filters() % (panel / 2) == 0 || first + values + panel <= all) return;
    copy_.emplace(values + panel);
    std::memcpy(copy_->data(), data_, static_cast<size_t>(values) * sizeof(T));
    std::fill(copy_->data() + values, copy_->data() + values + panel, T(0));
    data_ = copy_->data();
  }
  const T* data() const { return data_; }

 private:
  const T* data_;
  std::optional<Scratch<T>> copy_;
};

// The output rows [first, last) of a region whose source at a sample of the kernel lies within the image.
struct OutputRange {
  int64_t first, last;
  explicit OutputRange(const Region& r) : first(r.i0), last(r.i1) {}
  OutputRange(const WindowAxis& a, int64_t sample, const Region& r) : OutputRange(r) {
    auto source = [&](int64_t i) { return i * a.stride - a.before + sample * a.dilation; };
    while (first < last && source(first) < 0) ++first;
    while (last > first && source(last - 1) >= a.input) --last;
  }
};

// Whether the gradient of some outputs, which begins at `dy`, is finite.
template <class T>
bool finite_gradient(const Conv2dShape& s, const T* dy, const Pixels& r) {
  bool finite = true;
  for (int64_t i = 0; i < r.lines(s) && finite; ++i)
    finite = kernels<T>().conv2d.all_finite(dy + i * s.width.output() * s.filters, (r.j1 - r.j0) * s.filters);
  return finite;
}

// dw += the contributions of pixels to rows of the gradient of kernel rows [h0, h1): the sums run over the
// pixels in order.
template <class T>
void add_weight_gradient(const Conv2dShape& s, const T* x, const T* dy, const Pixels& r, int64_t h0,
                         int64_t h1, T* dw) {
  const auto& kernel = kernels<T>().conv2d;
  const int64_t depth = s.group_channels(), columns = s.group_filters();
  const int64_t row0 = r.i0 * s.height.stride - s.height.before,
                column0 = r.j0 * s.width.stride - s.width.before;
  const PaddedBand<T> band(x + r.n * s.height.input * s.width.input * s.channels, s.height.input,
                           s.width.input, s.channels, row0,
                           row0 + (r.i1 - r.i0 - 1) * s.height.stride + s.height.span(), column0,
                           column0 + (r.j1 - r.j0 - 1) * s.width.stride + s.width.span(), r.images);
  const int64_t y_image = s.height.output() * s.width.output() * s.filters;
  const ReadableGradient<T> readable(s, dy, r);
  const T* gradient = readable.data();
  if (s.groups > 1 && depth == 1 && columns == 1) {
    std::vector<int64_t> taps;
    for (int64_t h = h0; h < h1; ++h)
      for (int64_t w = 0; w < s.width.kernel; ++w)
        taps.push_back(h * s.height.dilation * band.row() + w * s.width.dilation * s.channels);
    for (int64_t n = 0; n < r.images; ++n)
      kernel.depthwise_weights({band.data() + n * band.image(), s.height.stride * band.row(),
                                s.width.stride * s.channels, gradient + n * y_image,
                                s.width.output() * s.filters, s.filters, r.i1 - r.i0, r.j1 - r.j0, s.channels,
                                taps.data(), static_cast<int64_t>(taps.size()),
                                dw + h0 * s.width.kernel * s.channels});
    return;
  }
  // Samples beside each other are one run of values, cut into tiles.
  const bool merged = s.groups == 1 && s.width.dilation == 1;
  const int64_t runs = merged ? 1 : s.width.kernel, run = merged ? s.width.kernel * depth : depth;
  WeightTile<T> tile{};
  tile.x_image = band.image();
  tile.x_row = s.height.stride * band.row();
  tile.x_pixel = s.width.stride * s.channels;
  tile.y_image = y_image;
  tile.y_row = s.width.output() * s.filters;
  tile.y_pixel = s.filters;
  tile.images = r.images;
  tile.width = r.j1 - r.j0;
  tile.out_row = s.filters;
  const Split strips(run, kernel.tile_rows);
  // Output rows whose source is padding add nothing, but for a gradient that is not finite: times 0 it is
  // NaN.
  const bool padded =
      row0 < 0 || row0 + (r.i1 - r.i0 - 1) * s.height.stride + s.height.span() > s.height.input;
  const bool cut = padded && finite_gradient(s, gradient, r);
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t k = 0; k < columns; k += kernel.panel) {
      tile.columns = static_cast<int>(std::min<int64_t>(kernel.panel, columns - k));
      for (int64_t h = h0; h < h1; ++h) {
        const OutputRange rows = cut ? OutputRange(s.height, h, r) : OutputRange(r);
        if (rows.first >= rows.last) continue;
        tile.height = rows.last - rows.first;
        tile.y = gradient + (rows.first - r.i0) * tile.y_row + g * columns + k;
        for (int64_t w = 0; w < runs; ++w) {
          const T* from = band.data() + (rows.first - r.i0) * tile.x_row +
                          h * s.height.dilation * band.row() + w * s.width.dilation * s.channels + g * depth;
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
}

}  // namespace

template <class T>
void conv2d_direct_weight_gradient(const Conv2dShape& given, const T* x, const T* dy, T* dw) {
  Conv2dShape s = flattened(given);
  const int64_t values = s.height.kernel * s.width.kernel * s.group_channels() * s.filters;
  const int64_t rows = s.height.output(), columns = s.width.output();
  std::fill(dw, dw + values, T(0));
  if (values == 0 || s.batch * rows * columns == 0) return;

  // Regions of the pixels, each summed on its own: whole images, small ones several at a time, or where a
  // flattened shape is one long row, parts of that row. A region's x and dy stay in the second cache while
  // all of dw passes over them.
  constexpr int64_t pixels_per_region = 256;
  const Split bands(rows, std::max<int64_t>(pixels_per_region / columns, 1)),
      strips(columns, pixels_per_region);
  const Split groups(s.batch, std::max<int64_t>(pixels_per_region / (rows * columns), 1));
  const int64_t regions = groups.parts * bands.parts * strips.parts;
  // A partial sum costs a pass over dw: few, where the rows of the kernel can be handed out apart as well.
  const int64_t pixels_per_part = s.height.kernel > 1 ? 1024 : 256;
  const int64_t parts =
      std::min<int64_t>(regions, std::clamp<int64_t>(s.batch * rows * columns / pixels_per_part, 1, 8));
  const int64_t slices = parts >= 8 ? 1 : s.height.kernel;
  Scratch<T> sums(parts > 1 ? parts * values : 0);
  if (parts > 1) std::fill(sums.data(), sums.data() + parts * values, T(0));
  parallel_for(parts * slices, [&](int64_t chunk) {
    const int64_t part = chunk / slices, slice = chunk % slices;
    T* out = parts > 1 ? sums.data() + part * values : dw;
    for (int64_t region = regions * part / parts; region < regions * (part + 1) / parts; ++region) {
      const int64_t strip = region % strips.parts, band = region / strips.parts % bands.parts;
      const int64_t group = region / (strips.parts * bands.parts), first = groups.begin(group);
      const Pixels r{
          {first, bands.begin(band), bands.begin(band + 1), strips.begin(strip), strips.begin(strip + 1)},
          groups.begin(group + 1) - first};
      add_weight_gradient(s, x, dy, r, s.height.kernel * slice / slices,
                          s.height.kernel * (slice + 1) / slices, out);
    }
  });
  if (parts > 1) reduce_sum<T>(sums.data(), {1, parts, values}, dw);
}

#define CHAINRULE_INSTANTIATE(T) \
  template void conv2d_direct_weight_gradient<T>(const Conv2dShape&, const T*, const T*, T*);
CHAINRULE_INSTANTIATE(float)
CHAINRULE_INSTANTIATE(double)

}  // namespace chainrule
