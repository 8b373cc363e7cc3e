// Augmentation against an image that is padded, cropped, mirrored and cut one step at a time.
#include <algorithm>
#include <array>

#include "ops/augment.h"
#include "ops/random.h"
#include "reference.h"

using namespace chainrule;
using namespace reference;
using Flip = Augmentation::Flip;

namespace {

// An image of pixels of `channels` values, with the steps as plain loops.
struct Image {
  int64_t height, width, channels;
  std::vector<float> values;

  Image(int64_t h, int64_t w, int64_t c)
      : height(h), width(w), channels(c), values(static_cast<size_t>(h * w * c), 0.0f) {}
  float& at(int64_t row, int64_t column, int64_t channel) {
    return values[static_cast<size_t>((row * width + column) * channels + channel)];
  }

  // Every pixel of a new image from the pixel that `source` names, or 0 where it lies outside.
  template <class Source>
  Image gathered(int64_t h, int64_t w, const Source& source) {
    Image out(h, w, channels);
    for (int64_t i = 0; i < h; ++i)
      for (int64_t j = 0; j < w; ++j) {
        const auto [row, column] = source(i, j);
        if (row < 0 || row >= height || column < 0 || column >= width) continue;
        for (int64_t c = 0; c < channels; ++c) out.at(i, j, c) = at(row, column, c);
      }
    return out;
  }
};

using Place = std::array<int64_t, 2>;

int64_t mirrored(int64_t i, int64_t size) { return i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i; }

Image expected(Image image, const Augmentation& how, int64_t index, int64_t epoch) {
  const auto low = static_cast<uint32_t>(index), high = static_cast<uint32_t>(index >> 32);
  const auto era = static_cast<uint32_t>(epoch);
  const auto motion = philox({low, high, era, 1}, how.seed), hole = philox({low, high, era, 2}, how.seed);
  const auto side = philox({low, high, 0, 3}, how.seed);
  const auto part = [](int64_t n, uint32_t word) {  // which of n equal parts of all words
    return static_cast<int64_t>(static_cast<long double>(word) / 4294967296.0L * static_cast<long double>(n));
  };
  const int64_t t = how.translate, h = image.height, w = image.width;
  Image padded = image.gathered(h + 2 * t, w + 2 * t, [&](int64_t i, int64_t j) {
    return how.reflect ? Place{mirrored(i - t, h), mirrored(j - t, w)} : Place{i - t, j - t};
  });
  const int64_t top = part(padded.height - how.crop_height + 1, motion[1]);
  const int64_t left = part(padded.width - how.crop_width + 1, motion[2]);
  Image out = padded.gathered(how.crop_height, how.crop_width,
                              [&](int64_t i, int64_t j) { return Place{top + i, left + j}; });
  const bool flip = how.flip == Flip::random      ? motion[0] >= 0x80000000u
                    : how.flip == Flip::alternate ? (side[0] >= 0x80000000u) != (epoch % 2 == 1)
                                                  : false;
  if (flip)
    out = out.gathered(out.height, out.width,
                       [&](int64_t i, int64_t j) { return Place{i, out.width - 1 - j}; });
  const int64_t first_row = part(how.crop_height, hole[0]) - how.cutout / 2;
  const int64_t first_column = part(how.crop_width, hole[1]) - how.cutout / 2;
  return out.gathered(out.height, out.width, [&](int64_t i, int64_t j) {
    const bool cut =
        i >= first_row && i < first_row + how.cutout && j >= first_column && j < first_column + how.cutout;
    return cut ? Place{-1, -1} : Place{i, j};
  });
}

constexpr int64_t examples = 5;

// Values that differ in all places: byte v of channel c stands for 3 v + c + 1, which is never 0.
template <class T>
struct Problem {
  Shape shape;
  std::vector<T> images;
  std::vector<float> table;

  explicit Problem(const Shape& s) : shape(s), images(static_cast<size_t>(count(s))) {
    for (size_t i = 0; i < images.size(); ++i) images[i] = static_cast<T>(i * 37 % 251 + 1);
    for (int v = 0; v < 256; ++v)
      for (int64_t c = 0; c < s[3]; ++c) table.push_back(static_cast<float>(3 * v + c + 1));
  }
  const float* bytes_table() const { return sizeof(T) == 1 ? table.data() : nullptr; }
  Image image(int64_t index) const {
    Image out(shape[1], shape[2], shape[3]);
    for (size_t i = 0; i < out.values.size(); ++i) {
      const T x = images[static_cast<size_t>(index) * out.values.size() + i];
      const size_t channel = i % static_cast<size_t>(shape[3]);
      out.values[i] = sizeof(T) == 1 ? table[static_cast<size_t>(x) * static_cast<size_t>(shape[3]) + channel]
                                     : static_cast<float>(x);
    }
    return out;
  }

