#include "ops/conv2d_winograd.h"

#include <algorithm>
#include <vector>

#include "kernels/table.h"
#include "runtime/allocator.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

constexpr int most_samples = 81;  // of a tile

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The variant for a kernel and its outputs: tiles of 6 x 6 save most, those of 4 x 4 waste less where the
// output is small.
template <class T>
const WinogradTransforms<T>& stride1_variant(int64_t kernel, int64_t height, int64_t width) {
  const auto& w = kernels<T>().winograd;
  if (kernel == 5) return w.f2x2_5x5;
  return std::max(height, width) <= 2 ? w.f2x2_3x3 : w.f4x4_3x3;
}

template <class T>
const WinogradTransforms<T>& forward_variant(const Conv2dShape& s) {
  if (s.height.stride == 2) return kernels<T>().winograd.f4x4_3x3_stride2;
  return stride1_variant<T>(s.height.kernel, s.height.output(), s.width.output());
}

// The products of one tile, in two dimensions: what transform_weights and Product count in.
template <class T>
struct Plan {
  const WinogradTransforms<T>& v;
  std::vector<int64_t> order;   // frequencies, those of one matrix beside each other
  std::vector<int64_t> matrix;  // of each frequency in that order

  explicit Plan(const WinogradTransforms<T>& variant) : v(variant) {
    for (int64_t m = 0; m < matrices(); ++m)
      for (int64_t f = 0; f < frequencies(); ++f) {
        const int64_t i = v.matrix_of[f / v.frequencies], j = v.matrix_of[f % v.frequencies];
        if (i * v.matrices + j != m) continue;
        order.push_back(f);
        matrix.push_back(m);
      }
  }
  int64_t frequencies() const { return int64_t{v.frequencies} * v.frequencies; }
  int64_t matrices() const { return int64_t{v.matrices} * v.matrices; }
};

// An image as the tiles see it: sample (i, j) of tile (r, c) at row r * step + i - before_rows and so on;
// zeros outside.
template <class T>
struct Tiles {
  const T* data;  // (batch, height, width, channels)
  int64_t height, width, channels;
  int64_t rows, columns;  // tiles an image
  int64_t step, before_rows, before_columns;
  int size;        // samples along one axis
  const T* zeros;  // `channels` of them

  // Where the samples of tile number `tile` lie.
  void pixels(int64_t tile, const T** out) const {
    const int64_t n = tile / (rows * columns), r = tile / columns % rows, c = tile % columns;
    const T* image = data + n * height * width * channels;
    const int64_t top = r * step - before_rows, left = c * step - before_columns;
    for (int i = 0; i < size; ++i)
      for (int j = 0; j < size; ++j) {
        const bool inside = top + i >= 0 && top + i < height && left + j >= 0 && left + j < width;
        out[i * size + j] = inside ? image + ((top + i) * width + left + j) * channels : zeros;
      }
  }
};

template <class T>
struct Zeros {
  explicit Zeros(int64_t count) : values(count) { std::fill(values.data(), values.data() + count, T(0)); }
  const T* data() { return values.data(); }
  Scratch<T> values;
};

// Transformed weights as the product reads them: [panel of outputs][matrix][input][output of the panel].
// weights: (taps, inputs, outputs), taps in the order of the tile's transform.
template <class T>
void transform_weights(const Plan<T>& plan, const T* weights, int64_t inputs, int64_t outputs, int64_t panel,
                       T* out) {
  const int64_t matrices = plan.matrices(), panels = divide_up(outputs, panel);
  const int64_t chunks = chunk_count(inputs, outputs * matrices * 4);
  parallel_for(chunks, [&](int64_t chunk) {
    for (int64_t c = inputs * chunk / chunks; c < inputs * (chunk + 1) / chunks; ++c)
      for (int64_t p = 0; p < panels; ++p) {
        const int64_t count = std::min(panel, outputs - p * panel);
        T* to = out + (p * matrices * inputs + c) * panel;
        plan.v.weights(weights + c * outputs + p * panel, inputs * outputs, count, to, inputs * panel);
        for (int64_t m = 0; count < panel && m < matrices; ++m)
          std::fill(to + m * inputs * panel + count, to + m * inputs * panel + panel, T(0));
      }
  });
}

// y[tile] = A^T [U * (B^T d B)] A for every tile.
template <class T>
struct Product {
  const Plan<T>& plan;
  Tiles<T> tiles;
  int64_t tile_count;
  int64_t inputs, outputs;
  const T* u;
  T* y;  // (batch, out_height, out_width, outputs)
  int64_t out_height, out_width;
  Epilogue<T> epilogue;

