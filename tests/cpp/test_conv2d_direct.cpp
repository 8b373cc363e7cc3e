// Direct convolution and its two gradients against plain loops, on integers: any error shows as a wrong
// number.
#include "ops/conv2d_direct.h"
#include "reference_conv2d.h"

using namespace chainrule;
using namespace reference;

namespace {

template <class T>
constexpr Convolution<T> direct{"direct", conv2d_direct<T>, conv2d_direct_input_gradient<T>,
                                conv2d_direct_weight_gradient<T>};

template <class T>
void check(const Conv2dShape& s) {
  for (Pass pass : passes) {
    const std::string wrong = check_exact(direct<T>, pass, s);
    if (wrong.empty()) continue;
    CAPTURE(pass_name(pass));
    CAPTURE(text(s));
    CHECK(wrong == "");
  }
  CHECK(true);
}

}  // namespace

TEST_CASE_TEMPLATE("direct convolution: widths around register tiles, filters around panels", T, float,
                   double) {
  const WithThreads one(1);
  // Tiles are 6 or 12 pixels by up to 2 vectors of 2 to 16 lanes; in the gradient of the input the channels
  // take the filters' place.
  for (int64_t width = 1; width <= 26; ++width)
    for (int64_t filters : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 49}) {
      check<T>(conv_shape(1, same_axis(2, 2), same_axis(width, 3), {2, filters, 1}));
      check<T>(conv_shape(1, same_axis(1, 1), same_axis(width, 2), {filters, 3, 1}));
    }
}

TEST_CASE_TEMPLATE("direct convolution: weight gradients around tiles of a run", T, float, double) {
  const WithThreads one(1);
  for (int64_t channels = 1; channels <= 13; ++channels)
    for (int64_t kernel : {1, 2, 3, 5})
      for (int64_t filters : {1, 4, 17, 33})
        check<T>(conv_shape(2, same_axis(3, 2), same_axis(7, kernel), {channels, filters, 1}));
}

TEST_CASE_TEMPLATE("direct convolution: every window on every axis", T, float, double) {
  const WithThreads one(1);
  // Strides over kernels, paddings over kernels, dilation past the edge, empty images.
  std::vector<WindowAxis> axes;
  for (int64_t input : {0, 1, 2, 5, 8, 13})
    for (int64_t kernel : {1, 2, 3, 5})
      for (int64_t stride : {1, 2, 3, 7})
        for (int64_t dilation : {1, 2, 5})
          for (int64_t before : {0, 1, 3, 8})
            for (int64_t after : {0, 2, 6}) {
              const WindowAxis axis{input, kernel, stride, dilation, before, after};
              if (fits(axis)) axes.push_back(axis);
            }
  const Channels all[] = {{1, 1, 1},  {2, 3, 1}, {3, 2, 1}, {4, 4, 4}, {3, 6, 3}, {4, 6, 2},
                          {5, 5, 5},  {6, 2, 2}, {0, 3, 1}, {3, 0, 1}, {0, 0, 1}, {9, 9, 9},
                          {2, 34, 2}, {1, 2, 1}, {0, 0, 3}, {6, 3, 3}, {17, 1, 1}};
  for (size_t i = 0; i < axes.size(); ++i) {
    const WindowAxis& other = axes[i * 1009 % axes.size()];
    check<T>(conv_shape(static_cast<int64_t>(i % 7 == 6 ? 0 : 1 + i % 2), axes[i], other,
                        all[i % (sizeof all / sizeof *all)]));
  }
}

