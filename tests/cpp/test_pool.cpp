// Max and average pooling with their adjoints against plain loops over windows.
#include "ops/pool.h"
#include "reference_pool.h"

using namespace chainrule;
using namespace reference;

namespace {

template <class T, class Index>
void check_max(const Pool2dShape& s, const std::vector<T>& data) {
  CAPTURE(text(s));
  CHECK(s.y() == Shape{s.batch, windows(s.height, s.ceil_mode), windows(s.width, s.ceil_mode), s.channels});
  const Unaligned<T> x(data);
  const int64_t outputs = count(s.y()), inputs = count(s.x());
  Guarded<T> values(outputs);
  std::vector<Index> indices(static_cast<size_t>(outputs + 2), Index(77));
  max_pool2d<T, Index>(s, x.data(), values.data(), indices.data() + 1);
  std::vector<T> expected;
  std::vector<Index> places;
  plain_max<Index>(s, x.data(), expected, places);
  CHECK(values.intact());
  CHECK(difference(values.data(), outputs,
                   [&](int64_t i) -> long double { return expected[static_cast<size_t>(i)]; }) == "");
  CHECK((indices.front() == Index(77) && indices.back() == Index(77)));
  indices = std::vector<Index>(indices.begin() + 1, indices.end() - 1);
  CHECK(indices == places);

  const Unaligned<T> dy(small_integers<T>(outputs, 6)), other(small_integers<T>(inputs, 7));
  Guarded<T> dx(inputs), gathered(outputs);
  max_pool2d_scatter<T, Index>(s, dy.data(), indices.data(), dx.data());
  max_pool2d_gather<T, Index>(s, other.data(), indices.data(), gathered.data());
  std::vector<T> scattered(static_cast<size_t>(inputs)), chosen(static_cast<size_t>(outputs));
  each_meeting(s, [&](int64_t window, int64_t k, int64_t pixel) {
    for (int64_t c = 0; c < s.channels; ++c) {
      const int64_t from = window * s.channels + c, to = pixel * s.channels + c;
      if (static_cast<int64_t>(indices[static_cast<size_t>(from)]) != k) continue;
      scattered[static_cast<size_t>(to)] += dy.data()[from];
      chosen[static_cast<size_t>(from)] = other.data()[to];
    }
  });
  CHECK(dx.intact());
  CHECK(gathered.intact());
  CHECK(difference(dx.data(), inputs,
                   [&](int64_t i) -> long double { return scattered[static_cast<size_t>(i)]; }) == "");
  CHECK(difference(gathered.data(), outputs,
                   [&](int64_t i) -> long double { return chosen[static_cast<size_t>(i)]; }) == "");
}

template <class T>
void check_average(const Pool2dShape& s) {
  CAPTURE(text(s));
  const int64_t outputs = count(s.y()), inputs = count(s.x());
  const Unaligned<T> x(small_integers<T>(inputs, 1)), dy(small_integers<T>(outputs, 2));
  Guarded<T> y(outputs), dx(inputs);
  average_pool2d<T>(s, x.data(), y.data());
  average_pool2d_adjoint<T>(s, dy.data(), dx.data());
  const std::vector<int64_t> divisor = divisors(s);
  std::vector<long double> means(static_cast<size_t>(outputs)), back(static_cast<size_t>(inputs)),
      size = back;
  each_meeting(s, [&](int64_t window, int64_t, int64_t pixel) {
    const auto share = 1 / static_cast<long double>(divisor[static_cast<size_t>(window)]);
    for (int64_t c = 0; c < s.channels; ++c) {
      const auto out = static_cast<size_t>(window * s.channels + c),
                 in = static_cast<size_t>(pixel * s.channels + c);
      means[out] += share * x.data()[in];
      back[in] += share * dy.data()[out];
      size[in] += share * std::fabs(dy.data()[out]);
    }
  });
  CHECK(y.intact());
  CHECK(dx.intact());
  // Sums of integers are exact; the share and its product are rounded.
  CHECK(difference(
            y.data(), outputs, [&](int64_t i) { return means[static_cast<size_t>(i)]; },
            [&](int64_t i) {
              return 1.1L * epsilon<T> * std::fabs(means[static_cast<size_t>(i)]) + 1e-18L;
            }) == "");
  const int64_t most = s.height.kernel * s.width.kernel;
  CHECK(difference(
            dx.data(), inputs, [&](int64_t i) { return back[static_cast<size_t>(i)]; },
            [&](int64_t i) {
              return (2 + static_cast<long double>(most)) / 2 * epsilon<T> * size[static_cast<size_t>(i)] +
                     1e-18L;
            }) == "");
}

std::vector<Pool2dShape> shapes() {
  std::vector<WindowAxis> axes;
  for (int64_t input : {1, 2, 5, 8, 13})
    for (int64_t kernel : {1, 2, 3, 5})
      for (int64_t stride : {1, 2, 3, 7})
        for (int64_t before : {0, 1, 3})
          for (int64_t after : {0, 1, 4}) {
            const WindowAxis a{input, kernel, stride, 1, before, after};
            if (before < kernel && after < kernel && fits(a)) axes.push_back(a);
          }
  const int64_t channels[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 0};
  std::vector<Pool2dShape> all;
  for (size_t i = 0; i < axes.size(); ++i)
    for (int64_t again = 0; again < 2; ++again) {
      Pool2dShape s;
      s.batch = i % 11 == 10 ? 0 : 1 + static_cast<int64_t>(i % 2);
      s.height = axes[i];
      s.width = axes[(i * 101 + static_cast<size_t>(again)) % axes.size()];
      s.channels = channels[(i + 5 * static_cast<size_t>(again)) % 16];
      s.ceil_mode = (i / 2 + static_cast<size_t>(again)) % 2 == 1;
      s.count_include_pad = i % 3 != 0;
      all.push_back(s);
    }
  return all;
}

}  // namespace

