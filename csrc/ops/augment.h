// Augmentation: images of a batch gathered from the whole training array, moved, flipped and cut out in one
// pass.
#pragma once

#include <cstdint>

#include "runtime/checked.h"

namespace chainrule {

// How an example may change. What happens to it follows from (seed, epoch, its index) alone.
struct Augmentation {
  enum class Flip {
    none,
    random,     // left and right are exchanged with probability 1/2, drawn anew each epoch
    alternate,  // in every other epoch; which ones is drawn once for each example
  };
  Flip flip = Flip::none;
  // A window of crop_height x crop_width is taken from the image with `translate` pixels of padding on each
  // side, every position being as likely.
  int64_t translate = 0;
  bool reflect = false;  // padding mirrors the image without repeating its border; else it is 0
  int64_t crop_height = 0, crop_width = 0;
  int64_t cutout = 0;  // the side of a square of zeros, centred on any pixel of the result, clipped to it
  uint64_t seed = 0;
};

// images is (N, height, width, channels), the shape. The output is (batch, crop_height, crop_width,
// channels).
//
// Bytes are read through a table of 256 x channels: value v of channel c becomes table[v * channels + c]. For
// floats the table is null. Padding and cut-out are 0 in the output, whatever the table says.
//
// Throws std::invalid_argument for what clashes, before an image is touched: a shape that is not of images,
// an index outside it, an epoch that is negative or needs more than 32 bits, a translation or cut-out as
// large as what it is applied to.
template <class T>
void augment(const Shape& images_shape, const T* images, const float* table, const int64_t* indices,
             int64_t batch, const Augmentation& how, int64_t epoch, float* out);

// The checks that need no indices; augment makes them too. The binding allocates what they allow.
void check_augment(const Shape& images_shape, int64_t batch, const Augmentation& how, int64_t epoch);

}  // namespace chainrule
