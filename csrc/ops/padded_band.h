// Rows of an NHWC image with the zeros that padding puts around them.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>

#include "runtime/allocator.h"

namespace chainrule {

// Rows [row0, row1) and columns [column0, column1) of images (height, width, channels) that follow each
// other, any of which may lie outside them: read in place where none does, else copied with zeros.
template <class T>
class PaddedBand {
 public:
  PaddedBand(const T* image, int64_t height, int64_t width, int64_t channels, int64_t row0, int64_t row1,
             int64_t column0, int64_t column1, int64_t images = 1) {
    if (row0 >= 0 && row1 <= height && column0 >= 0 && column1 <= width) {
      data_ = image + (row0 * width + column0) * channels;
      row_ = width * channels;
      image_ = height * row_;
      return;
    }
    const int64_t columns = column1 - column0;
    row_ = columns * channels;
    image_ = (row1 - row0) * row_;
    copy_.emplace(images * image_);
    T* to = copy_->data();
    const int64_t left = std::clamp<int64_t>(-column0, 0, columns);
    const int64_t right = std::clamp<int64_t>(column1 - width, 0, columns - left);
    const int64_t inside = columns - left - right;
    for (int64_t i = 0; i < images; ++i, image += height * width * channels)
      for (int64_t row = row0; row < row1; ++row, to += row_) {
        if (row < 0 || row >= height || inside == 0) {
          std::fill(to, to + row_, T(0));
          continue;
        }
        std::fill(to, to + left * channels, T(0));
        std::memcpy(to + left * channels, image + (row * width + column0 + left) * channels,
                    static_cast<size_t>(inside * channels) * sizeof(T));
        std::fill(to + (left + inside) * channels, to + row_, T(0));
      }
    data_ = copy_->data();
  }

  const T* data() const { return data_; }
  int64_t row() const { return row_; }      // elements from one row to the next
  int64_t image() const { return image_; }  // and from one image to the next

 private:
  const T* data_;
  int64_t row_, image_;
  std::optional<Scratch<T>> copy_;
};

}  // namespace chainrule
