// Convolution and its gradients with operands rounded to bfloat16, against plain loops over rounded operands.
#include "kernels/table.h"
#include "ops/conv2d_bfloat16.h"
#include "ops/conv2d_winograd.h"
#include "reference_bfloat16.h"
#include "reference_conv2d.h"
#include "runtime/features.h"

using namespace chainrule;
using namespace reference;

namespace {

constexpr Convolution<float> bfloat16{"bfloat16", conv2d_bfloat16, conv2d_bfloat16_input_gradient,
                                      conv2d_bfloat16_weight_gradient};

// Integers, which bfloat16 holds: any error shows as a wrong number.
void check(const Conv2dShape& s, bool with_bias = false, bool relu = false) {
  for (Pass pass : passes) {
    const bool epilogue = pass != Pass::weight_gradient;
    const std::string wrong = check_exact(bfloat16, pass, s, with_bias && epilogue, relu && epilogue);
    if (wrong.empty()) continue;
    CAPTURE(pass_name(pass));
    CAPTURE(text(s));
    CHECK(wrong == "");
  }
  CHECK(true);
}

// Each of the four epilogues in turn.
void check_in_turn(const Conv2dShape& s, size_t turn) { check(s, turn & 1, turn & 2); }

std::vector<float> result(Pass pass, const Conv2dShape& s) {
  const Sizes n = sizes(pass, s);
  const std::vector<float> left = normal<float>(n.left, 1), right = normal<float>(n.right, 2),
                           bias = normal<float>(n.out_channels, 3);
  std::vector<float> out(static_cast<size_t>(n.out));
  bfloat16.run(pass, s, left.data(), right.data(), {bias.data(), false}, out.data());
  return out;
}

}  // namespace

TEST_CASE("bfloat16 convolution: widths around blocks of rows, filters around panels") {
  const WithThreads one(1);
  // Blocks are 4, 12 or 32 pixels, panels 8, 16 or 32 filters; in the gradient of the input channels take
  // their place.
  size_t turn = 0;
  for (int64_t width : {1, 2, 3, 4, 5, 7, 11, 12, 13, 15, 16, 17, 23, 25, 31, 32, 33, 65})
    for (int64_t filters : {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 49}) {
      check_in_turn(conv_shape(1, same_axis(2, 2), same_axis(width, 3), {2, filters, 1}), turn++);
      check_in_turn(conv_shape(1, same_axis(1, 1), same_axis(width, 2), {filters, 3, 1}), turn++);
    }
}

TEST_CASE(
    "bfloat16 convolution: channels around the depth of a step, blocks of channels of the weights' "
    "gradient") {
  const WithThreads one(1);
  size_t turn = 0;
  for (int64_t channels : {1, 2, 3, 5, 11, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 129})
    for (int64_t filters : {1, 4, 17, 33})
      for (int64_t stride : {1, 2})
        check_in_turn(conv_shape(2, same_axis(3, 2), same_axis(7, 3, stride), {channels, filters, 1}),
                      turn++);
}

TEST_CASE("bfloat16 convolution: every window on every axis") {
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
  const Channels all[] = {{1, 1, 1}, {2, 3, 1}, {3, 2, 1}, {9, 9, 1}, {2, 34, 1}, {17, 1, 1}, {33, 5, 1}};
  for (size_t i = 0; i < axes.size(); ++i)
    check_in_turn(conv_shape(static_cast<int64_t>(i % 7 == 6 ? 0 : 1 + i % 2), axes[i],
                             axes[i * 1009 % axes.size()], all[i % (sizeof all / sizeof *all)]),
                  i / 3);
}

TEST_CASE("bfloat16 convolution: windows of one sample and windows that cover the image") {
  const WithThreads one(1);
  size_t turn = 0;
  for (int64_t channels : {1, 3, 16, 33})
    for (int64_t filters : {1, 5, 32}) {
      const Channels c{channels, filters, 1};
      for (const Conv2dShape& s :
           {conv_shape(3, {5, 1}, {7, 1}, c),              // a product of all pixels
            conv_shape(3, {5, 1, 2}, {7, 1, 3}, c),        // strided
            conv_shape(2, {5, 1, 1, 9}, {7, 1, 1, 4}, c),  // a dilation without meaning
            conv_shape(2, {4, 1, 1, 1, 1, 0}, {3, 1}, c),  // padded
            conv_shape(5, {4, 4}, {3, 3}, c),              // covered
            conv_shape(5, {4, 4, 3}, {3, 3, 9}, c),        // covered, strides without meaning
            conv_shape(2, {4, 4}, {4, 2}, c),              // covered along one axis
            conv_shape(2, {3, 2, 1, 2}, {3, 3}, c),        // covered with holes
            conv_shape(2, {1, 1, 5, 3}, {3, 3, 2, 1}, c),  // an axis of one
            conv_shape(2, {3, 3, 1, 1, 1, 1}, {3, 3}, c),  // padded beyond
            conv_shape(2, {0, 1, 1, 1, 1, 1}, {2, 2}, c),  // nothing but padding
            conv_shape(0, {4, 4}, {3, 3}, c),              // no images
            conv_shape(0, {5, 1}, {7, 1}, c)})
        check_in_turn(s, turn++);
    }
}

