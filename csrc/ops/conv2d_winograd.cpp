#include "ops/conv2d_winograd.h"

#include <algorithm>

#include "kernels/table.h"
#include "runtime/allocator.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

constexpr int most_samples = 36;  // of a tile

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The variant for a kernel: 6 x 6 tiles save most, 4 x 4 tiles waste less where the output is small.
template <class T>
const WinogradTransforms<T>& variant(int64_t kernel, int64_t height, int64_t width) {
  const auto& w = kernels<T>().winograd;
  if (kernel == 5) return w.f2x2_5x5;
  const bool small = std::max(height, width) <= 2;
  return small ? w.f2x2_3x3 : w.f4x4_3x3;
}

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

// Transformed weights as the product reads them: [panel of outputs][frequency][input][output of the panel].
// weights: (taps, inputs, outputs), taps in the order of the tile's transform.
template <class T>
void transform_weights(const WinogradTransforms<T>& v, const T* weights, int64_t inputs, int64_t outputs,
                       int64_t panel, T* out) {
  const int64_t frequencies = int64_t{v.tile} * v.tile, panels = divide_up(outputs, panel);
  const int64_t chunks = chunk_count(inputs, outputs * frequencies * 4);
  parallel_for(chunks, [&](int64_t chunk) {
    for (int64_t c = inputs * chunk / chunks; c < inputs * (chunk + 1) / chunks; ++c)
      for (int64_t p = 0; p < panels; ++p) {
        const int64_t count = std::min(panel, outputs - p * panel);
        T* to = out + (p * frequencies * inputs + c) * panel;
        v.weights(weights + c * outputs + p * panel, inputs * outputs, count, to, inputs * panel);
        for (int64_t f = 0; count < panel && f < frequencies; ++f)
          std::fill(to + f * inputs * panel + count, to + f * inputs * panel + panel, T(0));
      }
  });
}

// y[tile] = A^T [U * (B^T d B)] A for every tile.
template <class T>
struct Product {
  const WinogradTransforms<T>& v;
  Tiles<T> tiles;
  int64_t tile_count;
  int64_t inputs, outputs;
  const T* u;
  T* y;  // (batch, out_height, out_width, outputs)
  int64_t out_height, out_width;
  Epilogue<T> epilogue;

  int64_t frequencies() const { return int64_t{v.tile} * v.tile; }

  // V[frequency][tile - first][input] of `count` tiles, `plane` values a frequency.
  void transform(int64_t first, int64_t count, T* out, int64_t plane) const {
    const T* pixels[most_samples];
    for (int64_t t = 0; t < count; ++t) {
      tiles.pixels(first + t, pixels);
      v.input(pixels, inputs, out + t * inputs, plane);
    }
  }

  // The outputs of a block of tiles in panels [p0, p1).
  void multiply(int64_t first, int64_t count, const T* transformed, int64_t plane, int64_t p0,
                int64_t p1) const {
    const auto& kernel = kernels<T>().matmul;
    const int64_t panel = 2 * kernel.vector_width;
    Scratch<T> products(frequencies() * count * panel);
    for (int64_t p = p0; p < p1; ++p) {
      TileArguments<T> t{};
      t.b_row = t.c_row = panel;
      t.k = inputs;
      t.c_column = 1;
      t.columns = static_cast<int>(panel);
      for (int64_t f = 0; f < frequencies(); ++f) {
        t.b = u + (p * frequencies() + f) * inputs * panel;
        for (int64_t i = 0; i < count; i += kernel.tile_rows) {
          t.rows = static_cast<int>(std::min<int64_t>(kernel.tile_rows, count - i));
          t.a = {transformed + f * plane + i * inputs, inputs, 1};
          t.c = products.data() + (f * count + i) * panel;
          kernel.tile(t);
        }
      }
      const int64_t channels = std::min(panel, outputs - p * panel);
      const T* bias = epilogue.bias != nullptr ? epilogue.bias + p * panel : nullptr;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t tile = first + i, n = tile / (tiles.rows * tiles.columns);
        const int64_t row = tile / tiles.columns % tiles.rows * v.outputs,
                      column = tile % tiles.columns * v.outputs;
        v.output(products.data() + i * panel, count * panel, channels, bias, epilogue.relu,
                 y + ((n * out_height + row) * out_width + column) * outputs + p * panel, out_width * outputs,
                 outputs, static_cast<int>(std::min<int64_t>(v.outputs, out_height - row)),
                 static_cast<int>(std::min<int64_t>(v.outputs, out_width - column)));
      }
    }
  }

  void run() const {
    const int64_t panel = 2 * kernels<T>().matmul.vector_width, panels = divide_up(outputs, panel);
    const int64_t rows = kernels<T>().matmul.tile_rows;
    // A block's transformed input stays in the second cache while all weights stream past it.
    constexpr int64_t block_bytes = 384 << 10;
    const int64_t per_tile = frequencies() * inputs * static_cast<int64_t>(sizeof(T));
    const int64_t block = std::clamp<int64_t>(block_bytes / per_tile / rows, 1, 4) * rows;
    const int64_t blocks = divide_up(tile_count, block);
    constexpr int64_t enough_blocks = 12;
    if (blocks >= enough_blocks) {
      parallel_for(blocks, [&](int64_t b) {
        const int64_t first = b * block, count = std::min(block, tile_count - first);
        Scratch<T> transformed(frequencies() * count * inputs);
        transform(first, count, transformed.data(), count * inputs);
        multiply(first, count, transformed.data(), count * inputs, 0, panels);
      });
      return;
    }
    // Too few to share out: transform all tiles first, then hand out blocks by panels.
    const int64_t plane = tile_count * inputs;
    Scratch<T> transformed(frequencies() * plane);
    const int64_t chunks = chunk_count(tile_count, frequencies() * inputs * 8);
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

// A stride-1 convolution of (batch, height, width, inputs) with weights (taps, inputs, outputs).
template <class T>
void convolve(int64_t batch, const T* x, int64_t height, int64_t width, int64_t inputs, int64_t before_rows,
              int64_t before_columns, const T* weights, int64_t kernel, int64_t outputs,
              const Epilogue<T>& epilogue, T* y, int64_t out_height, int64_t out_width) {
  const WinogradTransforms<T>& v = variant<T>(kernel, out_height, out_width);
  const int64_t panel = 2 * kernels<T>().matmul.vector_width;
  Scratch<T> u(int64_t{v.tile} * v.tile * inputs * divide_up(outputs, panel) * panel);
  transform_weights(v, weights, inputs, outputs, panel, u.data());
  Zeros<T> zeros(inputs);
  const int64_t rows = divide_up(out_height, v.outputs), columns = divide_up(out_width, v.outputs);
  const Tiles<T> tiles{x,         height,      width,          inputs, rows,        columns,
                       v.outputs, before_rows, before_columns, v.tile, zeros.data()};
  Product<T>{v, tiles, batch * rows * columns, inputs, outputs, u.data(), y, out_height, out_width, epilogue}
      .run();
}

bool empty(const Conv2dShape& s) {
  return s.batch * s.height.output() * s.width.output() * s.channels * s.filters == 0 ||
         s.height.input * s.width.input == 0;
}

}  // namespace

