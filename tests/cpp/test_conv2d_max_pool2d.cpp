// A convolution with a max-pooling behind it, against the two one after the other.
#include "ops/conv2d.h"
#include "ops/conv2d_bfloat16.h"
#include "reference_conv2d.h"

using namespace chainrule;
using namespace reference;

namespace {

// Integers, so that every order of a sum gives the same.
std::vector<float> integers(int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(static_cast<int64_t>(random() % 7) - 3);
  return values;
}

struct Pooled {
  std::vector<float> values, dx, dw;
  std::vector<uint8_t> indices;
  Pooled(const Conv2dShape& s, const Pool2dShape& pool)
      : values(static_cast<size_t>(count(pool.y()))),
        dx(static_cast<size_t>(count(s.x()))),
        dw(static_cast<size_t>(count(s.weights()))),
        indices(values.size()) {}
};

void check(const Conv2dShape& s, const Pool2dShape& pool, bool relu) {
  CAPTURE(text(s));
  CAPTURE(text(pool.height));
  CAPTURE(text(pool.width));
  CAPTURE(pool.ceil_mode);
  const std::vector<float> x = integers(count(s.x()), 1), w = integers(count(s.weights()), 2),
                           bias = integers(s.filters, 3), g = integers(count(pool.y()), 4);
  const Epilogue<float> forward{bias.data(), relu}, back{nullptr, false, x.data()};
  Pooled one(s, pool), two(s, pool);
  conv2d_bfloat16_max_pool2d(s, pool, x.data(), w.data(), forward, one.values.data(), one.indices.data());
  const ScatteredLines lines{pool.geometry(), g.data(), one.indices.data()};
  conv2d_bfloat16_max_pool2d_input_gradient(s, lines, w.data(), back, one.dx.data());
  conv2d_bfloat16_max_pool2d_weight_gradient(s, x.data(), lines, one.dw.data());

  std::vector<float> y(static_cast<size_t>(count(s.y()))), dy(y.size());
  conv2d_bfloat16(s, x.data(), w.data(), forward, y.data());
  max_pool2d(pool, y.data(), two.values.data(), two.indices.data());
  max_pool2d_scatter(pool, g.data(), two.indices.data(), dy.data());
  conv2d_bfloat16_input_gradient(s, dy.data(), w.data(), back, two.dx.data());
  conv2d_bfloat16_weight_gradient(s, x.data(), dy.data(), two.dw.data());
  CHECK(one.values == two.values);
  CHECK(one.indices == two.indices);
  CHECK(one.dx == two.dx);
  CHECK(one.dw == two.dw);
}

Pool2dShape pooling(const Conv2dShape& s, WindowAxis height, WindowAxis width, bool ceil_mode = false) {
  height.input = s.height.output();
  width.input = s.width.output();
  Pool2dShape pool;
  pool.batch = s.batch;
  pool.channels = s.filters;
  pool.height = height;
  pool.width = width;
  pool.ceil_mode = ceil_mode;
  return pool;
}

WindowAxis window(int64_t kernel, int64_t stride, int64_t padding = 0) {
  return {0, kernel, stride, 1, padding, padding};
}

}  // namespace

TEST_CASE("convolution and max-pooling: blocks of several images, of one, of bands") {
  for (int threads : {1, 3}) {
    const WithThreads with(threads);
    for (int64_t size : {3, 7, 15, 31, 40})
      for (int64_t batch : {1, 5}) {
        const Conv2dShape s =
            conv_shape(batch, same_axis(size, 3), same_axis(size, 3), {size < 10 ? 64 : 24, 40, 1});
        check(s, pooling(s, window(2, 2), window(2, 2)), false);
        check(s, pooling(s, window(3, 2), window(3, 2)), true);
      }
  }
}

TEST_CASE("convolution and max-pooling: images of one pixel's windows, a window that covers the image") {
  const WithThreads one(1);
  const Conv2dShape line = conv_shape(2, {9, 1}, {11, 1}, {20, 17, 1}),
                    whole = conv_shape(3, {4, 4}, {4, 4}, {7, 33, 1});
  check(line, pooling(line, window(2, 2), window(3, 3)), true);
  check(whole, pooling(whole, window(1, 1), window(1, 1)), false);
}

