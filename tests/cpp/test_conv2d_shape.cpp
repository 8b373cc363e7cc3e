// The geometry of convolutions: what is refused, in which words, before any memory is touched; and which
// algorithm a shape gets.
#include "ops/conv2d.h"
#include "ops/conv2d_winograd.h"
#include "reference_conv2d.h"

using namespace chainrule;
using namespace reference;

namespace {

constexpr int64_t most = std::numeric_limits<int64_t>::max();

// What all three operations say of a shape, with no arrays to touch.
std::string refusal(const Conv2dShape& s) {
  std::string first;
  for (int pass = 0; pass < 3; ++pass) {
    const std::string name = pass == 0   ? "conv2d"
                             : pass == 1 ? "conv2d_input_gradient"
                                         : "conv2d_weight_gradient";
    try {
      if (pass == 0)
        conv2d<float>(s, nullptr, nullptr, {}, nullptr);
      else if (pass == 1)
        conv2d_input_gradient<float>(s, nullptr, nullptr, {}, nullptr);
      else
        conv2d_weight_gradient<float>(s, nullptr, nullptr, nullptr);
      return name + " took it";
    } catch (const std::invalid_argument& error) {
      const std::string what = error.what();
      if (what.compare(0, name.size() + 2, name + ": ") != 0) return "does not name the operation: " + what;
      const std::string rest = what.substr(name.size() + 2);
      if (pass > 0 && rest != first) return "two messages: " + first + " / " + rest;
      first = rest;
    }
  }
  return first;
}

std::string refusal(const WindowAxis& height, const WindowAxis& width, const Channels& c = {3, 4, 1}) {
  return refusal(conv_shape(2, height, width, c));
}

bool accepted(const Conv2dShape& s) {
  try {
    check_conv2d("test", s);
    return true;
  } catch (const std::invalid_argument&) {
    return false;
  }
}

}  // namespace

TEST_CASE("the size of a convolution's output") {
  CHECK(WindowAxis{5, 3}.output() == 3);
  CHECK(WindowAxis{5, 3, 2}.output() == 2);
  CHECK(WindowAxis{6, 3, 2}.output() == 2);
  CHECK(WindowAxis{5, 3, 1, 2}.output() == 1);
  CHECK(WindowAxis{5, 3, 1, 2}.span() == 5);
  CHECK(WindowAxis{5, 3, 7, 1, 4, 6}.output() == 2);
  CHECK(WindowAxis{0, 1, 1, 1, 1, 1}.output() == 2);
  CHECK(WindowAxis{0, 1}.output() == 0);
  CHECK(WindowAxis{5, 3, most}.output() == 1);
  const Conv2dShape s = conv_shape(2, {5, 3}, {7, 2}, {4, 6, 2});
  CHECK(s.x() == Shape{2, 5, 7, 4});
  CHECK(s.weights() == Shape{3, 2, 2, 6});
  CHECK(s.y() == Shape{2, 3, 6, 6});
  int64_t products = 0;
  each_product(s, [&](int64_t, int64_t, int64_t) { ++products; });
  CHECK(s.work() == products);
}

TEST_CASE("a convolution whose window is unsound is refused") {
  const WindowAxis sound{7, 3};
  CHECK(refusal({-1, 3}, sound) == "size -1 along the height: give 0 or more");
  CHECK(refusal({7, 0}, sound) == "kernel size 0 along the height: give 1 or more");
  CHECK(refusal(sound, {7, -2}) == "kernel size -2 along the width: give 1 or more");
  CHECK(refusal({7, 3, 0}, sound) == "stride 0 along the height: give 1 or more");
  CHECK(refusal(sound, {7, 3, -1}) == "stride -1 along the width: give 1 or more");
  CHECK(refusal({7, 3, 1, 0}, sound) == "dilation 0 along the height: give 1 or more");
  CHECK(refusal(sound, {7, 3, 1, -5}) == "dilation -5 along the width: give 1 or more");
  CHECK(refusal({7, 3, 1, 1, -1, 0}, sound) == "padding -1 along the height: give 0 or more");
  CHECK(refusal(sound, {7, 3, 1, 1, 0, -1}) == "padding -1 along the width: give 0 or more");
  CHECK(refusal({4, 5}, sound) ==
        "a kernel of 5 with dilation 1 spans 5, the padded height is 4: pad more or use a smaller kernel");
  CHECK(refusal(sound, {4, 3, 1, 4, 2, 2}) ==
        "a kernel of 3 with dilation 4 spans 9, the padded width is 8: pad more or use a smaller kernel");
  CHECK(refusal({1, 1}, {0, 2}) ==
        "a kernel of 2 with dilation 1 spans 2, the padded width is 0: pad more or use a smaller kernel");
  CHECK(accepted(conv_shape(2, {5, 5}, {4, 3, 1, 4, 2, 3}, {3, 4, 1})));
}