TEST_CASE("bfloat16 convolution: a stride past the last window moves nothing") {
  const WithThreads one(1);
  const int64_t most = std::numeric_limits<int64_t>::max();
  const Channels c{2, 5, 1};
  for (int64_t stride : {int64_t{4}, int64_t{100}, int64_t{1} << 40, most})
    for (bool bias : {false, true}) {
      check(conv_shape(2, {5, 3, stride, 1, 1, 0}, {5, 2, 1, 2, 0, 1}, c), bias);
      check(conv_shape(2, {5, 2, 2, 1, 0, 0}, {5, 3, stride, 1, 0, 1}, c), bias);
      check(conv_shape(2, {5, 1, stride, most}, {5, 1, stride}, c), bias);
      check(conv_shape(2, {5, 5, stride}, {5, 5, stride}, c), bias);
    }
}

TEST_CASE("bfloat16 convolution: outputs in several regions, gradients in several pieces and passes") {
  const Channels c{8, 32, 1};
  check(conv_shape(2, same_axis(40, 3), same_axis(41, 3), c), true, true);  // bands of rows
  check(conv_shape(1, {1, 1}, {5003, 1}, {16, 33, 1}));                     // strips of a row
  check(conv_shape(1, {3, 2}, {2999, 3}, {7, 17, 1}));                      // both
  check(conv_shape(70, same_axis(6, 3), same_axis(6, 3), {5, 6, 1}));       // groups of images
  check(conv_shape(301, same_axis(7, 3, 2), same_axis(7, 3, 2), {3, 5, 1}));
  check(conv_shape(77, {7, 3, 1, 2, 2, 1}, {7, 3, 1, 2, 2, 1}, {3, 5, 1}));
  check(conv_shape(3, same_axis(60, 3), same_axis(61, 3), {2, 3, 1}));
  check(conv_shape(3, same_axis(60, 5, 2), same_axis(61, 5, 2), {3, 16, 1}));
  // Around a piece; and pieces so large, or so many, that they are packed in several passes.
  for (int64_t pixels : {1023, 1025, 2047, 2048, 2049}) check(conv_shape(1, {1, 1}, {pixels, 1}, {3, 5, 1}));
  for (int64_t width : {31, 32, 33})
    check(conv_shape(3, same_axis(width, 3), same_axis(width, 3), {2, 3, 1}));
  check(conv_shape(9, same_axis(16, 2), same_axis(16, 2), {140, 200, 1}));
  check(conv_shape(2, {1, 1}, {1, 1}, {3000, 40, 1}));
}

TEST_CASE("bfloat16 convolution: random shapes") {
  const WithThreads one(1);
  std::mt19937_64 random(20260107);
  auto from = [&](std::initializer_list<int64_t> values) { return values.begin()[random() % values.size()]; };
  for (size_t round = 0; round < 400; ++round) {
    const Channels c{from({1, 2, 3, 5, 8, 13, 16, 17, 31, 33}), from({1, 2, 3, 4, 7, 16, 17, 33}), 1};
    check_in_turn(conv_shape(from({1, 1, 2, 3}), random_axis(from), random_axis(from), c), round);
  }
}

