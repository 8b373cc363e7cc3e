#include "ops/augment.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "ops/random.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

[[noreturn]] void wrong(const std::string& problem) { throw std::invalid_argument("augment: " + problem); }

// ---- What happens to one example --------------------------------------------------------------------------

constexpr int64_t largest_side = 1 << 29;

struct Draw {
  bool flip;
  int64_t top, left;                  // of the window, in the image; negative in the padding
  int64_t centre_row, centre_column;  // of the cut-out, in the output
};

// One of 0 .. n - 1. The likelihoods differ by less than n / 2^32.
int64_t below(int64_t n, uint32_t word) {
  return static_cast<int64_t>((static_cast<uint64_t>(n) * word) >> 32);
}

// The last word of the counter tells the draws apart; dropout's is 0.
Draw draw_for(const Shape& shape, const Augmentation& how, int64_t index, int64_t epoch) {
  const auto low = static_cast<uint32_t>(index), high = static_cast<uint32_t>(index >> 32);
  const auto era = static_cast<uint32_t>(epoch);
  const auto motion = philox({low, high, era, 1}, how.seed);
  const auto hole = philox({low, high, era, 2}, how.seed);
  Draw draw{};
  if (how.flip == Augmentation::Flip::random) draw.flip = motion[0] >> 31;
  if (how.flip == Augmentation::Flip::alternate)
    draw.flip = (philox({low, high, 0, 3}, how.seed)[0] >> 31) ^ (era & 1);
  draw.top = below(shape[1] + 2 * how.translate - how.crop_height + 1, motion[1]) - how.translate;
  draw.left = below(shape[2] + 2 * how.translate - how.crop_width + 1, motion[2]) - how.translate;
  draw.centre_row = below(how.crop_height, hole[0]);
  draw.centre_column = below(how.crop_width, hole[1]);
  return draw;
}

// ---- Pixels -----------------------------------------------------------------------------------------------

// A run of output pixels of one row: they come from source pixels first, first + step, ..., or are 0 (step
// 0).
struct Run {
  int64_t count, first, step;
};

// The three runs of a window that begins at pixel `start` of a row of `size` pixels.
std::array<Run, 3> runs_of(int64_t start, int64_t count, int64_t size, bool reflect, bool flip) {
  const int64_t before = std::clamp<int64_t>(-start, 0, count);
  const int64_t inside = std::clamp<int64_t>(size - start, before, count) - before;
  const int64_t after = count - before - inside, end = start + before + inside;
  std::array<Run, 3> runs = {Run{before, -start, -1}, Run{inside, start + before, 1},
                             Run{after, 2 * (size - 1) - end, -1}};
  if (!reflect) runs[0].step = runs[2].step = 0;
  if (flip) {
    std::swap(runs[0], runs[2]);
    for (Run& run : runs) {
      run.first += (run.count - 1) * run.step;
      run.step = -run.step;
    }
  }
  return runs;
}

float value(float x, const float*, int64_t) { return x; }
float value(uint8_t x, const float* table, int64_t channels) { return table[x * channels]; }

// The channels of a pixel are a constant where `known` is not 0, which makes loops over them vanish.
template <int known, class T>
void copy_run(const T* row, const float* table, int64_t all_channels, const Run& run, float* out) {
  const int64_t channels = known != 0 ? known : all_channels;
  if (run.step == 0) {
    std::fill(out, out + run.count * channels, 0.0f);
    return;
  }
  if (std::is_same<T, float>::value && run.step == 1) {
    std::memcpy(out, row + run.first * channels, static_cast<size_t>(run.count * channels) * sizeof(float));
    return;
  }
  const T* pixel = row + run.first * channels;
  for (int64_t i = 0; i < run.count; ++i, pixel += run.step * channels, out += channels)
    for (int64_t c = 0; c < channels; ++c)
      out[c] = value(pixel[c], table + (table != nullptr ? c : 0), channels);
}

// Asks memory for a chunk's images a little before they are read. They lie anywhere in the training array, so
// that the processor's own prefetching would begin anew in each, and hardly follows rows that are read
// backwards.
class Ahead {
 public:
  // `next` is read after `image`; null for none. Both have so many bytes.
  Ahead(const void* image, const void* next, int64_t bytes)
      : image_(static_cast<const char*>(image)),
        next_(static_cast<const char*>(next)),
        bytes_(bytes),
        distance_(std::min<int64_t>(bytes, 8192)) {}

  // Before a chunk's first image.
  void begin() const { ask(0, distance_); }

  // While `count` bytes from `first` on are read, counted from the image's beginning.
  void reading(int64_t first, int64_t count) const { ask(first + distance_, count); }

 private:
  void ask(int64_t first, int64_t count) const {
    constexpr int64_t line = 64;
    for (int64_t place = first; place < first + count; place += line) {
      if (place < bytes_)
        __builtin_prefetch(image_ + place);
      else if (next_ != nullptr && place - bytes_ < bytes_)
        __builtin_prefetch(next_ + (place - bytes_));
    }
  }

  const char *image_, *next_;
  int64_t bytes_, distance_;
};