TEST_CASE("a convolution whose channels or groups do not fit is refused") {
  const WindowAxis sound{7, 3};
  CHECK(refusal(sound, sound, {-1, 4, 1}) == "negative size in x (2, 7, 7, -1)");
  CHECK(refusal(sound, sound, {3, -4, 1}) == "negative size in x (2, 7, 7, 3)");
  CHECK(refusal(conv_shape(-2, sound, sound, {3, 4, 1})) == "negative size in x (-2, 7, 7, 3)");
  CHECK(refusal(sound, sound, {4, 4, 0}) == "0 groups do not divide 4 channels and 4 filters evenly");
  CHECK(refusal(sound, sound, {4, 4, -2}) == "-2 groups do not divide 4 channels and 4 filters evenly");
  CHECK(refusal(sound, sound, {3, 4, 2}) == "2 groups do not divide 3 channels and 4 filters evenly");
  CHECK(refusal(sound, sound, {4, 3, 2}) == "2 groups do not divide 4 channels and 3 filters evenly");
  CHECK(refusal(sound, sound, {2, 2, most}) ==
        "9223372036854775807 groups do not divide 2 channels and 2 filters evenly");
  CHECK(accepted(conv_shape(2, sound, sound, {0, 0, 7})));
}

TEST_CASE("a convolution whose sizes overflow is refused") {
  const WindowAxis sound{7, 3};
  const int64_t huge = int64_t{1} << 32;
  auto overflows = [](const std::string& what) { return what.find("overflow") != std::string::npos; };
  CHECK(overflows(refusal({7, most, 1, most}, sound)));
  CHECK(overflows(refusal({7, 3, 1, most}, sound)));
  CHECK(overflows(refusal(sound, {7, 3, 1, 1, most, 0})));
  CHECK(overflows(refusal(sound, {7, 3, 1, 1, most, most})));
  CHECK(overflows(refusal(sound, {7, 3, 1, 1, most / 2 - 2, most / 2})));
  CHECK(overflows(refusal({most, 3}, sound)));
  CHECK(overflows(refusal({huge, 3}, {huge, 3})));
  CHECK(overflows(refusal({huge, huge}, {huge, huge})));
  CHECK(overflows(refusal(sound, sound, {most, 1, 1})));
  CHECK(overflows(refusal(sound, sound, {huge, huge, 1})));
  CHECK(overflows(refusal(conv_shape(most, sound, sound, {3, 4, 1}))));
  CHECK(overflows(refusal(conv_shape(huge, {int64_t{1} << 20, 3}, {1, 1}, {1, huge, 1}))));
  // The windows' products, where no single array overflows.
  CHECK(overflows(refusal({int64_t{1} << 31, int64_t{1} << 30}, {int64_t{1} << 10, 1}, {1, 1, 1})));
}

TEST_CASE("a convolution whose image is nearly all padding is refused") {
  const std::string what = refusal({4, 2, 1, 1, 30000, 30000}, {4, 2, 30000, 1, 30000, 30001});
  CHECK(what ==
        "padding makes an image of 4 x 4 one of 60004 x 60005, more than 64 times its size: pad less");
  CHECK(refusal({0, 1, 1, 1, 10000, 10000}, {4, 2, 1, 1, 10000, 10000}).find("pad less") !=
        std::string::npos);
  // Dilation that only such a padding can hold.
  CHECK(refusal({4, 3, 1, 30000, 30000, 30000}, {4, 3, 1, 30000, 30000, 30000}).find("pad less") !=
        std::string::npos);
  // Large padding that costs little is padding like any other, as is that of a large image.
  CHECK(accepted(conv_shape(1, {4, 2, 1, 1, 1000, 1000}, {4, 2, 1, 1, 1000, 1000}, {3, 4, 1})));
  CHECK(accepted(conv_shape(1, {40000, 3, 1, 1, 1, 1}, {40000, 3, 1, 1, 1, 1}, {1, 1, 1})));
  CHECK(accepted(conv_shape(1, {4, 2, 1, 1, 30000, 30000}, {4, 2, 1, 1, 30000, 30000}, {0, 4, 1})));
}

TEST_CASE("a pooling window is checked by the same rules") {
  CHECK_THROWS_WITH_AS(
      check_window("max_pool2d", "width", {4, 5}),
      "max_pool2d: a kernel of 5 with dilation 1 spans 5, the padded width is 4: pad more or "
      "use a smaller kernel",
      std::invalid_argument);
  CHECK_NOTHROW(check_window("max_pool2d", "width", {4, 4, most}));
}

TEST_CASE("convolution algorithms have names") {
  const ConvAlgorithm before = conv_algorithm();
  for (ConvAlgorithm a : {ConvAlgorithm::direct, ConvAlgorithm::winograd, ConvAlgorithm::automatic}) {
    set_conv_algorithm(a);
    CHECK(conv_algorithm() == a);
    CHECK(parse_conv_algorithm(conv_algorithm_name(a)) == a);
  }
  CHECK(std::string(conv_algorithm_name(ConvAlgorithm::automatic)) == "auto");
  CHECK_THROWS_WITH_AS(parse_conv_algorithm("fft"),
                       "set_conv_algorithm: 'fft' is not known: use auto, direct or winograd",
                       std::invalid_argument);
  CHECK_THROWS_AS(parse_conv_algorithm(""), std::invalid_argument);
  set_conv_algorithm(before);
}