  // Compares a batch with the steps one by one; an empty string when all values agree.
  std::string compare(const std::vector<int64_t>& indices, const Augmentation& how, int64_t epoch) const {
    const int64_t size = how.crop_height * how.crop_width * shape[3];
    Guarded<float> out(size * static_cast<int64_t>(indices.size()));
    augment<T>(shape, images.data(), bytes_table(), indices.data(), static_cast<int64_t>(indices.size()), how,
               epoch, out.data());
    if (!out.intact()) return "wrote outside its result";
    for (size_t k = 0; k < indices.size(); ++k) {
      const Image image_expected = expected(image(indices[k]), how, indices[k], epoch);
      const std::string text = difference(out.data() + static_cast<int64_t>(k) * size, size, [&](int64_t i) {
        return static_cast<long double>(image_expected.values[static_cast<size_t>(i)]);
      });
      if (!text.empty()) return "image " + std::to_string(k) + ": " + text;
    }
    return "";
  }
};

Augmentation whole(const Shape& shape) {
  Augmentation how;
  how.crop_height = shape[1];
  how.crop_width = shape[2];
  return how;
}

}  // namespace

TEST_CASE("one counter of philox has the published words") {
  using Words = std::array<uint32_t, 4>;
  const uint32_t all = 0xffffffffu;
  CHECK(philox({0, 0, 0, 0}, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({all, all, all, all}, ~uint64_t{0}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE_TEMPLATE("augment does what its steps do, one after another", T, float, uint8_t) {
  const WithThreads one(1);
  for (const Shape& shape : {Shape{examples, 1, 1, 1}, Shape{examples, 1, 6, 3}, Shape{examples, 5, 4, 1},
                             Shape{examples, 4, 5, 2}, Shape{examples, 8, 8, 3}, Shape{examples, 3, 7, 5}}) {
    const Problem<T> problem(shape);
    const int64_t most = std::min(shape[1], shape[2]) - 1;
    for (int64_t translate : {int64_t{0}, int64_t{1}, most}) {
      if (translate > most) continue;
      for (bool reflect : {false, true})
        for (Flip flip : {Flip::none, Flip::random, Flip::alternate})
          for (int64_t crop : {-2, 0, 1})  // the window's size beside the image's
            for (int64_t cutout : {0, 1, 2, 3})
              for (int64_t epoch : {int64_t{0}, int64_t{1}, int64_t{6}, int64_t{UINT32_MAX}}) {
                Augmentation how{flip,
                                 translate,
                                 reflect,
                                 shape[1] + crop,
                                 shape[2] + crop,
                                 cutout,
                                 0x0123456789abcdef + static_cast<uint64_t>(epoch)};
                const int64_t least = std::min(how.crop_height, how.crop_width);
                if (least < 1 || cutout > least || crop > 2 * translate) continue;
                CAPTURE(shape_text(shape));
                CAPTURE(translate);
                CAPTURE(reflect);
                CAPTURE(static_cast<int>(flip));
                CAPTURE(crop);
                CAPTURE(cutout);
                CAPTURE(epoch);
                CHECK(problem.compare({0, 4, 2, 2, 1, 3}, how, epoch) == "");
              }
    }
  }
}

TEST_CASE_TEMPLATE("a window of one pixel may lie wholly in the padding", T, float, uint8_t) {
  const Problem<T> problem({examples, 4, 4, 3});
  for (bool reflect : {false, true})
    for (int64_t epoch = 0; epoch < 200; ++epoch)  // 100 positions
      CHECK(problem.compare({0}, {Flip::random, 3, reflect, 1, 1, 0, 5}, epoch) == "");
}

TEST_CASE_TEMPLATE("augment gives the same bits on 1, 2, 3 and 8 threads", T, float, uint8_t) {
  const Problem<T> problem({examples, 16, 16, 3});
  std::vector<int64_t> indices(300);
  for (size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<int64_t>(i * 7) % examples;
  const Augmentation how{Flip::random, 4, true, 16, 16, 6, 99};
  auto batch = [&](int threads) {
    const WithThreads scope(threads);
    std::vector<float> out(indices.size() * 16 * 16 * 3);
    augment<T>(problem.shape, problem.images.data(), problem.bytes_table(), indices.data(), 300, how, 3,
               out.data());
    return out;
  };
  const std::vector<float> alone = batch(1);
  for (int threads : {2, 3, 8}) CHECK(same_bits(batch(threads), alone));
}

TEST_CASE("augment of nothing touches nothing") {
  const Problem<float> problem({examples, 4, 4, 3});
  augment<float>(problem.shape, problem.images.data(), nullptr, nullptr, 0, whole(problem.shape), 0, nullptr);
  const int64_t index = 2;
  augment<float>({examples, 4, 4, 0}, nullptr, nullptr, &index, 1, whole(problem.shape), 0, nullptr);
  CHECK_THROWS_WITH_AS(
      augment<float>({0, 4, 4, 3}, nullptr, nullptr, &index, 1, whole(problem.shape), 0, nullptr),
      "augment: index 2 at position 0 of 0 images", std::invalid_argument);
}

TEST_CASE("augment refuses what clashes, and names it") {
  const Shape shape{examples, 4, 6, 3};
  const Augmentation plain = whole(shape);
  auto refused = [&](const Augmentation& how, const char* words) {
    CHECK_THROWS_WITH_AS(check_augment(shape, 2, how, 0), doctest::Contains(words), std::invalid_argument);
  };
  auto changed = [&](const auto& change) {
    Augmentation how = plain;
    change(how);
    return how;
  };
  const int64_t most = std::numeric_limits<int64_t>::max(), least = std::numeric_limits<int64_t>::min();
  for (int64_t wrong : {int64_t{-1}, int64_t{4}, most, least}) {
    refused(changed([&](Augmentation& how) { how.translate = wrong; }), "for images of 4 x 6: give 0 to 3");
  }
  for (int64_t wrong : {int64_t{-1}, int64_t{0}, int64_t{9}, most, least}) {
    refused(changed([&](Augmentation& how) { how.crop_height = wrong; }), "from padded images of 4 x 6");
    refused(changed([&](Augmentation& how) { how.crop_width = wrong; }), "give a size from 1 x 1 to that");
  }
  for (int64_t wrong : {int64_t{-1}, int64_t{5}, most, least})
    refused(changed([&](Augmentation& how) { how.cutout = wrong; }), "in images of 4 x 6: give 0 to 4");
  for (int64_t wrong : {int64_t{-1}, int64_t{1} << 32, most, least})
    CHECK_THROWS_WITH_AS(check_augment(shape, 2, plain, wrong), doctest::Contains("give an integer from 0"),
                         std::invalid_argument);
  for (const Shape& wrong : {Shape{}, Shape{4, 6}, Shape{5, 4, 6}, Shape{1, 5, 4, 6, 3}})
    CHECK_THROWS_WITH_AS(check_augment(wrong, 2, plain, 0),
                         doctest::Contains("are not (N, height, width, channels)"), std::invalid_argument);
  for (const Shape& wrong : {Shape{5, 0, 6, 3}, Shape{5, 4, 0, 3}})
    CHECK_THROWS_WITH_AS(check_augment(wrong, 2, plain, 0), doctest::Contains("have no pixels"),
                         std::invalid_argument);
  // Sizes that would wrap.
  for (const Shape& wrong : {Shape{0, most, 1, 1}, Shape{0, 1, most, 1}, Shape{0, int64_t{1} << 30, 1, 1}})
    CHECK_THROWS_WITH_AS(check_augment(wrong, 2, plain, 0), doctest::Contains("a side is at most 536870912"),
                         std::invalid_argument);
  CHECK_THROWS_AS(check_augment({most, 4, 6, 3}, 2, plain, 0), std::invalid_argument);
  CHECK_THROWS_AS(check_augment({0, 4, 6, 3}, most, plain, 0), std::invalid_argument);
  CHECK_THROWS_AS(check_augment(shape, -1, plain, 0), std::invalid_argument);
  for (int64_t wrong : {int64_t{-1}, examples, most, least}) {
    const std::vector<int64_t> indices = {0, wrong};
    CHECK_THROWS_WITH_AS(augment<float>(shape, nullptr, nullptr, indices.data(), 2, plain, 0, nullptr),
                         doctest::Contains("at position 1 of 5 images"), std::invalid_argument);
  }
}