template <int known, class T>
void augment_image(const Shape& shape, const T* image, const T* next, const float* table,
                   const Augmentation& how, const Draw& draw, float* out) {
  const int64_t height = shape[1], width = shape[2], channels = shape[3];
  const int64_t row_size = how.crop_width * channels;
  const auto runs = runs_of(draw.left, how.crop_width, width, how.reflect, draw.flip);
  const int64_t source_row = width * channels * static_cast<int64_t>(sizeof(T));
  const Ahead ahead(image, next, height * source_row);
  for (int64_t i = 0; i < how.crop_height; ++i) {
    ahead.reading(i * source_row, source_row);
    int64_t row = draw.top + i;
    float* to = out + i * row_size;
    if (row < 0 || row >= height) {
      if (!how.reflect) {
        std::fill(to, to + row_size, 0.0f);
        continue;
      }
      row = row < 0 ? -row : 2 * (height - 1) - row;
    }
    for (const Run& run : runs) {
      if (run.count == 0) continue;
      copy_run<known>(image + row * width * channels, table, channels, run, to);
      to += run.count * channels;
    }
  }
  if (how.cutout == 0) return;
  const auto span = [&](int64_t centre, int64_t size) {
    const int64_t first = centre - how.cutout / 2;
    return std::array<int64_t, 2>{std::max<int64_t>(first, 0), std::min(first + how.cutout, size)};
  };
  const auto rows = span(draw.centre_row, how.crop_height),
             columns = span(draw.centre_column, how.crop_width);
  for (int64_t i = rows[0]; i < rows[1]; ++i)
    std::fill(out + i * row_size + columns[0] * channels, out + i * row_size + columns[1] * channels, 0.0f);
}

}  // namespace

void check_augment(const Shape& shape, int64_t batch, const Augmentation& how, int64_t epoch) {
  const auto of = [](int64_t height, int64_t width) {
    return std::to_string(height) + " x " + std::to_string(width);
  };
  if (shape.size() != 4) wrong("images " + shape_text(shape) + " are not (N, height, width, channels)");
  element_count(shape, "augment");
  const int64_t height = shape[1], width = shape[2], least = std::min(height, width);
  if (least < 1) wrong("images " + shape_text(shape) + " have no pixels");
  // Positions are drawn by multiplication with 32 random bits.
  if (std::max(height, width) > largest_side)
    wrong("images of " + of(height, width) + ": a side is at most " + std::to_string(largest_side));
  if (how.translate < 0 || how.translate >= least)
    wrong("translate " + std::to_string(how.translate) + " for images of " + of(height, width) +
          ": give 0 to " + std::to_string(least - 1));
  const int64_t most_height = height + 2 * how.translate, most_width = width + 2 * how.translate;
  if (how.crop_height < 1 || how.crop_width < 1 || how.crop_height > most_height ||
      how.crop_width > most_width)
    wrong("crop " + of(how.crop_height, how.crop_width) + " from padded images of " +
          of(most_height, most_width) + ": give a size from 1 x 1 to that");
  if (how.cutout < 0 || how.cutout > std::min(how.crop_height, how.crop_width))
    wrong("cutout " + std::to_string(how.cutout) + " in images of " + of(how.crop_height, how.crop_width) +
          ": give 0 to " + std::to_string(std::min(how.crop_height, how.crop_width)));
  if (epoch < 0 || epoch > UINT32_MAX)
    wrong("epoch " + std::to_string(epoch) + ": give an integer from 0 to 2^32 - 1");
  element_count({batch, how.crop_height, how.crop_width, shape[3]}, "augment");
}

template <class T>
void augment(const Shape& shape, const T* images, const float* table, const int64_t* indices, int64_t batch,
             const Augmentation& how, int64_t epoch, float* out) {
  check_augment(shape, batch, how, epoch);
  for (int64_t i = 0; i < batch; ++i)
    if (indices[i] < 0 || indices[i] >= shape[0])
      wrong("index " + std::to_string(indices[i]) + " at position " + std::to_string(i) + " of " +
            std::to_string(shape[0]) + " images");
  const int64_t source_size = shape[1] * shape[2] * shape[3];
  const int64_t out_size = how.crop_height * how.crop_width * shape[3];
  if (out_size == 0) return;
  const auto image = shape[3] == 3   ? augment_image<3, T>
                     : shape[3] == 1 ? augment_image<1, T>
                                     : augment_image<0, T>;
  const int64_t chunks = chunk_count(batch, out_size);
  const int64_t per_chunk = chunks > 0 ? (batch + chunks - 1) / chunks : 0;
  parallel_for(chunks, [&](int64_t chunk) {
    const int64_t first = chunk * per_chunk, end = std::min(batch, first + per_chunk);
    const auto at = [&](int64_t i) { return i < end ? images + indices[i] * source_size : nullptr; };
    Ahead(at(first), nullptr, source_size * static_cast<int64_t>(sizeof(T))).begin();
    for (int64_t i = first; i < end; ++i)
      image(shape, at(i), at(i + 1), table, how, draw_for(shape, how, indices[i], epoch), out + i * out_size);
  });
}

template void augment<float>(const Shape&, const float*, const float*, const int64_t*, int64_t,
                             const Augmentation&, int64_t, float*);
template void augment<uint8_t>(const Shape&, const uint8_t*, const float*, const int64_t*, int64_t,
                               const Augmentation&, int64_t, float*);

}  // namespace chainrule
