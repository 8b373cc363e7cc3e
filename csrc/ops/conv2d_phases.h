// What passes of direct convolution share: which sources meet which outputs, and how outputs are cut into
// chunks.
#pragma once

#include <algorithm>
#include <vector>

#include "ops/conv2d_shape.h"
#include "ops/epilogue.h"
#include "runtime/allocator.h"
#include "runtime/threads.h"

namespace chainrule {

// Outputs along one axis whose windows meet their sources at the same places: outputs first + i * step for
// i < count read sources source + i * source_step + taps[t].offset.
struct AxisPhase {
  struct Tap {
    int64_t offset;  // from the first source; rising, the first is 0
    int64_t index;   // of the kernel's sample
  };
  int64_t first, step, count;
  int64_t source, source_step;
  std::vector<Tap> taps;
  int64_t reach() const { return taps.back().offset + 1; }
};

// Forward: all outputs alike.
inline std::vector<AxisPhase> forward_phases(const WindowAxis& axis) {
  AxisPhase phase{0, 1, axis.output(), -axis.before, axis.stride, {}};
  for (int64_t k = 0; k < axis.kernel; ++k) phase.taps.push_back({k * axis.dilation, k});
  return {phase};
}

// The gradient of the input: source o met input i at sample k where o * stride + k * dilation - before = i.
// With i = first + stride * t that is o = t + (first + before - k * dilation) / stride, for the k that divide
// evenly.
inline std::vector<AxisPhase> gradient_phases(const WindowAxis& axis) {
  std::vector<AxisPhase> phases;
  for (int64_t first = 0; first < std::min(axis.stride, axis.input); ++first) {
    AxisPhase phase{first, axis.stride, divide_up(axis.input - first, axis.stride), 0, 1, {}};
    std::vector<AxisPhase::Tap> taps;
    for (int64_t k = axis.kernel - 1; k >= 0; --k) {
      const int64_t distance = first + axis.before - k * axis.dilation;
      if (distance % axis.stride == 0) taps.push_back({distance / axis.stride, k});
    }
    if (!taps.empty()) phase.source = taps.front().offset;
    for (auto& tap : taps) tap.offset -= phase.source;
    phase.taps = std::move(taps);
    phases.push_back(std::move(phase));
  }
  return phases;
}

// The taps [first, last) of a phase whose source lies within the image for some of the outputs [i0, i1) of an
// axis of `input` sources: on small images those that meet padding alone are many.
struct TapRange {
  int64_t first = 0, last;
  TapRange(const AxisPhase& phase, int64_t input, int64_t i0, int64_t i1)
      : last(static_cast<int64_t>(phase.taps.size())) {
    auto source = [&](int64_t i, int64_t tap) {
      return phase.source + i * phase.source_step + phase.taps[static_cast<size_t>(tap)].offset;
    };
    while (first < last && source(i1 - 1, first) < 0) ++first;
    while (last > first && source(i0, last - 1) >= input) --last;
  }
  explicit TapRange(const AxisPhase& phase) : last(static_cast<int64_t>(phase.taps.size())) {}
  int64_t count() const { return last - first; }
};

// Sources along one axis, `step` apart for neighbouring outputs, dealt into `step` planes: in its plane a
// window moves by one.
struct Planes {
  int64_t step, length;  // of each plane
  Planes(const AxisPhase& phase, int64_t outputs)
      : step(phase.source_step), length(outputs + (phase.reach() - 1) / phase.source_step) {}
};

// Tiles take rows of outputs in equal parts: 32 pixels as 11, 11 and 10.
struct Split {
  int64_t parts, total;
  Split(int64_t total, int64_t most) : parts(std::max<int64_t>(divide_up(total, most), 1)), total(total) {}
  int64_t begin(int64_t part) const { return total * part / parts; }
};

// A chunk of work: rows [i0, i1) and columns [j0, j1) of a phase's outputs in one image.
struct Region {
  int64_t n, i0, i1, j0, j1;
};

// Cuts the outputs of a phase into regions worth handing out and calls body(region) for each.
template <class Body>
void over_regions(int64_t batch, int64_t rows, int64_t columns, int64_t work_per_output, int64_t tile,
                  const Body& body) {
  const int64_t total = batch * rows * columns * std::max<int64_t>(work_per_output, 1);
  const int64_t wanted = std::clamp<int64_t>(total / 64, int64_t{1} << 18, int64_t{1} << 24);
  const int64_t outputs = std::max<int64_t>(wanted / std::max<int64_t>(work_per_output, 1), 1);
  // Whole rows where they fit, else a part of one, in whole tiles.
  const Split bands(rows, std::max<int64_t>(outputs / std::max<int64_t>(columns, 1), 1));
  const Split strips(divide_up(columns, tile), std::max<int64_t>(outputs / tile, 1));
  parallel_for(batch * bands.parts * strips.parts, [&](int64_t chunk) {
    const int64_t strip = chunk % strips.parts, band = chunk / strips.parts % bands.parts;
    const int64_t n = chunk / (strips.parts * bands.parts);
    body(Region{n, bands.begin(band), bands.begin(band + 1), strips.begin(strip) * tile,
                std::min(columns, strips.begin(strip + 1) * tile)});
  });
}

// Where one window fits, its stride moves nothing, and is cut so that nothing computed from it overflows.
inline Conv2dShape with_strides_cut(Conv2dShape s) {
  for (WindowAxis* a : {&s.height, &s.width})
    a->stride = std::min(a->stride, a->input + a->before + a->after - a->span() + 1);
  return s;
}

// The same convolution with a plainer shape, where there is one: a window that covers the whole image is a
// matrix product of flattened images, a window of one sample that of all pixels in one row.
inline Conv2dShape flattened(const Conv2dShape& given) {
  Conv2dShape s = with_strides_cut(given);
  auto plain = [](const WindowAxis& a) { return a.before == 0 && a.after == 0; };
  if (s.groups != 1 || !plain(s.height) || !plain(s.width)) return s;
  const bool covers = s.height.kernel == s.height.input && s.width.kernel == s.width.input &&
                      (s.height.dilation == 1 || s.height.kernel == 1) &&
                      (s.width.dilation == 1 || s.width.kernel == 1);
  if (covers) {
    s.channels *= s.height.kernel * s.width.kernel;
    s.height = s.width = WindowAxis{};
  }
  if (s.height.kernel == 1 && s.width.kernel == 1 && s.height.stride == 1 && s.width.stride == 1) {
    s.width.input *= s.batch * s.height.input;
    s.height.input = s.batch = 1;
  }
  return s;
}

// The epilogue of a flattened shape's channels: where an image became one pixel, its channels' bias repeats
// for each pixel that it had.
template <class T>
class FlattenedEpilogue {
 public:
  FlattenedEpilogue(const Epilogue<T>& given, int64_t channels, int64_t flattened_channels)
      : repeated_(given.bias != nullptr && channels != flattened_channels ? flattened_channels : 0),
        all_(given) {
    if (given.bias == nullptr || channels == flattened_channels) return;
    for (int64_t c = 0; c < flattened_channels; ++c) repeated_[c] = given.bias[c % channels];
    all_.bias = repeated_.data();
  }
  const Epilogue<T>& operator*() const { return all_; }

 private:
  Scratch<T> repeated_;
  Epilogue<T> all_;
};

// The outputs of two phases that no source reaches: what the epilogue makes of 0.
template <class T>
void fill_unreached(const Epilogue<T>& epilogue, T* target, int64_t batch, int64_t target_height,
                    int64_t target_width, int64_t channels, const AxisPhase& h, const AxisPhase& w) {
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t i = 0; i < h.count; ++i)
      for (int64_t j = 0; j < w.count; ++j) {
        const int64_t row = n * target_height + h.first + i * h.step, column = w.first + j * w.step;
        const int64_t at = (row * target_width + column) * channels;
        for (int64_t c = 0; c < channels; ++c) {
          const T value = epilogue.bias != nullptr ? epilogue.bias[c] : T(0);
          const bool zero = (epilogue.relu && value <= T(0)) ||
                            (epilogue.mask != nullptr && !(epilogue.mask[at + c] > T(0)));
          target[at + c] = zero ? T(0) : value;
        }
      }
}

}  // namespace chainrule
