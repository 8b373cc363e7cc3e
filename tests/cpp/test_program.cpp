// Programs against the operations that their steps stand for, called one after the other.
#include "ops/program.h"

#include "ops/matmul.h"
#include "reference.h"

using namespace chainrule;
using namespace reference;

namespace {

template <class T>
std::vector<T> numbers(int64_t count, int seed) {
  std::vector<T> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<T>(static_cast<int>((i * 37 + static_cast<size_t>(seed) * 11) % 13) - 6) / T(4);
  return values;
}

Conv2dShape convolution() {
  Conv2dShape s;
  s.channels = 2;
  s.filters = 3;
  s.height = {6, 3, 1, 1, 1, 1};
  s.width = {5, 2, 1, 1, 0, 1};
  return s;
}

Pool2dShape pooling() {
  Pool2dShape pool;
  pool.channels = 3;
  pool.height = {6, 2, 2, 1, 0, 0};
  pool.width = {5, 2, 2, 1, 0, 0};
  return pool;
}

}  // namespace

TEST_CASE_TEMPLATE("program: convolution, pooling, reshaping and a product, for any batch", T, float,
                   double) {
  const Conv2dShape s = convolution();
  const Pool2dShape pool = pooling();
  const auto w = numbers<T>(element_count(s.weights(), "test"), 1), b = numbers<T>(s.filters, 2),
             v = numbers<T>(18 * 4, 3), c = numbers<T>(4, 4);
  Program<T> program({6, 5, 2});
  const int64_t y = program.conv2d(0, s, w.data(), b.data(), true, Precision::full);
  const int64_t pooled = program.max_pool2d(y, pool);
  CHECK(program.shape(pooled) == Shape{3, 2, 3});
  const int64_t flat = program.reshape(pooled, {18});
  const int64_t scores = program.linear(flat, 18, 4, v.data(), c.data(), false, Precision::full);
  CHECK(program.shape(scores) == Shape{4});
  CHECK(program.work() > s.work());
  for (int64_t batch : {1, 2, 7}) {
    const auto x = numbers<T>(batch * 60, 5);
    std::vector<T> out(static_cast<size_t>(batch * 4)), expected(out.size());
    program.run(batch, x.data(), out.data());
    Conv2dShape all = s;
    Pool2dShape pools = pool;
    all.batch = pools.batch = batch;
    std::vector<T> convolved(static_cast<size_t>(element_count(all.y(), "test"))),
        largest(static_cast<size_t>(element_count(pools.y(), "test")));
    std::vector<uint8_t> indices(largest.size());
    conv2d_direct<T>(all, x.data(), w.data(), {b.data(), true}, convolved.data());
    max_pool2d<T>(pools, convolved.data(), largest.data(), indices.data());
    matmul<T>({largest.data(), {batch, 18}, {18, 1}}, {v.data(), {18, 4}, {4, 1}}, expected.data(),
              {c.data(), false});
    CHECK(out == expected);  // quarters: exact whatever the order of the sums
  }
}

TEST_CASE_TEMPLATE("program: values that are read late, twice and through views", T, float, double) {
  Program<T> program({4});
  const T three = 3;
  const int64_t square = program.binary(BinaryOp::multiply, 0, 0);
  const int64_t view = program.reshape(square, {2, 2});
  const int64_t sums = program.sum(view, 1, 2);
  const int64_t again = program.reshape(view, {4});
  const int64_t total = program.binary(BinaryOp::subtract, again, 0);
  const int64_t from = program.binary_constant(BinaryOp::subtract, total, {&three, {}}, true);
  CHECK(program.shape(sums) == Shape{2});
  program.reshape(from, {1, 4});
  const std::vector<T> x{1, 2, 3, 4, -1, 0, 5, 2};
  std::vector<T> out(8);
  program.run(2, x.data(), out.data());
  CHECK(out == std::vector<T>{3, 1, -3, -9, 1, 3, -17, 1});  // 3 - (x^2 - x)
}

TEST_CASE_TEMPLATE("program: no steps, and no samples", T, float, double) {
  Program<T> same({2, 2});
  const std::vector<T> x{1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<T> out(8);
  same.run(2, x.data(), out.data());
  CHECK(out == x);
  same.unary(UnaryOp::negate, 0);
  same.run(0, nullptr, nullptr);
}

TEST_CASE_TEMPLATE("program: steps that do not fit are refused", T, float, double) {
  Program<T> program({6, 5, 2});
  const std::vector<T> w(1000);
  const Conv2dShape s = convolution();
  Conv2dShape other = s;
  other.height.input = 7;
  CHECK_THROWS_AS(program.conv2d(0, other, w.data(), nullptr, false, Precision::full), std::invalid_argument);
  other = s;
  other.batch = 2;
  CHECK_THROWS_AS(program.conv2d(0, other, w.data(), nullptr, false, Precision::full), std::invalid_argument);
  other = s;
  other.width.stride = 0;
  CHECK_THROWS_AS(program.conv2d(0, other, w.data(), nullptr, false, Precision::full), std::invalid_argument);
  CHECK_THROWS_AS(program.conv2d(1, s, w.data(), nullptr, false, Precision::full), std::invalid_argument);
  CHECK_THROWS_AS(program.conv_transpose2d(0, s, w.data(), nullptr, Precision::full), std::invalid_argument);
  CHECK_THROWS_AS(program.conv2d_max_pool2d(0, s, Pool2dShape{}, w.data(), nullptr, false, Precision::full),
                  std::invalid_argument);
  CHECK_THROWS_AS(program.max_pool2d(0, pooling()), std::invalid_argument);
  CHECK_THROWS_AS(program.average_pool2d(0, pooling()), std::invalid_argument);
  CHECK_THROWS_AS(program.linear(0, 3, 4, w.data(), nullptr, false, Precision::full), std::invalid_argument);
  for (int64_t size : {-1, 0, 3, 5, 20, 7, 120})
    CHECK_THROWS_AS(program.layer_norm(0, size, w.data(), w.data(), 0), std::invalid_argument);
  CHECK_THROWS_AS(program.layer_norm(0, 2, w.data(), nullptr, 0), std::invalid_argument);
  CHECK_THROWS_AS(program.standardise(0, w.data(), nullptr, w.data(), Activation::none),
                  std::invalid_argument);
  CHECK_THROWS_AS(program.sum(0, 1, 1), std::invalid_argument);
  CHECK_THROWS_AS(program.sum(0, -1, 1), std::invalid_argument);
  CHECK_THROWS_AS(program.extreme(Extreme::max, 0, 2, 4), std::invalid_argument);
  CHECK_THROWS_AS(program.softmax(SoftmaxOutput::softmax, 0, 3, 4), std::invalid_argument);
  CHECK_THROWS_AS(program.reshape(0, {6, 5}), std::invalid_argument);
  CHECK_THROWS_AS(program.binary(BinaryOp::add, 0, program.reshape(0, {60})), std::invalid_argument);
  CHECK_THROWS_AS(program.binary_constant(BinaryOp::add, 0, {w.data(), {3}}, false), std::invalid_argument);
  CHECK_THROWS_AS(program.binary_constant(BinaryOp::add, 0, {w.data(), {2, 6, 5, 2}}, false),
                  std::invalid_argument);
  CHECK_THROWS_AS(program.unary(UnaryOp::exp, -1), std::invalid_argument);
  CHECK_THROWS_AS(Program<T>({-1}), std::invalid_argument);
  CHECK_THROWS_AS(Program<T>({}).standardise(0, w.data(), w.data(), w.data(), Activation::none),
                  std::invalid_argument);
  CHECK(program.values() == 2);  // the input and the reshape
}
