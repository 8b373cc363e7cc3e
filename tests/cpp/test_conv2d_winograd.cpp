// Winograd's convolution and its two gradients against plain loops: the error bounds that its header gives,
// on every way in which tiles, blocks of tiles and passes can be cut.
#include "ops/conv2d_winograd.h"
#include "reference_conv2d.h"

using namespace chainrule;
using namespace reference;

namespace {

template <class T>
constexpr Convolution<T> winograd{"winograd", conv2d_winograd<T>, conv2d_winograd_input_gradient<T>,
                                  conv2d_winograd_weight_gradient<T>};

// Which tiles the operation takes: 4 x 4 where its outputs are at most 2 x 2.
bool small_tiles(Pass pass, const Conv2dShape& s) {
  if (s.height.kernel == 5 || s.height.stride == 2) return false;
  const Shape out = pass == Pass::input_gradient ? s.x() : s.y();
  return std::max(out[1], out[2]) <= 2;
}

// The header's bounds, relative to the largest output.
template <class T>
constexpr long double bounds[2] = {sizeof(T) == 4 ? 5e-5L : 1e-13L, sizeof(T) == 4 ? 5e-6L : 1e-14L};

template <class T, class Sum>
std::string check_normal(Pass pass, const Conv2dShape& s, uint64_t seed) {
  const Sizes n = sizes(pass, s);
  const Unaligned<T> left(normal<T>(n.left, seed)), right(normal<T>(n.right, seed + 1));
  Guarded<T> out(n.out);
  winograd<T>.run(pass, s, left.data(), right.data(), {}, out.data());
  if (!out.intact()) return "wrote outside of its result";
  const std::vector<Sum> sums = plain_convolution<Sum>(pass, s, left.data(), right.data());
  Sum largest = 0;
  for (Sum value : sums) largest = std::max(largest, std::fabs(value));
  return difference(
      out.data(), n.out, [&](int64_t i) -> long double { return sums[static_cast<size_t>(i)]; },
      [&](int64_t) { return bounds<T>[small_tiles(pass, s)] * largest; });
}

// float32 is held to sums in float64, float64 to those in long double.
template <class T>
using Wider = std::conditional_t<sizeof(T) == 4, double, long double>;

template <class T>
void check(const Conv2dShape& s, uint64_t seed = 1) {
  REQUIRE(has_winograd(s));
  for (Pass pass : passes) {
    if (pass == Pass::input_gradient && !has_winograd_input_gradient(s)) continue;
    const std::string wrong = check_normal<T, Wider<T>>(pass, s, seed);
    if (wrong.empty()) continue;
    CAPTURE(pass_name(pass));
    CAPTURE(text(s));
    CHECK(wrong == "");
  }
}

WindowAxis axis(int64_t input, int64_t kernel, int64_t before, int64_t after, int64_t stride = 1) {
  return {input, kernel, stride, 1, before, after};
}

// Kernel and stride of each variant.
constexpr std::pair<int64_t, int64_t> variants[] = {{3, 1}, {3, 2}, {5, 1}};

}  // namespace

TEST_CASE_TEMPLATE("Winograd: every size around tiles, every padding", T, float, double) {
  const WithThreads one(1);
  for (const auto& [kernel, stride] : variants)
    for (int64_t height = 1; height <= 10 * stride; ++height)
      for (int64_t width : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 17, 18, 19})
        for (int64_t before = 0; before < kernel; ++before) {
          const WindowAxis h = axis(height, kernel, before, (before + height) % kernel, stride),
                           w = axis(width, kernel, (before * 2 + width) % kernel, kernel - 1 - before,
                                    stride);
          if (fits(h) && fits(w)) check<T>(conv_shape(1 + height % 2, h, w, {3, 2, 1}));
        }
}