  // V[frequency][tile - first][input] of `count` tiles, `plane` values a frequency.
  void transform(int64_t first, int64_t count, T* out, int64_t plane) const {
    const T* pixels[most_samples];
    for (int64_t t = 0; t < count; ++t) {
      tiles.pixels(first + t, pixels);
      plan.v.input(pixels, inputs, out + t * inputs, plane);
    }
  }

  // The outputs of a block of tiles in panels [p0, p1).
  void multiply(int64_t first, int64_t count, const T* transformed, int64_t plane, int64_t p0,
                int64_t p1) const {
    const auto& kernel = kernels<T>().matmul;
    const int64_t panel = 2 * kernel.vector_width, frequencies = plan.frequencies();
    Scratch<T> products(frequencies * count * panel);
    for (int64_t p = p0; p < p1; ++p) {
      TileArguments<T> t{};
      t.b_row = t.c_row = panel;
      t.k = inputs;
      t.c_column = 1;
      t.columns = static_cast<int>(panel);
      for (size_t k = 0; k < plan.order.size(); ++k) {
        const int64_t f = plan.order[k];
        t.b = u + (p * plan.matrices() + plan.matrix[k]) * inputs * panel;
        for (int64_t i = 0; i < count; i += kernel.tile_rows) {
          t.rows = static_cast<int>(std::min<int64_t>(kernel.tile_rows, count - i));
          t.a = {transformed + f * plane + i * inputs, inputs, 1};
          t.c = products.data() + (f * count + i) * panel;
          kernel.tile(t);
        }
      }
      const int64_t channels = std::min(panel, outputs - p * panel), side = plan.v.outputs;
      const T* bias = epilogue.bias != nullptr ? epilogue.bias + p * panel : nullptr;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t tile = first + i, n = tile / (tiles.rows * tiles.columns);
        const int64_t top = tile / tiles.columns % tiles.rows * side, left = tile % tiles.columns * side;
        plan.v.output(products.data() + i * panel, count * panel, channels, bias, epilogue.relu,
                      y + ((n * out_height + top) * out_width + left) * outputs + p * panel,
                      out_width * outputs, outputs, static_cast<int>(std::min(side, out_height - top)),
                      static_cast<int>(std::min(side, out_width - left)));
      }
    }
  }

  // Tiles of a block, whose transformed input stays in the second cache while all weights stream past it.
  int64_t block_size() const {
    constexpr int64_t bytes = 384 << 10;
    const int64_t rows = kernels<T>().matmul.tile_rows;
    const int64_t fit = bytes / (plan.frequencies() * inputs * static_cast<int64_t>(sizeof(T)));
    // Half a register tile where a whole one is far too much: it still hides the latency of its sums.
    return fit < rows / 2 + 1 ? rows / 2 : std::clamp<int64_t>(fit / rows, 1, 4) * rows;
  }

  void run() const {
    const int64_t panels = divide_up(outputs, 2 * kernels<T>().matmul.vector_width);
    const int64_t block = block_size(), blocks = divide_up(tile_count, block),
                  frequencies = plan.frequencies();
    constexpr int64_t enough_blocks = 12;
    if (blocks >= enough_blocks) {
      parallel_for(blocks, [&](int64_t b) {
        const int64_t first = b * block, count = std::min(block, tile_count - first);
        Scratch<T> transformed(frequencies * count * inputs);
        transform(first, count, transformed.data(), count * inputs);
        multiply(first, count, transformed.data(), count * inputs, 0, panels);
      });
      return;
    }
    // Too few to share out: transform all tiles first, then hand out blocks by panels.
    const int64_t plane = tile_count * inputs;
    Scratch<T> transformed(frequencies * plane);
    const int64_t chunks = chunk_count(tile_count, frequencies * inputs * 8);
    parallel_for(chunks, [&](int64_t chunk) {
      const int64_t first = tile_count * chunk / chunks, last = tile_count * (chunk + 1) / chunks;
      transform(first, last - first, transformed.data() + first * inputs, plane);
    });
    parallel_for(blocks * panels, [&](int64_t chunk) {
      const int64_t first = chunk % blocks * block, p = chunk / blocks;
      multiply(first, std::min(block, tile_count - first), transformed.data() + first * inputs, plane, p,
               p + 1);
    });
  }
};

