// The inner parts of direct convolution: register tiles that walk over the taps of a window where the data
// lie, with no patches copied out.
//
// A tap is one sample of the window with all channels of a group; taps beside each other in memory are one
// run.
#pragma once

#include <cstdint>

namespace chainrule {

// A tile of outputs: neighbouring pixels of one row by up to `panel` filters.
template <class T>
struct TapTile {
  const T* x;           // the source of the first output at offset 0
  int64_t x_pixel;      // from the source of an output to that of the next
  const int64_t* runs;  // the offset of each run of source values
  int64_t run_count;
  int64_t depth;     // values in a run
  const T* weights;  // run_count * depth rows of `panel` values, packed
  T* y;
  int64_t y_pixel;    // from an output pixel to the next
  int rows, columns;  // pixels (at most tile_rows) and filters (at most panel)
  const T* bias;      // `panel` values added to each pixel, or nullptr
  bool relu;          // max(0, .) at the end, which lets NaN through
  const T* mask;      // lies as y does, which is 0 where it is not positive; or nullptr
};

// A tile of few filters, too few to fill the lanes: these run along the pixels of a row instead, and the
// source is planar, each channel's row of pixels on its own.
template <class T>
struct PlanarTile {
  const T* x;           // the source of the first pixel; whole vectors are read from each offset
  const int64_t* rows;  // the offset of each row of the window in each channel
  int64_t row_count;
  const int64_t* taps;  // the offset of each sample along such a row
  int64_t tap_count;
  const T* weights;  // (row_count, tap_count, filters)
  T* y;
  int64_t y_pixel;      // from an output pixel to the next; its filters lie side by side
  int pixels, filters;  // at most a vector's lanes and tile_rows
  // Of a second vector of outputs, as many beside the first or in another row: from the first one's source
  // and output to its own. None where second_pixels is 0.
  int64_t x_second, y_second;
  int second_pixels;
  const T* bias;  // (filters,) or nullptr
  bool relu;
};

// A tile of the weight gradient: up to tile_rows values of a run by up to `panel` filters, summed over
// pixels.
template <class T>
struct WeightTile {
  const T* x;                       // the source of the first pixel
  int64_t x_image, x_row, x_pixel;  // from one pixel's source to that of the next image, row, column
  const T* y;                       // gradient of the first pixel's filters; whole vectors of it are read
  int64_t y_image, y_row, y_pixel;
  int64_t images, height, width;  // pixels to sum over
  T* out;                         // (rows, columns): added to
  int64_t out_row;
  int rows, columns;
};

// One row of pixels of a depthwise convolution: y[p][c] = sum over taps x[p * x_pixel + taps[t] + c] w[t][c].
template <class T>
struct DepthwiseRow {
  const T* x;
  int64_t x_pixel;
  const int64_t* taps;
  int64_t tap_count;
  const T* weights;  // (tap_count, channels)
  T* y;
  int64_t y_pixel;
  int64_t pixels, channels;
  const T* bias;  // (channels,) or nullptr
  bool relu;
};

// The weight gradient of a depthwise convolution, added to out (tap_count, channels):
// out[t][c] += sum over pixels x[i * x_row + j * x_pixel + taps[t] + c] y[i * y_row + j * y_pixel + c].
template <class T>
struct DepthwiseWeights {
  const T* x;
  int64_t x_row, x_pixel;
  const T* y;
  int64_t y_row, y_pixel;
  int64_t height, width, channels;
  const int64_t* taps;
  int64_t tap_count;
  T* out;
};

template <class T>
struct Conv2dKernels {
  int tile_rows;  // the most rows of a tile
  int panel;      // filters that packed weights hold side by side: two vectors
  void (*tap_tile)(const TapTile<T>& tile);
  void (*planar_tile)(const PlanarTile<T>& tile);
  void (*weight_tile)(const WeightTile<T>& tile);
  void (*depthwise_row)(const DepthwiseRow<T>& row);
  void (*depthwise_weights)(const DepthwiseWeights<T>& weights);
  // Whether n values are finite: those that are not make NaN of the zeros of padding.
  bool (*all_finite)(const T* values, int64_t n);
  // The way back through an epilogue: out = g where y > 0, else 0; sums[j] = the sum of out over the rows.
  void (*epilogue_gradient)(const T* g, const T* y, int64_t rows, int64_t columns, T* out, T* sums);
};

}  // namespace chainrule
