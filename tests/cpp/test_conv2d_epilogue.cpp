// What is done to a convolution's outputs on their way to memory: bias, max(0, .), and what NaN does.
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

constexpr Pass with_epilogue[] = {Pass::forward, Pass::input_gradient};

constexpr std::pair<int64_t, int64_t> winograd_variants[] = {{3, 1}, {3, 2}, {5, 1}};  // kernel, stride

// One for each way in which outputs reach memory: tiles, merged or not, whole and partial panels, depthwise,
// flattened, and pixels that no sample reaches.
std::vector<Conv2dShape> shapes() {
  std::vector<Conv2dShape> all;
  for (int64_t channels : {1, 3, 8, 16, 17, 33}) {
    const Channels plain{3, channels, 1}, back{channels, 3, 1}, depthwise{channels, channels, channels};
    for (const Channels& c : {plain, back, depthwise, Channels{2 * channels, 4, 2}}) {
      all.push_back(conv_shape(2, same_axis(5, 3), same_axis(7, 3), c));
      all.push_back(conv_shape(1, {6, 3, 2, 1, 1, 0}, {9, 2, 1, 3, 0, 2}, c));
      all.push_back(conv_shape(1, {7, 2, 5, 1, 4, 3}, {8, 3, 4, 1, 0, 0}, c));  // gaps between windows
      all.push_back(conv_shape(3, {4, 1}, {5, 1}, c));
      all.push_back(conv_shape(3, {4, 4}, {3, 3}, c));
      all.push_back(conv_shape(1, {0, 2, 1, 1, 2, 1}, {3, 1}, c));
    }
  }
  all.push_back(conv_shape(2, same_axis(3, 3), same_axis(3, 3), {0, 5, 1}));
  all.push_back(conv_shape(2, same_axis(3, 3), same_axis(3, 3), {5, 0, 1}));
  return all;
}

bool relu_of(int options) { return options >= 2; }
bool bias_of(int options) { return options % 2 == 1; }

}  // namespace

TEST_CASE_TEMPLATE("direct convolution adds the bias and cuts at 0", T, float, double) {
  const WithThreads one(1);
  for (const Conv2dShape& s : shapes())
    for (Pass pass : with_epilogue)
      for (int options = 0; options < 4; ++options) {
        CAPTURE(pass_name(pass));
        CAPTURE(text(s));
        CAPTURE(options);
        CHECK(check_exact(direct<T>, pass, s, bias_of(options), relu_of(options)) == "");
      }
}

TEST_CASE_TEMPLATE("Winograd adds the bias and cuts at 0", T, float, double) {
  const WithThreads one(1);
  for (const auto& [kernel, stride] : winograd_variants)
    for (int64_t size : {1, 2, 3, 5, 8})
      for (int64_t channels : {1, 3, 16, 17, 33})
        for (Pass pass : with_epilogue) {
          const Conv2dShape s = conv_shape(2, same_axis(size, kernel, stride),
                                           same_axis(size + 1, kernel, stride), {channels, 34 - channels, 1});
          if (pass == Pass::input_gradient && !has_winograd_input_gradient(s)) continue;
          const Sizes n = sizes(pass, s);
          const Unaligned<T> left(small_integers<T>(n.left, 1)), right(small_integers<T>(n.right, 2)),
              bias(small_integers<T>(n.out_channels, 3, 30));
          const std::vector<T> sums = plain_convolution<T>(pass, s, left.data(), right.data());
          for (int options = 0; options < 4; ++options) {
            Guarded<T> out(n.out);
            winograd<T>.run(pass, s, left.data(), right.data(),
                            {bias_of(options) ? bias.data() : nullptr, relu_of(options)}, out.data());
            CAPTURE(pass_name(pass));
            CAPTURE(text(s));
            CAPTURE(options);
            CHECK(out.intact());
            CHECK(difference(
                      out.data(), n.out,
                      [&](int64_t i) -> long double {
                        const T value = sums[static_cast<size_t>(i)] +
                                        (bias_of(options) ? bias.data()[i % n.out_channels] : T(0));
                        return relu_of(options) && value <= T(0) ? T(0) : value;
                      },
                      [](int64_t) { return 2e5L * epsilon<T>; }) == "");
          }
        }
}

