// The gradient of the weights. From y = A^T [(G g G^T) * (B^T d B)] A:
//
//   dg = G^T [sum over tiles of (B^T d B) * (A dy A^T)] G
//
// Two ways, by where the sums lie. Those of few channels and filters stay in the second cache while all tiles
// pass by, some at a time: a thread multiplies what it has just transformed, and memory gives x and dy alone.
// Those of many would have to be taken in parts, each transforming its tiles anew; there, all threads
// transform many tiles, then share the products out.
#include <algorithm>

#include "ops/conv2d_winograd.h"
#include "ops/reduce.h"
#include "ops/winograd_tiles.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

struct Range {
  int64_t first, last;
  int64_t size() const { return last - first; }
};

// Part number `i` of `parts` of `count` things, in whole multiples of `unit`.
Range part(int64_t count, int64_t unit, int64_t parts, int64_t i) {
  const int64_t units = divide_up(count, unit);
  return {std::min(count, units * i / parts * unit), std::min(count, units * (i + 1) / parts * unit)};
}

template <class T>
struct WeightGradient {
  const Plan<T>& plan;
  Tiles<T> inputs, gradients;
  int64_t tile_count;
  int64_t channels, filters;

  int64_t panel() const { return 2 * kernels<T>().matmul.vector_width; }
  int64_t size() const { return int64_t{plan.v.taps} * plan.v.taps * channels * filters; }

  // sums[matrix][channel][filter] (+)= d^T g of `count` tiles for each frequency of the matrix, for some
  // channels. d: (frequency, d_plane / height, height), g: (frequency, g_plane / width, width).
  void multiply(int64_t m, int64_t count, const T* d, int64_t d_plane, int64_t height, Range of_channels,
                const T* g, int64_t g_plane, int64_t width, bool accumulate, T* sums) const {
    const auto& kernel = kernels<T>().matmul;
    TileArguments<T> t{};
    t.b_row = t.c_row = width;
    t.k = count;
    t.c_column = 1;
    t.columns = static_cast<int>(panel());
    t.accumulate = accumulate;
    const auto group = std::equal_range(plan.matrix.begin(), plan.matrix.end(), m);
    for (auto k = group.first; k != group.second; ++k, t.accumulate = true) {
      const int64_t f = plan.order[static_cast<size_t>(k - plan.matrix.begin())];
      for (int64_t column = 0; column < width; column += panel()) {
        t.b = g + f * g_plane + column;
        for (int64_t c = of_channels.first; c < of_channels.last; c += kernel.tile_rows) {
          t.rows = static_cast<int>(std::min<int64_t>(kernel.tile_rows, of_channels.last - c));
          t.a = {d + f * d_plane + c, 1, height};
          t.c = sums + (m * height + c) * width + column;
          kernel.tile(t);
        }
      }
    }
  }

  // ---- Sums in the second cache ---------------------------------------------------------------------------

  static constexpr int64_t depth = 24;  // tiles that are transformed and multiplied at a time

  struct Parts {
    int64_t channels, filters;
    int64_t count() const { return channels * filters; }
  };

  // The fewest parts of channels and filters whose sums and operands fit a second cache of 2 MB with room to
  // spare; none when that takes too many. Sums differ in order between the two ways, so the machine's own
  // cache has no say.
  Parts parts() const {
    constexpr int64_t fit = (3 << 19) / static_cast<int64_t>(sizeof(T));
    for (int64_t count = 1; count <= most_parts; ++count)
      for (int64_t c = 1; c <= count; ++c) {
        if (count % c != 0) continue;
        const Parts parts{c, count / c};
        const int64_t height = part(channels, kernels<T>().matmul.tile_rows, c, c - 1).size();
        const int64_t width = divide_up(divide_up(filters, panel()), parts.filters) * panel();
        if (plan.matrices() * height * width + plan.frequencies() * depth * (height + width) <= fit)
          return parts;
      }
    return {0, 0};
  }
  static constexpr int64_t most_parts = 2;

  // The sum over `tiles`, for some channels and filters: that part of out (taps, channels, filters).
  void run_part(Range tiles, Range of_channels, Range of_filters, T* out) const {
    const int64_t frequencies = plan.frequencies(), matrices = plan.matrices();
    const int64_t width = divide_up(of_filters.size(), panel()) * panel(), height = of_channels.size();
    Scratch<T> d(frequencies * depth * height), g(frequencies * depth * width);
    Scratch<T> sums(matrices * height * width);
    clear_margin(of_filters.size(), width, g.data(), frequencies * depth * width);
    for (int64_t first = tiles.first; first < tiles.last; first += depth) {
      const int64_t count = std::min(depth, tiles.last - first);
      const T* pixels[most_samples];
      for (int64_t t = 0; t < count; ++t) {
        inputs.pixels(first + t, pixels, of_channels.first);
        plan.v.input(pixels, height, d.data() + t * height, depth * height);
      }
      for (int64_t t = 0; t < count; ++t) {
        gradients.pixels(first + t, pixels, of_filters.first);
        plan.v.output_adjoint(pixels, of_filters.size(), g.data() + t * width, depth * width);
      }
      for (int64_t m = 0; m < matrices; ++m)
        multiply(m, count, d.data(), depth * height, height, {0, height}, g.data(), depth * width, width,
                 first > tiles.first, sums.data());
    }
    for (int64_t c = 0; c < height; ++c)
      plan.v.weights_adjoint(sums.data() + c * width, height * width, of_filters.size(),
                             out + (of_channels.first + c) * filters + of_filters.first, channels * filters);
  }