TEST_CASE_TEMPLATE("Winograd: channels and filters around vectors, panels and register tiles", T, float,
                   double) {
  const WithThreads one(1);
  for (int64_t channels : {1, 2, 3, 5, 6, 7, 11, 12, 13, 16, 17, 24, 31, 32, 33})
    for (int64_t filters : {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65}) {
      check<T>(conv_shape(1, same_axis(5, 3), same_axis(6, 3), {channels, filters, 1}));  // 8 x 8
      check<T>(conv_shape(1, same_axis(4, 3), same_axis(3, 3), {channels, filters, 1}));  // 6 x 6
      check<T>(conv_shape(2, same_axis(2, 3), same_axis(1, 3), {channels, filters, 1}));
      check<T>(conv_shape(1, same_axis(6, 3, 2), same_axis(9, 3, 2), {channels, filters, 1}));
      if (channels > 13) continue;
      check<T>(conv_shape(1, same_axis(4, 5), same_axis(3, 5), {channels, filters, 1}));  // 8 x 8
      check<T>(conv_shape(1, same_axis(2, 5), same_axis(2, 5), {channels, filters, 1}));  // 6 x 6
    }
}

TEST_CASE_TEMPLATE("Winograd: numbers of tiles around register tiles and blocks of them", T, float, double) {
  for (int64_t tiles : {1, 5, 6, 7, 11, 12, 13, 23, 24, 25, 47, 48, 49, 71, 72, 73, 143, 144, 145})
    for (const auto& [kernel, stride] : variants) {
      const int64_t row = (kernel == 3 ? 4 : 2) * tiles * stride + kernel - stride;
      check<T>(conv_shape(1, axis(kernel, kernel, 0, 0, stride), axis(row, kernel, 0, 0, stride), {2, 3, 1}));
      check<T>(conv_shape(tiles, same_axis(2, kernel, stride), same_axis(2, kernel, stride), {2, 3, 1}));
      check<T>(conv_shape(tiles, same_axis(3, kernel, stride), same_axis(2, kernel, stride), {17, 5, 1}));
    }
  // So many channels that a block holds the fewest tiles, and so many blocks that they are handed out whole.
  check<T>(conv_shape(3, same_axis(12, 3), same_axis(13, 3), {230, 9, 1}));
  check<T>(conv_shape(3, same_axis(12, 3), same_axis(13, 3), {9, 230, 1}));
  check<T>(conv_shape(3, same_axis(60, 3), same_axis(61, 3), {3, 5, 1}));
  check<T>(conv_shape(2, same_axis(40, 5), same_axis(41, 5), {3, 5, 1}));
  check<T>(conv_shape(3, same_axis(100, 3, 2), same_axis(81, 3, 2), {3, 5, 1}));
  check<T>(conv_shape(2, same_axis(23, 3, 2), same_axis(24, 3, 2), {150, 9, 1}));
}

TEST_CASE_TEMPLATE("Winograd: weight gradients summed over several passes", T, float, double) {
  check<T>(conv_shape(1, same_axis(300, 3), same_axis(301, 3), {1, 1, 1}));
  check<T>(conv_shape(2, same_axis(107, 5), same_axis(103, 5), {1, 2, 1}));
  check<T>(conv_shape(5000, same_axis(2, 3), same_axis(2, 3), {5, 3, 1}));
  check<T>(conv_shape(1, same_axis(500, 3, 2), same_axis(501, 3, 2), {1, 1, 1}));
}

TEST_CASE_TEMPLATE("Winograd: the bound holds for layers of nets", T, float, double) {
  for (uint64_t seed : {1, 2}) {
    check<T>(conv_shape(1, same_axis(16, 3), same_axis(16, 3), {64, 64, 1}), seed);
    check<T>(conv_shape(2, same_axis(8, 3), same_axis(8, 3), {96, 32, 1}), seed);
    check<T>(conv_shape(2, same_axis(12, 3), same_axis(6, 3), {96, 32, 1}), seed);
    check<T>(conv_shape(9, same_axis(2, 5), same_axis(2, 5), {32, 32, 1}), seed);
    check<T>(conv_shape(4, same_axis(2, 3), same_axis(2, 3), {64, 64, 1}), seed);
    check<T>(conv_shape(1, same_axis(14, 5), same_axis(14, 5), {32, 32, 1}), seed);
    check<T>(conv_shape(1, same_axis(32, 3, 2), same_axis(32, 3, 2), {64, 64, 1}), seed);
  }
}
