// How lines of an image lie in memory for products of bfloat16 values.
#pragma once

#include <vector>

#include "ops/conv2d_phases.h"

namespace chainrule {

// Source lines of a phase along the width. Taps share a copy of the line where they lie a whole step apart,
// so that one is the other shifted; rows of the product between lines are then computed and dropped. On short
// lines those are many, and each tap has a copy of its own that holds what it meets and no more.
struct Lines {
  int64_t extra;                // pixels of a copy, and rows of the product, beyond the outputs of a line
  std::vector<int64_t> starts;  // of each copy, in source pixels
  struct Tap {
    int64_t copy, first;  // which it reads, and from which pixel on
  };
  std::vector<Tap> taps;

  // `short_line`: outputs for each pixel beyond them.
  Lines(const AxisPhase& w, int64_t short_line) : extra(Planes(w, 0).length) {
    constexpr size_t most_copies = 11;  // more would fill the caches, and memory
    if (w.count < short_line * extra && w.taps.size() <= most_copies) {
      extra = 0;
      for (const auto& tap : w.taps) {
        taps.push_back({copies(), 0});
        starts.push_back(tap.offset);
      }
    } else {
      for (int64_t plane = 0; plane < w.source_step; ++plane) starts.push_back(plane);
      for (const auto& tap : w.taps) taps.push_back({tap.offset % w.source_step, tap.offset / w.source_step});
    }
  }
  int64_t copies() const { return static_cast<int64_t>(starts.size()); }
};

}  // namespace chainrule