TEST_CASE("bfloat16 convolution: off by a rounding for each sum, and by those of the operands") {
  const Conv2dShape shapes[] = {conv_shape(2, same_axis(13, 3), same_axis(13, 3), {33, 17, 1}),
                                conv_shape(2, same_axis(13, 5, 2), same_axis(13, 3, 2), {3, 40, 1}),
                                conv_shape(9, {1, 1}, {1, 1}, {700, 20, 1}),
                                conv_shape(3, {30, 1}, {31, 1}, {5, 6, 1}),
                                conv_shape(5, {6, 6}, {5, 5}, {12, 9, 1}),
                                conv_shape(4, {12, 3, 1, 2, 3, 0}, {11, 3, 2, 1, 0, 4}, {6, 12, 1}),
                                conv_shape(60, same_axis(9, 3), same_axis(9, 3), {2, 3, 1})};
  for (const Conv2dShape& s : shapes)
    for (Pass pass : passes) {
      const Sizes n = sizes(pass, s);
      const std::vector<float> left = normal<float>(n.left, 1), right = normal<float>(n.right, 2),
                               near_left = to_bfloat16(left), near_right = to_bfloat16(right),
                               ones_left(left.size(), 1.0f), ones_right(right.size(), 1.0f);
      std::vector<float> out(static_cast<size_t>(n.out));
      bfloat16.run(pass, s, left.data(), right.data(), {}, out.data());
      const auto terms = plain_convolution<double>(pass, s, ones_left.data(), ones_right.data());
      auto differ = [&](const std::vector<float>& a, const std::vector<float>& b, auto bound) {
        const auto sums = plain_convolution<double>(pass, s, a.data(), b.data());
        const auto absolute = plain_convolution<double>(pass, s, a.data(), b.data(), true);
        return difference(
            out.data(), n.out, [&](int64_t i) -> long double { return sums[static_cast<size_t>(i)]; },
            [&](int64_t i) {
              const auto at = static_cast<size_t>(i);
              return bound(static_cast<int64_t>(terms[at]), absolute[at]);
            });
      };
      CAPTURE(pass_name(pass));
      CAPTURE(text(s));
      CHECK(differ(near_left, near_right, bfloat16_sum_bound) == "");
      CHECK(differ(left, right, rounded_sum_bound) == "");
    }
}

TEST_CASE(
    "bfloat16 convolution: NaN reaches each output that meets it, and in a weights' gradient no other "
    "channel") {
  const WithThreads one(1);
  for (const Conv2dShape& s :
       {conv_shape(2, same_axis(5, 3), same_axis(7, 3), {17, 33, 1}),
        conv_shape(1, {6, 3, 2, 1, 1, 0}, {9, 2, 1, 3, 0, 2}, {3, 5, 1}),
        conv_shape(1, {7, 2, 5, 1, 4, 3}, {8, 3, 4, 1, 0, 0}, {5, 3, 1}),
        conv_shape(3, {4, 1}, {5, 1}, {33, 8, 1}), conv_shape(3, {4, 4}, {3, 3}, {2, 9, 1})})
    for (Pass pass : passes) {
      const Sizes n = sizes(pass, s);
      std::vector<float> left = small_integers<float>(n.left, 1);
      const std::vector<float> right = small_integers<float>(n.right, 2);
      const size_t place = left.size() / 2;
      left[place] = quiet_nan<float>;
      const std::vector<float> sums = plain_convolution<float>(pass, s, left.data(), right.data());
      for (bool relu : {false, true}) {
        if (relu && pass == Pass::weight_gradient) continue;
        std::vector<float> out(sums.size());
        bfloat16.run(pass, s, left.data(), right.data(), {nullptr, relu}, out.data());
        const auto channel = static_cast<int64_t>(place) % s.channels;
        CAPTURE(pass_name(pass));
        CAPTURE(text(s));
        CHECK(difference(out.data(), n.out, [&](int64_t i) -> long double {
                const float value = sums[static_cast<size_t>(i)];
                // Other samples of the kernel may take it for a product with 0.
                if (pass == Pass::weight_gradient && i / s.filters % s.channels == channel &&
                    std::isnan(out[i]))
                  return quiet_nan<float>;
                return relu && value <= 0 ? 0 : value;
              }) == "");
      }
    }
}

TEST_CASE("bfloat16 convolution: a bias of NaN fills its channel and no other, where no source reaches too") {
  const WithThreads one(1);
  for (const Conv2dShape& s : {conv_shape(2, same_axis(5, 3), same_axis(7, 3), {17, 33, 1}),
                               conv_shape(1, {7, 2, 5, 1, 4, 3}, {8, 3, 4, 1, 0, 0}, {5, 3, 1})})
    for (Pass pass : {Pass::forward, Pass::input_gradient})
      for (bool relu : {false, true}) {
        const Sizes n = sizes(pass, s);
        const std::vector<float> left(static_cast<size_t>(n.left)), right(static_cast<size_t>(n.right));
        std::vector<float> bias(static_cast<size_t>(n.out_channels), 2.0f);
        const int64_t which = n.out_channels / 2;
        bias[static_cast<size_t>(which)] = quiet_nan<float>;
        Guarded<float> out(n.out);
        bfloat16.run(pass, s, left.data(), right.data(), {bias.data(), relu}, out.data());
        CAPTURE(pass_name(pass));
        CHECK(difference(out.data(), n.out, [&](int64_t i) -> long double {
                return i % n.out_channels == which ? quiet_nan<float> : 2.0f;
              }) == "");
      }
}

