#include "kernels/conv2d_direct.h"

#include "kernels/table.h"
#include "kernels/tile.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

template <class T>
constexpr int panel = 2 * lanes<T>;

template <class T, int rows, int vectors>
void tap_tile(const TapTile<T>& t) {
  Vec<T> sums[rows][vectors];
  clear_tile<T, rows, vectors>(sums);
  const T* weights = t.weights;
  for (int64_t run = 0; run < t.run_count; ++run) {
    const T* x = t.x + t.runs[run];
    for (int64_t k = 0; k < t.depth; ++k, weights += panel<T>) {
      // All weights pass by for each few tiles, from the second cache or the third.
      __builtin_prefetch(weights + 24 * panel<T>);
      if (vectors == 2) __builtin_prefetch(weights + 24 * panel<T> + lanes<T>);
      multiply_add<T, rows, vectors>(sums, x + k, t.x_pixel, weights);
    }
  }
  Vec<T> bias[vectors] = {};
  if (t.bias != nullptr)
    for (int v = 0; v < vectors; ++v) bias[v] = load(t.bias + v * lanes<T>);
  if (t.mask != nullptr)
    store_rows<T, rows, vectors>(
        sums, t.y, t.y_pixel, t.columns, [&](Vec<T> sum, Vec<T>, int v) { return sum + bias[v]; }, t.mask);
  else if (t.relu)
    store_rows<T, rows, vectors>(sums, t.y, t.y_pixel, t.columns,
                                 [&](Vec<T> sum, Vec<T>, int v) { return positive_part<T>(sum + bias[v]); });
  else
    store_rows<T, rows, vectors>(sums, t.y, t.y_pixel, t.columns,
                                 [&](Vec<T> sum, Vec<T>, int v) { return sum + bias[v]; });
}

template <class T, int filters, int vectors>
void planar_tile(const PlanarTile<T>& t) {
  constexpr int L = lanes<T>;
  Vec<T> sums[filters][vectors];
  clear_tile<T, filters, vectors>(sums);
  const T* weights = t.weights;
  for (int64_t row = 0; row < t.row_count; ++row) {
    const T* x = t.x + t.rows[row];
    for (int64_t tap = 0; tap < t.tap_count; ++tap, weights += filters)
      multiply_add<T, filters, vectors>(sums, weights, 1, x + t.taps[tap], t.x_second);
  }
  T values[filters][vectors * L];
  for (int i = 0; i < filters; ++i) {
    const Vec<T> bias = t.bias != nullptr ? broadcast(t.bias[i]) : Vec<T>{};
    for (int v = 0; v < vectors; ++v) {
      const Vec<T> sum = sums[i][v] + bias;
      store<T>(&values[i][v * L], t.relu ? positive_part<T>(sum) : sum);
    }
  }
  for (int v = 0; v < vectors; ++v) {
    T* y = t.y + v * t.y_second;
    const int pixels = v == 0 ? t.pixels : t.second_pixels;
    for (int p = 0; p < pixels; ++p)
      for (int i = 0; i < filters; ++i) y[p * t.y_pixel + i] = values[i][v * L + p];
  }
}

template <class T, int rows, int vectors>
void weight_tile(const WeightTile<T>& t) {
  Vec<T> sums[rows][vectors];
  clear_tile<T, rows, vectors>(sums);
  // What is added to comes from the third cache, where the weights are many.
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) __builtin_prefetch(t.out + i * t.out_row + v * lanes<T>, 1);
  for (int64_t n = 0; n < t.images; ++n)
    for (int64_t i = 0; i < t.height; ++i) {
      const T* x = t.x + n * t.x_image + i * t.x_row;
      const T* y = t.y + n * t.y_image + i * t.y_row;
      for (int64_t j = 0; j < t.width; ++j, x += t.x_pixel, y += t.y_pixel) {
        // Both come from the second cache, a line or two a pixel, which the sums alone do not hide.
        __builtin_prefetch(x + 12 * t.x_pixel);
        __builtin_prefetch(x + 12 * t.x_pixel + rows - 1);
        __builtin_prefetch(y + 12 * t.y_pixel);
        if (vectors == 2) __builtin_prefetch(y + 12 * t.y_pixel + lanes<T>);
        multiply_add<T, rows, vectors>(sums, x, 1, y);
      }
    }
  store_rows<T, rows, vectors>(sums, t.out, t.out_row, t.columns,
                               [](Vec<T> sum, Vec<T> before, int) { return before + sum; });
}