// x (batch, height, width, inputs) with zeros before it, weights (taps, inputs, outputs), y (batch,
// out_height, out_width, outputs).
template <class T>
void convolve(const WinogradTransforms<T>& v, int64_t batch, const T* x, int64_t height, int64_t width,
              int64_t inputs, int64_t before_rows, int64_t before_columns, const T* weights, int64_t outputs,
              const Epilogue<T>& epilogue, T* y, int64_t out_height, int64_t out_width) {
  const Plan<T> plan(v);
  const int64_t panel = 2 * kernels<T>().matmul.vector_width;
  Scratch<T> u(plan.matrices() * inputs * divide_up(outputs, panel) * panel);
  transform_weights(plan, weights, inputs, outputs, panel, u.data());
  Zeros<T> zeros(inputs);
  const int64_t rows = divide_up(out_height, v.outputs), columns = divide_up(out_width, v.outputs);
  const Tiles<T> tiles{x,      height,      width,          inputs,    rows,        columns,
                       v.step, before_rows, before_columns, v.samples, zeros.data()};
  Product<T>{plan,      tiles,   batch * rows * columns, inputs, outputs, u.data(), y, out_height,
             out_width, epilogue}
      .run();
}

bool empty(const Conv2dShape& s) {
  return s.batch * s.height.output() * s.width.output() * s.channels * s.filters == 0 ||
         s.height.input * s.width.input == 0;
}

}  // namespace

bool has_winograd(const Conv2dShape& s) {
  auto plain = [](const WindowAxis& a) {
    return a.dilation == 1 && a.before < a.kernel && a.after < a.kernel;
  };
  const int64_t kernel = s.height.kernel, stride = s.height.stride;
  return s.groups == 1 && s.width.kernel == kernel && s.width.stride == stride && plain(s.height) &&
         plain(s.width) && (kernel == 3 ? stride <= 2 : kernel == 5 && stride == 1) && !empty(s);
}

bool has_winograd_input_gradient(const Conv2dShape& s) { return has_winograd(s) && s.height.stride == 1; }

bool winograd_pays(const Conv2dShape& s) {
  // On few channels the transforms cost more than the products they save.
  const int64_t least = s.height.stride == 1 ? 24 : 48;
  return has_winograd(s) && s.channels >= least && s.filters >= least && s.height.output() >= 3 &&
         s.width.output() >= 3;
}

template <class T>
void conv2d_winograd(const Conv2dShape& s, const T* x, const T* weights, const Epilogue<T>& epilogue, T* y) {
  convolve(forward_variant<T>(s), s.batch, x, s.height.input, s.width.input, s.channels, s.height.before,
           s.width.before, weights, s.filters, epilogue, y, s.height.output(), s.width.output());
}

template <class T>
void conv2d_winograd_input_gradient(const Conv2dShape& s, const T* dy, const T* weights,
                                    const Epilogue<T>& epilogue, T* dx) {
  // The adjoint of a convolution with stride 1 is one with the kernel turned by half a turn and its channels
  // exchanged.
  const int64_t taps = s.height.kernel * s.width.kernel;
  Scratch<T> turned(taps * s.channels * s.filters);
  constexpr int64_t block = 16;
  const int64_t strips = divide_up(s.channels, block);
  parallel_for(taps * strips, [&](int64_t chunk) {
    const int64_t tap = chunk / strips, first = chunk % strips * block,
                  last = std::min(s.channels, first + block);
    const T* from = weights + (taps - 1 - tap) * s.channels * s.filters;
    T* to = turned.data() + tap * s.channels * s.filters;
    for (int64_t k = 0; k < s.filters; ++k)
      for (int64_t c = first; c < last; ++c) to[k * s.channels + c] = from[c * s.filters + k];
  });
  convolve(stride1_variant<T>(s.height.kernel, s.height.input, s.width.input), s.batch, dy, s.height.output(),
           s.width.output(), s.filters, s.height.kernel - 1 - s.height.before,
           s.width.kernel - 1 - s.width.before, turned.data(), s.channels, epilogue, dx, s.height.input,
           s.width.input);
}