TEST_CASE_TEMPLATE("max pooling of every window, with its scatter and gather", T, float, double) {
  const WithThreads one(1);
  for (const Pool2dShape& s : shapes()) {
    // Few values, so that ties abound; now and then NaN, and rows of -inf alone.
    std::vector<T> x = small_integers<T>(count(s.x()), 1, 2);
    for (size_t i = 0; i < x.size(); i += 29) x[i] = quiet_nan<T>;
    for (size_t i = x.size() / 2; i < x.size(); ++i)
      if (!std::isnan(x[i])) x[i] = -infinity<T>;
    check_max<T, uint8_t>(s, x);
    check_max<T, int32_t>(s, small_integers<T>(count(s.x()), 2));
  }
}

TEST_CASE_TEMPLATE("average pooling of every window, with its adjoint", T, float, double) {
  const WithThreads one(1);
  for (const Pool2dShape& s : shapes()) check_average<T>(s);
}

TEST_CASE_TEMPLATE("pooling of random shapes", T, float, double) {
  std::mt19937_64 random(20240713);
  auto from = [&](std::initializer_list<int64_t> values) { return values.begin()[random() % values.size()]; };
  auto axis = [&] {
    WindowAxis a;
    do {
      a = {from({1, 2, 3, 4, 5, 7, 11, 12, 13, 17, 23}), from({1, 2, 2, 3, 3, 4, 5, 7, 17}),
           from({1, 1, 2, 2, 3, 5, 19})};
      a.before = static_cast<int64_t>(random()) & 7;
      a.after = from({0, 0, 1, 2, 3, 6, 16});
    } while (a.before >= a.kernel || a.after >= a.kernel || !fits(a));
    return a;
  };
  for (int round = 0; round < 400; ++round) {
    Pool2dShape s;
    s.batch = from({0, 1, 1, 2, 3});
    s.channels = from({0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 31, 33, 65});
    s.height = axis();
    s.width = axis();
    s.ceil_mode = random() % 2 == 0;
    s.count_include_pad = random() % 2 == 0;
    const WithThreads scope(round % 4 == 0 ? 3 : 1);
    const std::vector<T> x = small_integers<T>(count(s.x()), random(), 3);
    if (!s.wide_indices()) check_max<T, uint8_t>(s, x);
    check_max<T, int32_t>(s, x);
    check_average<T>(s);
  }
}

TEST_CASE_TEMPLATE("pooling of large windows, whole images and many rows", T, float, double) {
  check_max<T, uint8_t>(square(1, 20, 3, 16, 3, 0), normal<T>(1200, 1));
  check_max<T, uint8_t>(square(2, 16, 17, 16, 16, 15), normal<T>(2 * 256 * 17, 2));
  check_max<T, int32_t>(square(1, 20, 3, 17, 2, 8), normal<T>(1200, 3));
  check_max<T, int32_t>(square(1, 40, 2, 40, 40, 0), normal<T>(3200, 4));
  check_max<T, uint8_t>(square(8, 64, 16, 2, 2, 0), normal<T>(8 * 64 * 64 * 16, 5));
  check_max<T, uint8_t>(square(4, 40, 20, 3, 2, 1), normal<T>(4 * 40 * 40 * 20, 6));
  check_average<T>(square(1, 40, 2, 40, 40, 0));
  check_average<T>(square(8, 48, 16, 2, 2, 0));
  check_average<T>(square(4, 40, 20, 3, 2, 1));
  CHECK_FALSE(square(1, 20, 1, 16, 1, 0).wide_indices());
  CHECK(square(1, 20, 1, 17, 1, 0).wide_indices());
}