template <class T>
void depthwise_row(const DepthwiseRow<T>& r) {
  for_vectors<T>(r.channels, [&](int64_t c, auto get, auto put) {
    const Vec<T> bias = r.bias != nullptr ? get(r.bias + c) : Vec<T>{};
    for (int64_t p = 0; p < r.pixels; ++p) {
      const T* x = r.x + p * r.x_pixel + c;
      Vec<T> sum = {};
      for (int64_t t = 0; t < r.tap_count; ++t)
        sum += get(x + r.taps[t]) * get(r.weights + t * r.channels + c);
      sum += bias;
      put(r.y + p * r.y_pixel + c, r.relu ? positive_part<T>(sum) : sum);
    }
  });
}

template <class T>
void depthwise_weights(const DepthwiseWeights<T>& w) {
  for (int64_t t = 0; t < w.tap_count; ++t)
    for_vectors<T>(w.channels, [&](int64_t c, auto get, auto put) {
      Vec<T> sum = {};
      for (int64_t i = 0; i < w.height; ++i) {
        const T* x = w.x + i * w.x_row + w.taps[t] + c;
        const T* y = w.y + i * w.y_row + c;
        for (int64_t j = 0; j < w.width; ++j, x += w.x_pixel, y += w.y_pixel) sum += get(x) * get(y);
      }
      T* out = w.out + t * w.channels + c;
      put(out, get(out) + sum);
    });
}

template <class T>
bool all_finite(const T* values, int64_t n) {
  Vec<T> parts[4] = {};  // of 0, or NaN
  int64_t i = 0;
  for (; i + 4 * lanes<T> <= n; i += 4 * lanes<T>)
    for (int j = 0; j < 4; ++j) {
      const Vec<T> value = load(values + i + j * lanes<T>);
      parts[j] += value - value;
    }
  for_vectors<T>(n - i, [&](int64_t j, auto get, auto) {
    const Vec<T> value = get(values + i + j);
    parts[0] += value - value;
  });
  return sum_lanes<T>((parts[0] + parts[1]) + (parts[2] + parts[3])) == T(0);
}

template <class T>
void epilogue_gradient(const T* g, const T* y, int64_t rows, int64_t columns, T* out, T* sums) {
  for_vectors<T>(columns, [&](int64_t c, auto get, auto put) {
    Vec<T> parts[4] = {};
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t at = i * columns + c;
      const Vec<T> passed = where_positive<T>(get(y + at), get(g + at));
      put(out + at, passed);
      parts[i % 4] += passed;
    }
    put(sums + c, (parts[0] + parts[1]) + (parts[2] + parts[3]));
  });
}

// The instance for a tile's size, found once for each tile.
template <class Tile, template <int, int> class Instance, int rows>
void dispatch(const Tile& t, int wanted_rows, bool two_vectors) {
  if constexpr (rows > 0) {
    if (wanted_rows != rows) return dispatch<Tile, Instance, rows - 1>(t, wanted_rows, two_vectors);
    if (two_vectors)
      Instance<rows, 2>::run(t);
    else
      Instance<rows, 1>::run(t);
  }
}

template <class T>
struct Instances {
  template <int rows, int vectors>
  struct Tap {
    static void run(const TapTile<T>& t) { tap_tile<T, rows, vectors>(t); }
  };
  template <int filters, int vectors>
  struct Planar {
    static void run(const PlanarTile<T>& t) { planar_tile<T, filters, vectors>(t); }
  };
  template <int rows, int vectors>
  struct Weight {
    static void run(const WeightTile<T>& t) { weight_tile<T, rows, vectors>(t); }
  };
};

template <class T>
void fill(Conv2dKernels<T>& kernels) {
  kernels.tile_rows = tile_rows;
  kernels.panel = panel<T>;
  kernels.tap_tile = [](const TapTile<T>& t) {
    dispatch<TapTile<T>, Instances<T>::template Tap, tile_rows>(t, t.rows, t.columns > lanes<T>);
  };
  kernels.weight_tile = [](const WeightTile<T>& t) {
    dispatch<WeightTile<T>, Instances<T>::template Weight, tile_rows>(t, t.rows, t.columns > lanes<T>);
  };
  kernels.planar_tile = [](const PlanarTile<T>& t) {
    dispatch<PlanarTile<T>, Instances<T>::template Planar, tile_rows>(t, t.filters, t.second_pixels > 0);
  };
  kernels.depthwise_row = depthwise_row<T>;
  kernels.depthwise_weights = depthwise_weights<T>;
  kernels.all_finite = all_finite<T>;
  kernels.epilogue_gradient = epilogue_gradient<T>;
}

}  // namespace

void fill_conv2d(KernelTable& table) {
  fill(table.float32.conv2d);
  fill(table.float64.conv2d);
}

}  // namespace chainrule::CHAINRULE_ISA