TEST_CASE(
    "convolution and max-pooling: images and lines longer than a piece, windows that overlap by lines") {
  const WithThreads one(1);
  const Conv2dShape tall = conv_shape(2, same_axis(90, 3), same_axis(37, 3), {16, 17, 1}),
                    wide = conv_shape(1, same_axis(4, 3), same_axis(4200, 3), {3, 4, 1});
  check(tall, pooling(tall, window(2, 2), window(2, 2)), false);
  check(tall, pooling(tall, window(3, 1, 2), window(3, 1, 2)), true);
  check(tall, pooling(tall, window(7, 1, 3), window(2, 2)), false);
  check(wide, pooling(wide, window(2, 2), window(2, 2)), true);
}

TEST_CASE("convolution and max-pooling: a stride past the last window moves nothing") {
  const WithThreads one(1);
  const Conv2dShape s = conv_shape(2, same_axis(4, 3), same_axis(4, 3), {16, 16, 1});
  for (int64_t stride : {int64_t{5}, int64_t{1} << 40, int64_t{1} << 62, std::numeric_limits<int64_t>::max()})
    for (bool ceil_mode : {false, true}) {
      check(s, pooling(s, window(2, stride), window(2, 2), ceil_mode), false);
      check(s, pooling(s, window(2, 2), window(2, stride), ceil_mode), true);
    }
}

TEST_CASE(
    "convolution and max-pooling: bits are the same on 1, 2 and 5 threads, and nothing beside outputs is "
    "written") {
  for (int64_t size : {7, 15, 60}) {
    const Conv2dShape s = conv_shape(9, same_axis(size, 3), same_axis(size, 3), {24, 40, 1});
    const Pool2dShape pool = pooling(s, window(2, 2), window(2, 2));
    const auto x = normal<float>(count(s.x()), 1), w = normal<float>(count(s.weights()), 2),
               g = normal<float>(count(pool.y()), 3);
    std::vector<std::vector<float>> first;
    for (int threads : {1, 2, 5}) {
      const WithThreads with(threads);
      Guarded<float> values(count(pool.y())), dx(count(s.x())), dw(count(s.weights()));
      Guarded<uint8_t> indices(count(pool.y()));
      conv2d_bfloat16_max_pool2d(s, pool, x.data(), w.data(), {}, values.data(), indices.data());
      const ScatteredLines lines{pool.geometry(), g.data(), indices.data()};
      conv2d_bfloat16_max_pool2d_input_gradient(s, lines, w.data(), {}, dx.data());
      conv2d_bfloat16_max_pool2d_weight_gradient(s, x.data(), lines, dw.data());
      CHECK((values.intact() && indices.intact() && dx.intact() && dw.intact()));
      const std::vector<std::vector<float>> all = {values.values(), dx.values(), dw.values()};
      if (threads == 1) first = all;
      CHECK(all == first);
    }
  }
}

TEST_CASE("convolution and max-pooling: NaN wins, in the window that holds it") {
  const WithThreads one(1);
  const Conv2dShape s = conv_shape(1, {6, 1}, {6, 1}, {16, 16, 1});
  const Pool2dShape pool = pooling(s, window(2, 2), window(2, 2));
  std::vector<float> x = integers(count(s.x()), 1), w = integers(count(s.weights()), 2);
  x[(2 * 6 + 3) * 16] = std::numeric_limits<float>::quiet_NaN();  // row 2, column 3: window (1, 1), place 1
  std::vector<float> values(static_cast<size_t>(count(pool.y())));
  std::vector<uint8_t> indices(values.size());
  conv2d_bfloat16_max_pool2d(s, pool, x.data(), w.data(), {}, values.data(), indices.data());
  for (size_t i = 0; i < values.size(); ++i) {
    const bool here = i / 16 == 4;
    CHECK(std::isnan(values[i]) == here);
    if (here) CHECK(indices[i] == 1);
  }
}

TEST_CASE("convolution and max-pooling as one pays in bfloat16, but not where much would be computed again") {
  auto pays = [](const Conv2dShape& s, const WindowAxis& height, const WindowAxis& width) {
    return conv2d_max_pool2d_pays(s, pooling(s, height, width));
  };
  auto shape = [](Channels c, int64_t width = 30) { return conv_shape(2, {30, 1}, {width, 1}, c); };
  CHECK(pays(shape({16, 16, 1}), window(2, 2), window(2, 2)));
  CHECK(pays(shape({16, 16, 1}), window(3, 1), window(9, 1)));
  CHECK_FALSE(pays(shape({16, 16, 1}), window(4, 1), window(2, 2)));  // windows that overlap by three lines
  CHECK_FALSE(pays(shape({16, 16, 1}, 513), window(2, 2), window(2, 2)));  // long lines
  CHECK_FALSE(pays(shape({15, 16, 1}), window(2, 2), window(2, 2)));       // which stay in float32
  CHECK_FALSE(pays(shape({16, 15, 1}), window(2, 2), window(2, 2)));
  CHECK_FALSE(pays(shape({32, 32, 2}), window(2, 2), window(2, 2)));
  CHECK_FALSE(pays(shape({16, 16, 1}), window(17, 17), window(16, 16)));  // indices of more than a byte
}

