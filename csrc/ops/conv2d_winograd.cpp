#include "ops/conv2d_winograd.h"

#include <algorithm>

#include "ops/winograd_tiles.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

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
        const int64_t at = ((n * out_height + top) * out_width + left) * outputs + p * panel;
        const T* mask = epilogue.mask != nullptr ? epilogue.mask + at : nullptr;
        plan.v.output(products.data() + i * panel, count * panel, channels, bias, epilogue.relu, mask, y + at,
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

bool winograd_weight_gradient_pays(const Conv2dShape& s) {
  return winograd_pays(s) && (s.height.stride == 1 || std::min(s.channels, s.filters) >= 128);
}

template <class T>
void conv2d_winograd(const Conv2dShape& s, const T* x, const T* weights, const Epilogue<T>& epilogue, T* y) {
  convolve(winograd_variant<T>(s), s.batch, x, s.height.input, s.width.input, s.channels, s.height.before,
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

#define CHAINRULE_INSTANTIATE(T)                                                                    \
  template void conv2d_winograd<T>(const Conv2dShape&, const T*, const T*, const Epilogue<T>&, T*); \
  template void conv2d_winograd_input_gradient<T>(const Conv2dShape&, const T*, const T*,           \
                                                  const Epilogue<T>&, T*);
CHAINRULE_INSTANTIATE(float)
CHAINRULE_INSTANTIATE(double)

}  // namespace chainrule