TEST_CASE("Winograd exists for 3x3 and 5x5 windows in one group, 3x3 with stride 2 as well") {
  const Channels c{32, 32, 1};
  for (int64_t kernel : {1, 2, 3, 4, 5, 6, 7})
    CHECK(has_winograd(conv_shape(1, same_axis(8, kernel), same_axis(8, kernel), c)) ==
          (kernel == 3 || kernel == 5));
  CHECK_FALSE(has_winograd(conv_shape(1, {8, 3}, {8, 5}, c)));
  CHECK_FALSE(has_winograd(conv_shape(1, {8, 3, 2}, {8, 3}, c)));
  CHECK(has_winograd(conv_shape(1, {8, 3, 2}, {8, 3, 2}, c)));
  CHECK_FALSE(has_winograd_input_gradient(conv_shape(1, {8, 3, 2}, {8, 3, 2}, c)));
  CHECK(has_winograd_input_gradient(conv_shape(1, {8, 3}, {8, 3}, c)));
  CHECK_FALSE(has_winograd(conv_shape(1, {8, 5, 2}, {8, 5, 2}, c)));
  CHECK_FALSE(has_winograd(conv_shape(1, {8, 3, 3}, {8, 3, 3}, c)));
  CHECK_FALSE(has_winograd(conv_shape(1, {8, 3}, {8, 3, 1, 2}, c)));
  CHECK_FALSE(has_winograd(conv_shape(1, {8, 3}, {8, 3}, {32, 32, 2})));
  CHECK(has_winograd(conv_shape(1, {8, 3, 1, 1, 2, 2}, {8, 3, 1, 1, 0, 2}, c)));
  CHECK_FALSE(has_winograd(conv_shape(1, {8, 3, 1, 1, 3, 0}, {8, 3}, c)));
  CHECK_FALSE(has_winograd(conv_shape(0, {8, 3}, {8, 3}, c)));
  CHECK_FALSE(has_winograd(conv_shape(1, {8, 3}, {8, 3}, {0, 32, 1})));
  CHECK_FALSE(has_winograd(conv_shape(1, {8, 3}, {8, 3}, {32, 0, 1})));
  CHECK_FALSE(has_winograd(conv_shape(1, {0, 3, 1, 1, 2, 2}, {8, 3}, c)));
  for (int64_t size : {1, 2, 3, 8})
    for (int64_t channels : {1, 23, 24, 64}) {
      const Conv2dShape s = conv_shape(1, same_axis(size, 3), same_axis(size, 3), {channels, 64, 1});
      CHECK((!winograd_pays(s) || has_winograd(s)));
    }
}

TEST_CASE_TEMPLATE(
    "a convolution runs whatever algorithm is named, and where it does not exist the direct one", T, float,
    double) {
  const ConvAlgorithm before = conv_algorithm();
  const Convolution<T> direct{"direct", conv2d_direct<T>, conv2d_direct_input_gradient<T>,
                              conv2d_direct_weight_gradient<T>};
  const Conv2dShape shapes[] = {conv_shape(2, same_axis(9, 3), same_axis(9, 3), {25, 24, 1}),
                                conv_shape(2, same_axis(9, 5), same_axis(9, 5), {24, 25, 1}),
                                conv_shape(2, same_axis(9, 3, 2), same_axis(9, 3, 2), {24, 24, 1}),
                                conv_shape(2, same_axis(9, 3, 2), same_axis(9, 3, 2), {64, 50, 1}),
                                conv_shape(2, same_axis(9, 3, 2), same_axis(9, 3, 2), {128, 130, 1}),
                                conv_shape(2, same_axis(9, 3), same_axis(9, 3), {24, 24, 3})};
  for (ConvAlgorithm a : {ConvAlgorithm::automatic, ConvAlgorithm::direct, ConvAlgorithm::winograd}) {
    set_conv_algorithm(a);
    for (const Conv2dShape& s : shapes)
      for (Pass pass : passes) {
        const Sizes n = sizes(pass, s);
        const std::vector<T> left = normal<T>(n.left, 1), right = normal<T>(n.right, 2);
        std::vector<T> got(static_cast<size_t>(n.out)), plain(got.size());
        chosen<T>.run(pass, s, left.data(), right.data(), {}, got.data());
        direct.run(pass, s, left.data(), right.data(), {}, plain.data());
        CAPTURE(std::string(conv_algorithm_name(a)));
        CAPTURE(text(s));
        const bool exists = pass == Pass::input_gradient ? has_winograd_input_gradient(s) : has_winograd(s);
        const bool pays =
            sizeof(T) == sizeof(float) &&
            (pass == Pass::weight_gradient ? winograd_weight_gradient_pays(s) : winograd_pays(s));
        const bool winograd =
            exists && (a == ConvAlgorithm::winograd || (a == ConvAlgorithm::automatic && pays));
        CHECK(same_bits(got, plain) == !winograd);
        CHECK(difference(
                  got.data(), n.out, [&](int64_t i) -> long double { return plain[static_cast<size_t>(i)]; },
                  [](int64_t) { return 1e4L * epsilon<T>; }) == "");
      }
  }
  set_conv_algorithm(before);
}