TEST_CASE_TEMPLATE(
    "a NaN of the input reaches each output that meets it, through max(0, .) too, and no other", T, float,
    double) {
  const WithThreads one(1);
  for (const Conv2dShape& s : shapes())
    for (Pass pass : passes) {
      const Sizes n = sizes(pass, s);
      if (n.left == 0 || n.out == 0) continue;
      std::vector<T> values = small_integers<T>(n.left, 1);
      values[values.size() / 2] = quiet_nan<T>;
      if (pass != Pass::weight_gradient) values.back() = quiet_nan<T>;
      const Unaligned<T> left(values), right(small_integers<T>(n.right, 2));
      const std::vector<T> sums = plain_convolution<T>(pass, s, left.data(), right.data());
      for (bool relu : {false, true}) {
        if (relu && pass == Pass::weight_gradient) continue;
        Guarded<T> out(n.out);
        direct<T>.run(pass, s, left.data(), right.data(), {nullptr, relu}, out.data());
        CAPTURE(pass_name(pass));
        CAPTURE(text(s));
        CHECK(difference(out.data(), n.out, [&](int64_t i) -> long double {
                const T value = sums[static_cast<size_t>(i)];
                return relu && value <= T(0) ? T(0) : value;
              }) == "");
      }
    }
}

TEST_CASE_TEMPLATE("a NaN of the bias fills its channel and no other", T, float, double) {
  const WithThreads one(1);
  for (const Conv2dShape& s : shapes())
    for (Pass pass : with_epilogue)
      for (bool relu : {false, true}) {
        const Sizes n = sizes(pass, s);
        if (n.out_channels == 0) continue;
        const std::vector<T> left(static_cast<size_t>(n.left)), right(static_cast<size_t>(n.right));
        std::vector<T> bias(static_cast<size_t>(n.out_channels), T(2));
        const int64_t chosen = n.out_channels / 2;
        bias[static_cast<size_t>(chosen)] = quiet_nan<T>;
        Guarded<T> out(n.out);
        direct<T>.run(pass, s, left.data(), right.data(), {bias.data(), relu}, out.data());
        CAPTURE(pass_name(pass));
        CAPTURE(text(s));
        CHECK(difference(out.data(), n.out, [&](int64_t i) -> long double {
                return i % n.out_channels == chosen ? quiet_nan<T> : T(2);
              }) == "");
      }
}

TEST_CASE_TEMPLATE("Winograd lets NaN through to every output that meets it", T, float, double) {
  const WithThreads one(1);
  for (const auto& [kernel, stride] : winograd_variants)
    for (Pass pass : passes)
      for (bool relu : {false, true}) {
        const Conv2dShape s =
            conv_shape(2, same_axis(17, kernel, stride), same_axis(21, kernel, stride), {5, 18, 1});
        if (pass == Pass::input_gradient && !has_winograd_input_gradient(s)) continue;
        const Sizes n = sizes(pass, s);
        std::vector<T> left = normal<T>(n.left, 1);
        const std::vector<T> right = normal<T>(n.right, 2);
        left[left.size() / 3] = quiet_nan<T>;
        const std::vector<T> sums = plain_convolution<T>(pass, s, left.data(), right.data());
        std::vector<T> out(sums.size());
        winograd<T>.run(pass, s, left.data(), right.data(), {nullptr, relu}, out.data());
        int64_t lost = 0, numbers = 0;
        for (size_t i = 0; i < out.size(); ++i) {
          lost += std::isnan(sums[i]) && !std::isnan(out[i]);
          numbers += !std::isnan(out[i]);
        }
        CHECK(lost == 0);
        CHECK(numbers > 0);  // other tiles, or for weights other channels
      }
}

TEST_CASE_TEMPLATE("the way back through bias and relu", T, float, double) {
  for (int64_t filters : {0, 1, 3, 4, 15, 16, 17, 33})
    for (int64_t pixels :
         {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{5}, int64_t{1000}, 33000 / (filters + 1)}) {
      const int64_t n = pixels * filters;
      std::vector<T> outputs = small_integers<T>(n, 2);
      for (size_t i = 0; i < outputs.size(); i += 7) outputs[i] = quiet_nan<T>;
      const Unaligned<T> dy(small_integers<T>(n, 1)), y(outputs);
      Guarded<T> dz(n), dbias(filters);
      epilogue_gradient<T>(pixels, filters, dy.data(), y.data(), dz.data(), dbias.data());
      CAPTURE(pixels);
      CAPTURE(filters);
      CHECK((dz.intact() && dbias.intact()));
      std::vector<T> sums(static_cast<size_t>(filters));
      CHECK(difference(dz.data(), n, [&](int64_t i) -> long double {
              const T passed = y.data()[i] > T(0) ? dy.data()[i] : T(0);
              sums[static_cast<size_t>(i % filters)] += passed;
              return passed;
            }) == "");
      CHECK(difference(dbias.data(), filters,
                       [&](int64_t i) -> long double { return sums[static_cast<size_t>(i)]; }) == "");
    }
}