  void run_in_parts(Parts parts, T* dw) const {
    // The tiles are split too, so that there are enough items to hand out; the shape fixes how.
    constexpr int64_t enough_items = 8;
    const int64_t splits =
        std::clamp<int64_t>(tile_count / (4 * depth), 1, divide_up(enough_items, parts.count()));
    Scratch<T> partial(splits > 1 ? splits * size() : 0);
    parallel_for(splits * parts.count(), [&](int64_t item) {
      const int64_t split = item / parts.count(), rest = item % parts.count();
      run_part(part(tile_count, depth, splits, split),
               part(channels, kernels<T>().matmul.tile_rows, parts.channels, rest / parts.filters),
               part(filters, panel(), parts.filters, rest % parts.filters),
               splits > 1 ? partial.data() + split * size() : dw);
    });
    if (splits > 1) reduce_sum<T>(partial.data(), {1, splits, size()}, dw);
  }

  // ---- Sums in memory -------------------------------------------------------------------------------------

  void run_in_passes(T* dw) const {
    const int64_t frequencies = plan.frequencies(), matrices = plan.matrices();
    const int64_t width = divide_up(filters, panel()) * panel();
    // Tiles a pass transforms: their frequencies fill the last cache but for what the sums need. The order of
    // every sum follows from this number, which the shape fixes.
    constexpr int64_t pass_bytes = 24 << 20;
    const int64_t per_tile = frequencies * (channels + width) * static_cast<int64_t>(sizeof(T));
    const int64_t pass = std::min(tile_count, std::max<int64_t>(pass_bytes / per_tile / 16 * 16, 32));
    Scratch<T> d(frequencies * pass * channels), g(frequencies * pass * width);
    Scratch<T> sums(matrices * channels * width);
    clear_margin(filters, width, g.data(), frequencies * pass * width);

    const int64_t strip_rows = kernels<T>().matmul.tile_rows, strips = divide_up(channels, strip_rows);
    for (int64_t first = 0; first < tile_count; first += pass) {
      const int64_t count = std::min(pass, tile_count - first);
      const int64_t transforms = chunk_count(count, frequencies * (channels + width) * 4);
      parallel_for(transforms, [&](int64_t chunk) {
        const T* pixels[most_samples];
        for (int64_t t = count * chunk / transforms; t < count * (chunk + 1) / transforms; ++t) {
          inputs.pixels(first + t, pixels);
          plan.v.input(pixels, channels, d.data() + t * channels, pass * channels);
          gradients.pixels(first + t, pixels);
          plan.v.output_adjoint(pixels, filters, g.data() + t * width, pass * width);
        }
      });
      const int64_t items = matrices * strips;
      const int64_t chunks = chunk_count(items, frequencies / matrices * strip_rows * width * count, 1 << 20);
      parallel_for(chunks, [&](int64_t chunk) {
        for (int64_t item = items * chunk / chunks; item < items * (chunk + 1) / chunks; ++item)
          multiply(item / strips, count, d.data(), pass * channels, channels,
                   part(channels, strip_rows, strips, item % strips), g.data(), pass * width, width,
                   first > 0, sums.data());
      });
    }
    const int64_t chunks = chunk_count(channels, matrices * filters * 4);
    parallel_for(chunks, [&](int64_t chunk) {
      for (int64_t c = channels * chunk / chunks; c < channels * (chunk + 1) / chunks; ++c)
        plan.v.weights_adjoint(sums.data() + c * width, channels * width, filters, dw + c * filters,
                               channels * filters);
    });
  }

  // Filters past the last are never transformed: their lanes only ever meet their own sums, but must be
  // numbers.
  static void clear_margin(int64_t filters, int64_t width, T* g, int64_t count) {
    if (width != filters) std::fill(g, g + count, T(0));
  }

  void run(T* dw) const {
    const Parts parts = this->parts();
    parts.count() > 0 ? run_in_parts(parts, dw) : run_in_passes(dw);
  }
};

}  // namespace

template <class T>
void conv2d_winograd_weight_gradient(const Conv2dShape& s, const T* x, const T* dy, T* dw) {
  const WinogradTransforms<T>& v = winograd_variant<T>(s);
  const Plan<T> plan(v);
  const int64_t rows = divide_up(s.height.output(), v.outputs),
                columns = divide_up(s.width.output(), v.outputs);
  Zeros<T> zeros(std::max(s.channels, s.filters));
  const Tiles<T> inputs{x,      s.height.input,  s.width.input,  s.channels, rows,        columns,
                        v.step, s.height.before, s.width.before, v.samples,  zeros.data()};
  const Tiles<T> gradients{dy, s.height.output(), s.width.output(), s.filters, rows, columns, v.outputs, 0,
                           0,  v.outputs,         zeros.data()};
  WeightGradient<T>{plan, inputs, gradients, s.batch * rows * columns, s.channels, s.filters}.run(dw);
}

#define CHAINRULE_INSTANTIATE(T) \
  template void conv2d_winograd_weight_gradient<T>(const Conv2dShape&, const T*, const T*, T*);
CHAINRULE_INSTANTIATE(float)
CHAINRULE_INSTANTIATE(double)

}  // namespace chainrule
