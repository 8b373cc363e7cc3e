// The order of a convolution's sums: the error bound of the direct algorithm, and the same bits for any
// number of threads.
#include "ops/conv2d_direct.h"
#include "ops/conv2d_winograd.h"
#include "reference_conv2d.h"

using namespace chainrule;
using namespace reference;

namespace {

template <class T>
constexpr Convolution<T> direct{"direct", conv2d_direct<T>, conv2d_direct_input_gradient<T>,
                                conv2d_direct_weight_gradient<T>};
template <class T>
constexpr Convolution<T> winograd{"winograd", conv2d_winograd<T>, conv2d_winograd_input_gradient<T>,
                                  conv2d_winograd_weight_gradient<T>};

// float32 is held to sums in float64, float64 to those in long double.
template <class T>
using Wider = std::conditional_t<sizeof(T) == 4, double, long double>;

template <class T>
std::vector<T> result(const Convolution<T>& convolution, Pass pass, const Conv2dShape& s) {
  const Sizes n = sizes(pass, s);
  const std::vector<T> left = normal<T>(n.left, 1), right = normal<T>(n.right, 2),
                       bias = normal<T>(n.out_channels, 3);
  std::vector<T> out(static_cast<size_t>(n.out));
  convolution.run(pass, s, left.data(), right.data(), {bias.data(), false}, out.data());
  return out;
}

template <class T>
void check_threads(const Convolution<T>& convolution, const Conv2dShape& s) {
  for (Pass pass : passes) {
    if (pass == Pass::input_gradient && &convolution == &winograd<T> && !has_winograd_input_gradient(s))
      continue;
    auto on_threads = [&](int threads) {
      const WithThreads scope(threads);
      return result(convolution, pass, s);
    };
    const std::vector<T> alone = on_threads(1);
    for (int threads : {2, 3, 8}) {
      CAPTURE(convolution.name);
      CAPTURE(pass_name(pass));
      CAPTURE(text(s));
      CAPTURE(threads);
      CHECK(same_bits(on_threads(threads), alone));
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("direct convolution: an output is off by at most a rounding for each product", T, float,
                   double) {
  const Conv2dShape shapes[] = {conv_shape(2, same_axis(13, 3), same_axis(13, 3), {33, 17, 1}),
                                conv_shape(2, same_axis(13, 5, 2), same_axis(13, 3, 2), {3, 40, 1}),
                                conv_shape(9, {1, 1}, {1, 1}, {700, 20, 1}),
                                conv_shape(3, {30, 1}, {31, 1}, {5, 6, 1}),
                                conv_shape(5, {6, 6}, {5, 5}, {12, 9, 1}),
                                conv_shape(2, same_axis(25, 3), same_axis(25, 3), {20, 20, 20}),
                                conv_shape(4, {12, 3, 1, 2, 3, 0}, {11, 3, 2, 1, 0, 4}, {6, 12, 3}),
                                conv_shape(60, same_axis(9, 3), same_axis(9, 3), {2, 3, 1})};
  for (const Conv2dShape& s : shapes)
    for (Pass pass : passes) {
      const Sizes n = sizes(pass, s);
      const std::vector<T> left = normal<T>(n.left, 1), right = normal<T>(n.right, 2);
      std::vector<T> out(static_cast<size_t>(n.out));
      direct<T>.run(pass, s, left.data(), right.data(), {}, out.data());
      using Sum = Wider<T>;
      const auto sums = plain_convolution<Sum>(pass, s, left.data(), right.data());
      const auto absolute = plain_convolution<Sum>(pass, s, left.data(), right.data(), true);
      const std::vector<T> ones_left(left.size(), T(1)), ones_right(right.size(), T(1));
      const auto terms = plain_convolution<Sum>(pass, s, ones_left.data(), ones_right.data());
      CAPTURE(pass_name(pass));
      CAPTURE(text(s));
      CHECK(difference(
                out.data(), n.out, [&](int64_t i) -> long double { return sums[static_cast<size_t>(i)]; },
                [&](int64_t i) -> long double {
                  const auto at = static_cast<size_t>(i);
                  return (terms[at] + 1) * (epsilon<T> / 2) * absolute[at] * (1 + 1e-3L);
                }) == "");
    }
}

TEST_CASE_TEMPLATE("convolutions give the same bits on 1, 2, 3 and 8 threads", T, float, double) {
  // Several regions, parts of sums, panels, and phases of the strided gradient.
  check_threads(direct<T>, conv_shape(2, same_axis(40, 3), same_axis(37, 3), {16, 40, 1}));
  check_threads(direct<T>, conv_shape(3, same_axis(41, 5, 2), same_axis(40, 5, 2), {3, 48, 1}));
  check_threads(direct<T>, conv_shape(64, {8, 1}, {8, 1}, {20, 33, 1}));
  check_threads(direct<T>, conv_shape(64, {4, 4}, {4, 4}, {30, 33, 1}));
  check_threads(direct<T>, conv_shape(2, same_axis(64, 3), same_axis(64, 3), {40, 40, 40}));
  check_threads(direct<T>, conv_shape(8, same_axis(20, 3), same_axis(20, 3), {12, 24, 3}));
  // Blocks handed out whole, blocks by panels, and several passes of the weight gradient.
  check_threads(winograd<T>, conv_shape(4, same_axis(32, 3), same_axis(30, 3), {24, 40, 1}));
  check_threads(winograd<T>, conv_shape(1, same_axis(16, 3), same_axis(16, 3), {48, 100, 1}));
  check_threads(winograd<T>, conv_shape(20, same_axis(2, 3), same_axis(2, 3), {33, 70, 1}));
  check_threads(winograd<T>, conv_shape(2, same_axis(64, 3, 2), same_axis(65, 3, 2), {24, 40, 1}));
  check_threads(winograd<T>, conv_shape(2, same_axis(24, 5), same_axis(23, 5), {17, 40, 1}));
  check_threads(winograd<T>, conv_shape(2, same_axis(200, 3), same_axis(220, 3), {1, 2, 1}));
}

TEST_CASE_TEMPLATE("a convolution of one image is that image's part of a batch", T, float, double) {
  // Each output's sum has one order, whatever else is computed beside it.
  const Conv2dShape batch = conv_shape(5, same_axis(11, 3), same_axis(9, 3), {26, 35, 1});
  Conv2dShape single = batch;
  single.batch = 1;
  const int64_t x = count(single.x()), y = count(single.y());
  const std::vector<T> values = normal<T>(5 * x, 1), weights = normal<T>(count(batch.weights()), 2);
  for (const Convolution<T>& convolution : {direct<T>, winograd<T>}) {
    std::vector<T> together(static_cast<size_t>(5 * y)), alone(together.size());
    convolution.forward(batch, values.data(), weights.data(), {}, together.data());
    for (int64_t n = 0; n < 5; ++n)
      convolution.forward(single, values.data() + n * x, weights.data(), {}, alone.data() + n * y);
    CAPTURE(convolution.name);
    CHECK(same_bits(together, alone));
  }
}