template <class T>
void conv2d_winograd_weight_gradient(const Conv2dShape& s, const T* x, const T* dy, T* dw) {
  // From y = A^T [(G g G^T) * (B^T d B)] A: dg = G^T [sum over tiles of (B^T d B) * (A dy A^T)] G.
  const WinogradTransforms<T>& v = forward_variant<T>(s);
  const Plan<T> plan(v);
  const auto& kernel = kernels<T>().matmul;
  const int64_t panel = 2 * kernel.vector_width, width = divide_up(s.filters, panel) * panel;
  const int64_t frequencies = plan.frequencies(), matrices = plan.matrices();
  const int64_t rows = divide_up(s.height.output(), v.outputs),
                columns = divide_up(s.width.output(), v.outputs);
  const int64_t tile_count = s.batch * rows * columns;
  Zeros<T> zeros(std::max(s.channels, s.filters));
  const Tiles<T> inputs{x,      s.height.input,  s.width.input,  s.channels, rows,        columns,
                        v.step, s.height.before, s.width.before, v.samples,  zeros.data()};
  const Tiles<T> gradients{dy, s.height.output(), s.width.output(), s.filters, rows, columns, v.outputs, 0,
                           0,  v.outputs,         zeros.data()};

  // Tiles a pass transforms: their frequencies fill the last cache but for what the sums need. The order of
  // every sum follows from this number, which the shape fixes.
  constexpr int64_t pass_bytes = 24 << 20;
  const int64_t per_tile = frequencies * (s.channels + width) * static_cast<int64_t>(sizeof(T));
  const int64_t pass = std::min(tile_count, std::max<int64_t>(pass_bytes / per_tile / 16 * 16, 32));
  Scratch<T> d(frequencies * pass * s.channels), g(frequencies * pass * width);
  Scratch<T> sums(matrices * s.channels * width);
  // Filters past the last are never transformed: their lanes only ever meet their own sums, but must be
  // numbers.
  if (width != s.filters) std::fill(g.data(), g.data() + frequencies * pass * width, T(0));

  const int64_t strips = divide_up(s.channels, kernel.tile_rows);
  for (int64_t first = 0; first < tile_count; first += pass) {
    const int64_t count = std::min(pass, tile_count - first);
    const int64_t transforms = chunk_count(count, frequencies * (s.channels + width) * 4);
    parallel_for(transforms, [&](int64_t chunk) {
      const T* pixels[most_samples];
      for (int64_t t = count * chunk / transforms; t < count * (chunk + 1) / transforms; ++t) {
        inputs.pixels(first + t, pixels);
        v.input(pixels, s.channels, d.data() + t * s.channels, pass * s.channels);
        gradients.pixels(first + t, pixels);
        v.output_adjoint(pixels, s.filters, g.data() + t * width, pass * width);
      }
    });
    const int64_t items = matrices * strips;
    const int64_t chunks =
        chunk_count(items, frequencies / matrices * kernel.tile_rows * width * count, 1 << 20);
    parallel_for(chunks, [&](int64_t chunk) {
      for (int64_t item = items * chunk / chunks; item < items * (chunk + 1) / chunks; ++item) {
        const int64_t m = item / strips, strip = item % strips;
        const int64_t c0 = s.channels * strip / strips, c1 = s.channels * (strip + 1) / strips;
        TileArguments<T> t{};
        t.b_row = t.c_row = width;
        t.k = count;
        t.c_column = 1;
        t.rows = static_cast<int>(c1 - c0);
        t.columns = static_cast<int>(panel);
        t.accumulate = first > 0;
        const auto group = std::equal_range(plan.matrix.begin(), plan.matrix.end(), m);
        for (auto k = group.first; k != group.second; ++k, t.accumulate = true) {
          const int64_t f = plan.order[static_cast<size_t>(k - plan.matrix.begin())];
          t.a = {d.data() + f * pass * s.channels + c0, 1, s.channels};
          for (int64_t column = 0; column < width; column += panel) {
            t.b = g.data() + f * pass * width + column;
            t.c = sums.data() + (m * s.channels + c0) * width + column;
            kernel.tile(t);
          }
        }
      }
    });
  }
  const int64_t chunks = chunk_count(s.channels, matrices * s.filters * 4);
  parallel_for(chunks, [&](int64_t chunk) {
    for (int64_t c = s.channels * chunk / chunks; c < s.channels * (chunk + 1) / chunks; ++c)
      v.weights_adjoint(sums.data() + c * width, s.channels * width, s.filters, dw + c * s.filters,
                        s.channels * s.filters);
  });
}

#define CHAINRULE_INSTANTIATE(T)                                                                    \
  template void conv2d_winograd<T>(const Conv2dShape&, const T*, const T*, const Epilogue<T>&, T*); \
  template void conv2d_winograd_input_gradient<T>(const Conv2dShape&, const T*, const T*,           \
                                                  const Epilogue<T>&, T*);                          \
  template void conv2d_winograd_weight_gradient<T>(const Conv2dShape&, const T*, const T*, T*);
CHAINRULE_INSTANTIATE(float)
CHAINRULE_INSTANTIATE(double)

}  // namespace chainrule