TEST_CASE_TEMPLATE("max pooling: NaN wins, the first of equals is taken, -inf alone gives a valid index", T,
                   float, double) {
  const Pool2dShape s = square(1, 2, 1, 2, 2, 0);
  auto pooled = [&](std::vector<T> x) {
    T value;
    uint8_t index;
    max_pool2d<T, uint8_t>(s, x.data(), &value, &index);
    return std::pair<T, int>(value, index);
  };
  const T nan = quiet_nan<T>, inf = infinity<T>;
  CHECK(pooled({1, 3, 3, 2}) == std::pair<T, int>(3, 1));
  CHECK(pooled({-inf, -inf, -inf, -inf}) == std::pair<T, int>(-inf, 0));
  CHECK(pooled({-inf, -inf, -inf, 5}) == std::pair<T, int>(5, 3));
  CHECK(pooled({inf, nan, inf, nan}).second == 1);
  CHECK(std::isnan(pooled({inf, nan, inf, nan}).first));
  CHECK(pooled({nan, 1, 2, nan}).second == 0);
  CHECK(pooled({nan, nan, nan, nan}).second == 0);
  CHECK(pooled({T(0), -T(0), T(0), T(0)}).second == 0);
}

TEST_CASE_TEMPLATE("an index outside its window or image is met nowhere by scatter, refused by gather", T,
                   float, double) {
  for (int64_t channels : {1, 5, 16, 40})
    for (int64_t stride : {1, 2, 3}) {
      const Pool2dShape s = square(1, 5, channels, 2, stride, 1);
      const int64_t outputs = count(s.y()), inputs = count(s.x());
      const std::vector<T> dy(static_cast<size_t>(outputs), T(1));
      Guarded<T> dx(inputs), y(outputs);
      const std::vector<T> x(static_cast<size_t>(inputs), T(1));
      for (int bad : {4, 5, 100, 255}) {
        const std::vector<uint8_t> indices(static_cast<size_t>(outputs), static_cast<uint8_t>(bad));
        max_pool2d_scatter<T, uint8_t>(s, dy.data(), indices.data(), dx.data());
        CHECK(dx.intact());
        CHECK(difference(dx.data(), inputs, [](int64_t) { return 0.0L; }) == "");
        CHECK_THROWS_WITH_AS((max_pool2d_gather<T, uint8_t>(s, x.data(), indices.data(), y.data())),
                             doctest::Contains("of window 0 lies outside the image"), std::invalid_argument);
      }
      for (int bad : {-1, 4, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()}) {
        const std::vector<int32_t> indices(static_cast<size_t>(outputs), bad);
        max_pool2d_scatter<T, int32_t>(s, dy.data(), indices.data(), dx.data());
        CHECK(difference(dx.data(), inputs, [](int64_t) { return 0.0L; }) == "");
        CHECK_THROWS_AS((max_pool2d_gather<T, int32_t>(s, x.data(), indices.data(), y.data())),
                        std::invalid_argument);
      }
      // The first window's first pixel is padding: index 0 lies within the window, outside the image.
      std::vector<uint8_t> indices(static_cast<size_t>(outputs), 3);
      indices[0] = 0;
      CHECK_THROWS_AS((max_pool2d_gather<T, uint8_t>(s, x.data(), indices.data(), y.data())),
                      std::invalid_argument);
      max_pool2d_scatter<T, uint8_t>(s, dy.data(), indices.data(), dx.data());
      CHECK(dx.intact());
    }
}