TEST_CASE_TEMPLATE("direct convolution: groups, depthwise with and without a multiplier", T, float, double) {
  const WithThreads one(1);
  for (int64_t channels : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65}) {
    for (int64_t stride : {1, 2}) {
      const WindowAxis height = same_axis(5, 3, stride), width = same_axis(7, 3, stride);
      check<T>(conv_shape(2, height, width, {channels, channels, channels}));
      check<T>(conv_shape(1, height, width, {channels, 2 * channels, channels}));
      check<T>(conv_shape(1, height, width, {channels, 5 * channels, channels}));
      check<T>(conv_shape(1, height, width, {2 * channels, channels, channels}));
      check<T>(conv_shape(1, height, width, {3 * channels, 2 * channels, channels}));
      check<T>(conv_shape(1, height, width, {2 * channels, 2 * channels, 2}));
    }
    // Depthwise with many windows, dilated and cut on all sides.
    check<T>(conv_shape(1, {9, 3, 2, 3, 2, 1}, {11, 2, 3, 4, 0, 5}, {channels, channels, channels}));
  }
}

TEST_CASE_TEMPLATE("direct convolution: windows of one sample and windows that cover the image", T, float,
                   double) {
  const WithThreads one(1);
  for (int64_t channels : {1, 3, 16, 33})
    for (int64_t filters : {1, 5, 32}) {
      const Channels c{channels, filters, 1};
      check<T>(conv_shape(3, {5, 1}, {7, 1}, c));              // a product of all pixels
      check<T>(conv_shape(3, {5, 1, 2}, {7, 1, 3}, c));        // strided
      check<T>(conv_shape(2, {5, 1, 1, 9}, {7, 1, 1, 4}, c));  // a dilation without meaning
      check<T>(conv_shape(2, {4, 1, 1, 1, 1, 0}, {3, 1}, c));  // padded
      check<T>(conv_shape(5, {4, 4}, {3, 3}, c));              // covered
      check<T>(conv_shape(5, {4, 4, 3}, {3, 3, 9}, c));        // covered, strides without meaning
      check<T>(conv_shape(2, {4, 4}, {4, 2}, c));              // covered along one axis
      check<T>(conv_shape(2, {3, 2, 1, 2}, {3, 3}, c));        // covered with holes
      check<T>(conv_shape(2, {1, 1, 5, 3}, {3, 3, 2, 1}, c));  // an axis of one
      check<T>(conv_shape(2, {3, 3, 1, 1, 1, 1}, {3, 3}, c));  // padded beyond
      check<T>(conv_shape(2, {0, 1, 1, 1, 1, 1}, {2, 2}, c));  // nothing but padding
      check<T>(conv_shape(0, {4, 4}, {3, 3}, c));              // no images
      check<T>(conv_shape(0, {5, 1}, {7, 1}, c));
    }
}

TEST_CASE_TEMPLATE("direct convolution: outputs in several regions, gradients in several parts", T, float,
                   double) {
  const Channels c{8, 32, 1};
  check<T>(conv_shape(2, same_axis(40, 3), same_axis(41, 3), c));  // bands of rows
  check<T>(conv_shape(1, {1, 1}, {5003, 1}, {16, 33, 1}));         // strips of a row
  check<T>(conv_shape(1, {3, 2}, {2999, 3}, {7, 17, 1}));          // both
  check<T>(conv_shape(70, same_axis(6, 3), same_axis(6, 3), {5, 6, 1}));
  check<T>(conv_shape(3, same_axis(60, 5, 2), same_axis(61, 5, 2), {3, 16, 1}));
  check<T>(conv_shape(2, same_axis(50, 3), same_axis(50, 3), {24, 24, 24}));
  check<T>(conv_shape(2, same_axis(30, 3), same_axis(30, 3), {16, 16, 4}));
  // Around 256 pixels a region and, for windows of one row, a partial sum, of which there are at most 8.
  for (int64_t pixels : {255, 256, 257, 511, 512, 513, 1023, 1025, 2047, 2048, 2049, 4097})
    check<T>(conv_shape(1, {1, 1}, {pixels, 1}, {3, 5, 1}));
  // Around 1,024 pixels a partial sum for windows of several rows, and several images a region.
  for (int64_t batch : {15, 16, 17, 31, 32, 33, 127, 129})
    check<T>(conv_shape(batch, same_axis(8, 3), same_axis(8, 3), {3, 5, 1}));
  for (int64_t width : {15, 16, 17, 22, 23, 31, 32, 33, 511, 513})
    check<T>(conv_shape(width > 100 ? 1 : 3, same_axis(width > 100 ? 3 : width, 3), same_axis(width, 3),
                        {2, 3, 1}));
}