TEST_CASE("bfloat16 convolutions give the same bits on 1, 2 and 5 threads, and for one image of a batch") {
  for (const Conv2dShape& s :
       {conv_shape(2, same_axis(40, 3), same_axis(37, 3), {16, 40, 1}),
        conv_shape(3, same_axis(41, 5, 2), same_axis(40, 5, 2), {3, 48, 1}),
        conv_shape(64, {8, 1}, {8, 1}, {20, 33, 1}), conv_shape(64, {4, 4}, {4, 4}, {30, 33, 1}),
        conv_shape(9, same_axis(16, 3), same_axis(16, 3), {140, 200, 1})})
    for (Pass pass : passes) {
      auto on_threads = [&](int threads) {
        const WithThreads scope(threads);
        return result(pass, s);
      };
      const std::vector<float> alone = on_threads(1);
      CAPTURE(pass_name(pass));
      CAPTURE(text(s));
      for (int threads : {2, 5}) CHECK(same_bits(on_threads(threads), alone));
      if (pass == Pass::weight_gradient) continue;
      // An image on its own: the values of the first, and the bias and weights of all.
      Conv2dShape single = s;
      single.batch = 1;
      const Sizes all = sizes(pass, s), n = sizes(pass, single);
      const std::vector<float> left = normal<float>(all.left, 1), right = normal<float>(n.right, 2),
                               bias = normal<float>(n.out_channels, 3);
      std::vector<float> first(static_cast<size_t>(n.out));
      bfloat16.run(pass, single, left.data(), right.data(), {bias.data(), false}, first.data());
      CHECK(same_bits(first, {alone.begin(), alone.begin() + n.out}));
    }
}

// ---- The choice of conv2d ---------------------------------------------------------------------------------

TEST_CASE("conv2d rounds where bfloat16 is asked for, on enough channels of one group") {
  const WindowAxis axis = same_axis(9, 3);
  const ConvAlgorithm before = conv_algorithm();
  for (ConvAlgorithm algorithm : {ConvAlgorithm::direct, ConvAlgorithm::automatic}) {
    set_conv_algorithm(algorithm);
    for (const Channels& c :
         {Channels{16, 16, 1}, {64, 48, 1}, {15, 16, 1}, {16, 15, 1}, {32, 32, 2}, {16, 16, 16}})
      for (Pass pass : passes) {
        const Conv2dShape s = conv_shape(2, axis, axis, c);
        const Sizes n = sizes(pass, s);
        const std::vector<float> left = normal<float>(n.left, 1), right = normal<float>(n.right, 2);
        std::vector<float> got(static_cast<size_t>(n.out)), rounded(got.size()), full(got.size());
        chosen<float, Precision::bfloat16>.run(pass, s, left.data(), right.data(), {}, got.data());
        chosen<float>.run(pass, s, left.data(), right.data(), {}, full.data());
        // Mere dot products of bfloat16 are slower than float32 by Winograd.
        const bool winograd = algorithm == ConvAlgorithm::automatic && winograd_pays(s);
        const bool rounds = has_bfloat16(s) && std::min(c.channels, c.filters) >= 16 &&
                            !(winograd && active_isa() == Isa::avx512_bf16);
        if (rounds) bfloat16.run(pass, s, left.data(), right.data(), {}, rounded.data());
        CAPTURE(pass_name(pass));
        CAPTURE(text(s));
        CHECK(same_bits(got, rounds ? rounded : full));
        CHECK(same_bits(got, full) == !rounds);
      }
  }
  set_conv_algorithm(before);
}

TEST_CASE("conv2d of float64 takes no notice of bfloat16") {
  const Conv2dShape s = conv_shape(2, same_axis(9, 3), same_axis(9, 3), {32, 32, 1});
  for (Pass pass : passes) {
    const Sizes n = sizes(pass, s);
    const std::vector<double> left = normal<double>(n.left, 1), right = normal<double>(n.right, 2);
    std::vector<double> got(static_cast<size_t>(n.out)), full(got.size());
    chosen<double, Precision::bfloat16>.run(pass, s, left.data(), right.data(), {}, got.data());
    chosen<double>.run(pass, s, left.data(), right.data(), {}, full.data());
    CHECK(same_bits(got, full));
  }
}