TEST_CASE_TEMPLATE("pooling gives the same bits on 1, 2, 3 and 8 threads", T, float, double) {
  const Pool2dShape s = square(6, 33, 24, 3, 2, 1);
  const std::vector<T> x = normal<T>(count(s.x()), 1), dy = normal<T>(count(s.y()), 2);
  auto all = [&](int threads) {
    const WithThreads scope(threads);
    std::vector<T> out(2 * dy.size() + 2 * x.size());
    std::vector<uint8_t> indices(dy.size());
    T *values = out.data(), *means = values + dy.size(), *scattered = means + dy.size(),
      *spread = scattered + x.size();
    max_pool2d<T, uint8_t>(s, x.data(), values, indices.data());
    max_pool2d_scatter<T, uint8_t>(s, dy.data(), indices.data(), scattered);
    average_pool2d<T>(s, x.data(), means);
    average_pool2d_adjoint<T>(s, dy.data(), spread);
    return out;
  };
  const std::vector<T> alone = all(1);
  for (int threads : {2, 3, 8}) CHECK(same_bits(all(threads), alone));
}

TEST_CASE("a pooling shape that is unsound is refused") {
  auto refusal = [](const Pool2dShape& s) -> std::string {
    try {
      check_pool2d("max_pool2d", s);
      return "";
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
  };
  const int64_t most = std::numeric_limits<int64_t>::max();
  CHECK(refusal(square(2, 5, 3, 2, 2, 1)).empty());
  CHECK(refusal(square(0, 5, 3, 2, 2, 1)).empty());
  CHECK(refusal(square(2, 5, 0, 2, 2, 1)).empty());
  CHECK(refusal(square(2, 5, 3, 2, 0, 0)) == "max_pool2d: stride 0 along the height: give 1 or more");
  CHECK(refusal(square(2, 5, 3, 2, -1, 0)) == "max_pool2d: stride -1 along the height: give 1 or more");
  CHECK(refusal(square(2, 5, 3, 0, 1, 0)) == "max_pool2d: kernel size 0 along the height: give 1 or more");
  CHECK(
      refusal(square(2, 5, 3, 6, 1, 0)) ==
      "max_pool2d: a kernel of 6 with dilation 1 spans 6, the padded height is 5: pad more or use a smaller "
      "kernel");
  CHECK(refusal(square(2, 5, 3, 2, 1, 2)) ==
        "max_pool2d: padding 2 is not below the window's size 2: a window would hold padding alone");
  CHECK(refusal(square(2, 5, 3, 2, 1, -1)) == "max_pool2d: padding -1 along the height: give 0 or more");
  CHECK(refusal(square(-1, 5, 3, 2, 1, 0)) == "max_pool2d: negative size");
  CHECK(refusal(square(2, 0, 3, 2, 1, 1)) == "max_pool2d: the image (2, 0, 0, 3) has no pixels");
  for (const Pool2dShape& s :
       {square(most, 5, 3, 2, 1, 0), square(2, most, 3, 2, 1, 0), square(2, 5, most, 2, 1, 0),
        square(0, int64_t{1} << 32, 3, 2, 1, 0), square(2, int64_t{1} << 32, 0, 2, 1, 0),
        square(1, int64_t{1} << 28, 1, int64_t{1} << 28, 1, 0), square(2, 5, 3, most, 1, most - 1)})
    CHECK(refusal(s).find("overflow") != std::string::npos);
}

TEST_CASE_TEMPLATE("pooling with a stride past the last window, and of images without channels", T, float,
                   double) {
  const int64_t most = std::numeric_limits<int64_t>::max();
  for (bool ceil_mode : {false, true})
    for (int64_t stride : {int64_t{6}, int64_t{1} << 40, most}) {
      Pool2dShape s = square(2, 5, 3, 3, 1, 1);
      s.height.stride = s.width.stride = stride;
      s.ceil_mode = ceil_mode;
      CHECK(s.y() == Shape{2, 1, 1, 3});
      std::vector<T> x = normal<T>(count(s.x()), 1), y(6), dx(x.size());
      uint8_t indices[6];
      max_pool2d<T, uint8_t>(s, x.data(), y.data(), indices);
      max_pool2d_scatter<T, uint8_t>(s, y.data(), indices, dx.data());
      average_pool2d<T>(s, x.data(), y.data());
      average_pool2d_adjoint<T>(s, y.data(), dx.data());
      CHECK(indices[0] >= 4);
    }
  // Sizes without end that hold nothing take no time.
  const Pool2dShape s = square(int64_t{1} << 40, 5, 0, 2, 1, 0);
  max_pool2d<T, uint8_t>(s, nullptr, nullptr, nullptr);
  max_pool2d_scatter<T, uint8_t>(s, nullptr, nullptr, nullptr);
  max_pool2d_gather<T, uint8_t>(s, nullptr, nullptr, nullptr);
  average_pool2d<T>(s, nullptr, nullptr);
  average_pool2d_adjoint<T>(s, nullptr, nullptr);
}