TEST_CASE_TEMPLATE("direct convolution: random shapes", T, float, double) {
  const WithThreads one(1);
  std::mt19937_64 random(20240607);
  auto from = [&](std::initializer_list<int64_t> values) { return values.begin()[random() % values.size()]; };
  for (int round = 0; round < 500; ++round) {
    const int64_t groups = from({1, 1, 1, 2, 3, 5});
    const Channels c{groups * from({1, 2, 3, 5, 8, 13}), groups * from({1, 2, 3, 4, 7, 16, 17, 33}), groups};
    check<T>(conv_shape(from({1, 1, 2, 3}), random_axis(from), random_axis(from), c));
  }
}

TEST_CASE_TEMPLATE("direct convolution: a stride past the last window moves nothing", T, float, double) {
  const WithThreads one(1);
  const int64_t most = std::numeric_limits<int64_t>::max();
  for (int64_t stride : {int64_t{4}, int64_t{100}, int64_t{1} << 40, most})
    for (const Channels& c : {Channels{2, 5, 1}, Channels{3, 3, 3}, Channels{4, 6, 2}}) {
      check<T>(conv_shape(2, {5, 3, stride, 1, 1, 0}, {5, 2, 1, 2, 0, 1}, c));
      check<T>(conv_shape(2, {5, 2, 2, 1, 0, 0}, {5, 3, stride, 1, 0, 1}, c));
      check<T>(conv_shape(2, {5, 1, stride, most}, {5, 1, stride}, c));
      check<T>(conv_shape(2, {5, 5, stride}, {5, 5, stride}, c));
    }
}

// Kernel rows on padding may be left out only where that shows nowhere.
TEST_CASE_TEMPLATE("direct convolution: zeros of padding make NaN of what is not finite", T, float, double) {
  const WithThreads one(1);
  // Few filters, tiles, groups; one image row a region and several.
  for (const Channels& c : {Channels{3, 2, 1}, Channels{5, 33, 1}, Channels{4, 34, 2}})
    for (int64_t size : {3, 9}) {
      const Conv2dShape s = conv_shape(2, same_axis(size, 3), same_axis(9, 3), c);
      const auto count = [](const Shape& shape) { return static_cast<size_t>(element_count(shape, "test")); };
      std::vector<T> x(count(s.x()), T(1)), weights(count(s.weights()), T(1)), y(count(s.y())), dx(x.size()),
          dw(weights.size());
      // Of the kernel's first row, which the first row of outputs has on padding, for the last filter.
      weights[static_cast<size_t>(c.filters - 1)] = std::numeric_limits<T>::infinity();
      conv2d_direct<T>(s, x.data(), weights.data(), {}, y.data());
      CHECK(std::isnan(y[static_cast<size_t>(5 * c.filters + c.filters - 1)]));
      CHECK(std::isfinite(y[static_cast<size_t>(5 * c.filters)]));
      // The first row of inputs meets the kernel's last row on the gradient's padding.
      weights[static_cast<size_t>(c.filters - 1)] = 1;
      weights[weights.size() - 1] = std::numeric_limits<T>::quiet_NaN();
      std::fill(y.begin(), y.end(), T(1));
      conv2d_direct_input_gradient<T>(s, y.data(), weights.data(), {}, dx.data());
      CHECK(std::isnan(dx[static_cast<size_t>(5 * c.channels + c.channels - 1)]));
      // The gradient of the last filter at the first row of outputs.
      y[static_cast<size_t>(5 * c.filters + c.filters - 1)] = std::numeric_limits<T>::infinity();
      conv2d_direct_weight_gradient<T>(s, x.data(), y.data(), dw.data());
      CHECK(std::isnan(dw[static_cast<size_t>(c.filters - 1)]));
      CHECK(std::isfinite(dw[0]));
    }
}