bool has_winograd(const Conv2dShape& s) {
  auto plain = [](const WindowAxis& a) {
    return a.stride == 1 && a.dilation == 1 && a.before < a.kernel && a.after < a.kernel;
  };
  return s.groups == 1 && s.height.kernel == s.width.kernel &&
         (s.height.kernel == 3 || s.height.kernel == 5) && plain(s.height) && plain(s.width) && !empty(s);
}

bool winograd_pays(const Conv2dShape& s) {
  // Transforms cost as much as 60 or so channels of products would save on few channels.
  return has_winograd(s) && s.channels >= 24 && s.filters >= 24 && s.height.output() >= 3 &&
         s.width.output() >= 3;
}

template <class T>
void conv2d_winograd(const Conv2dShape& s, const T* x, const T* weights, const Epilogue<T>& epilogue, T* y) {
  convolve(s.batch, x, s.height.input, s.width.input, s.channels, s.height.before, s.width.before, weights,
           s.height.kernel, s.filters, epilogue, y, s.height.output(), s.width.output());
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
  convolve(s.batch, dy, s.height.output(), s.width.output(), s.filters, s.height.kernel - 1 - s.height.before,
           s.width.kernel - 1 - s.width.before, turned.data(), s.height.kernel, s.channels, epilogue, dx,
           s.height.input, s.width.input);
}

template <class T>
void conv2d_winograd_weight_gradient(const Conv2dShape& s, const T* x, const T* dy, T* dw) {
  // From y = A^T [(G g G^T) * (B^T d B)] A: dg = G^T [sum over tiles of (B^T d B) * (A dy A^T)] G.
  const WinogradTransforms<T>& v = variant<T>(s.height.kernel, s.height.output(), s.width.output());
  const auto& kernel = kernels<T>().matmul;
  const int64_t panel = 2 * kernel.vector_width, width = divide_up(s.filters, panel) * panel;
  const int64_t frequencies = int64_t{v.tile} * v.tile;
  const int64_t rows = divide_up(s.height.output(), v.outputs),
                columns = divide_up(s.width.output(), v.outputs);
  const int64_t tile_count = s.batch * rows * columns;
  Zeros<T> zeros(std::max(s.channels, s.filters));
  const Tiles<T> inputs{x,         s.height.input,  s.width.input,  s.channels, rows,        columns,
                        v.outputs, s.height.before, s.width.before, v.tile,     zeros.data()};
  const Tiles<T> gradients{dy, s.height.output(), s.width.output(), s.filters, rows, columns, v.outputs, 0,
                           0,  v.outputs,         zeros.data()};

  // Tiles a pass transforms: their frequencies fill the last cache but for what the sums need. The order of
  // every sum follows from this number, which the shape fixes.
  constexpr int64_t pass_bytes = 24 << 20;
  const int64_t per_tile = frequencies * (s.channels + width) * static_cast<int64_t>(sizeof(T));
  const int64_t pass = std::min(tile_count, std::max<int64_t>(pass_bytes / per_tile / 16 * 16, 32));
  Scratch<T> d(frequencies * pass * s.channels), g(frequencies * pass * width);
  Scratch<T> sums(frequencies * s.channels * width);
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
    const int64_t items = frequencies * strips;
    const int64_t chunks = chunk_count(items, kernel.tile_rows * width * count, 1 << 20);
    parallel_for(chunks, [&](int64_t chunk) {
      for (int64_t item = items * chunk / chunks; item < items * (chunk + 1) / chunks; ++item) {
        const int64_t f = item / strips, strip = item % strips;
        const int64_t c0 = s.channels * strip / strips, c1 = s.channels * (strip + 1) / strips;
        TileArguments<T> t{};
        t.a = {d.data() + f * pass * s.channels + c0, 1, s.channels};
        t.b_row = t.c_row = width;
        t.k = count;
        t.c_column = 1;
        t.rows = static_cast<int>(c1 - c0);
        t.columns = static_cast<int>(panel);
        t.accumulate = first > 0;
        for (int64_t k = 0; k < width; k += panel) {
          t.b = g.data() + f * pass * width + k;
          t.c = sums.data() + (f * s.channels + c0) * width + k;
          kernel.tile(t);
        }
      }
    });
  }
  const int64_t chunks = chunk_count(s.channels, frequencies * s.filters * 4);
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