TEST_CASE("convolution and max-pooling: random shapes") {
  const WithThreads one(1);
  std::mt19937_64 random(20260211);
  auto from = [&](std::initializer_list<int64_t> values) { return values.begin()[random() % values.size()]; };
  for (int round = 0; round < 300; ++round) {
    const Channels c{from({1, 3, 16, 17, 33}), from({1, 4, 16, 33, 40}), 1};
    auto axis = [&] {
      const int64_t kernel = from({1, 2, 3, 5});
      return WindowAxis{from({5, 6, 9, 14, 21}), kernel,          from({1, 1, 2, 3}),
                        from({1, 1, 2}),         from({0, 1, 2}), from({0, 1, 2})};
    };
    const Conv2dShape s = conv_shape(from({1, 2, 3}), axis(), axis(), c);
    if (!fits(s.height) || !fits(s.width)) continue;
    auto pool_axis = [&](int64_t size) {
      const int64_t kernel = std::min(size, from({1, 2, 3}));
      return window(kernel, from({1, 2, 3, 4}), std::min(kernel - 1, from({0, 0, 1})));
    };
    check(s, pooling(s, pool_axis(s.height.output()), pool_axis(s.width.output()), round % 2 != 0),
          round % 3 == 0);
  }
}

TEST_CASE("convolution and max-pooling in float64 and at full precision are the two one after the other") {
  const WithThreads one(1);
  const Conv2dShape s = conv_shape(2, same_axis(8, 3), same_axis(8, 3), {16, 20, 1});
  const Pool2dShape pool = pooling(s, window(2, 2), window(2, 2));
  const std::vector<double> x = normal<double>(count(s.x()), 1), w = normal<double>(count(s.weights()), 2),
                            g = normal<double>(count(pool.y()), 3);
  std::vector<double> y(static_cast<size_t>(count(s.y()))), dy(y.size()), values(g.size()), pooled(g.size()),
      dx(x.size()), dx2(x.size()), dw(w.size()), dw2(w.size());
  std::vector<uint8_t> indices(g.size()), indices2(g.size());
  conv2d_max_pool2d(s, pool, x.data(), w.data(), {}, values.data(), indices.data(), Precision::bfloat16);
  conv2d_max_pool2d_input_gradient(s, pool, g.data(), indices.data(), w.data(), {}, dx.data(),
                                   Precision::full);
  conv2d_max_pool2d_weight_gradient(s, pool, x.data(), g.data(), indices.data(), dw.data(), Precision::full);
  conv2d(s, x.data(), w.data(), {}, y.data());
  max_pool2d(pool, y.data(), pooled.data(), indices2.data());
  max_pool2d_scatter(pool, g.data(), indices2.data(), dy.data());
  conv2d_input_gradient(s, dy.data(), w.data(), {}, dx2.data());
  conv2d_weight_gradient(s, x.data(), dy.data(), dw2.data());
  CHECK(values == pooled);
  CHECK(indices == indices2);
  CHECK(dx == dx2);
  CHECK(dw == dw2);
  Pool2dShape wide = pool;
  wide.height.input = 9;
  CHECK_THROWS_WITH_AS(
      conv2d_max_pool2d(s, wide, x.data(), w.data(), {}, values.data(), indices.data(), Precision::full),
      doctest::Contains("conv2d_max_pool2d: pooling of (2, 9, 8, 20) for outputs of (2, 8, 8, 20)"),
      std::invalid_argument);
  const Conv2dShape large = conv_shape(1, {20, 1}, {20, 1}, {1, 1, 1});
  const Pool2dShape windows = pooling(large, window(17, 1), window(16, 1));
  CHECK_THROWS_WITH_AS(
      conv2d_max_pool2d(large, windows, x.data(), w.data(), {}, values.data(), indices.data(),
                        Precision::full),
      doctest::Contains("conv2d_max_pool2d: pooling by windows of 17 x 16: give at most 256"),
      std::invalid_argument);
}
