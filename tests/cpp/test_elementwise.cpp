// Elementwise maps against plain loops: every operation, every length around vectors and chunks,
// broadcasting.
#include <algorithm>
#include <array>

#include "kernels/table.h"
#include "ops/elementwise.h"
#include "reference.h"
#include "reference_activations.h"

using namespace chainrule;
using namespace reference;

namespace {

constexpr int unary_count = static_cast<int>(UnaryOp::count);
constexpr int binary_count = static_cast<int>(BinaryOp::count);

const char* const unary_names[] = {"negate",  "absolute", "sign", "square", "sqrt",
                                   "exp",     "log",      "sin",  "cos",    "tanh",
                                   "sigmoid", "relu",     "gelu", "silu",   "softplus"};
const char* const binary_names[] = {
    "add",           "subtract",      "multiply",      "divide",           "power",
    "maximum",       "minimum",       "relu_gradient", "sigmoid_gradient", "tanh_gradient",
    "gelu_gradient", "silu_gradient", "leaky_relu",    "leaky_relu_slope", "elu",
    "elu_slope"};
static_assert(sizeof unary_names / sizeof *unary_names == unary_count);
static_assert(sizeof binary_names / sizeof *binary_names == binary_count);

template <class T>
long double unary(UnaryOp op, T value) {
  const long double x = value;
  switch (op) {
    case UnaryOp::negate:
      return -x;
    case UnaryOp::absolute:
      return std::fabs(x);
    case UnaryOp::sign:
      return x > 0 ? 1 : x < 0 ? -1 : x;
    case UnaryOp::square:
      return static_cast<T>(value * value);
    case UnaryOp::sqrt:
      return std::sqrt(x);
    case UnaryOp::exp:
      return std::exp(x);
    case UnaryOp::log:
      return std::log(x);
    case UnaryOp::sin:
      return std::sin(x);
    case UnaryOp::cos:
      return std::cos(x);
    case UnaryOp::tanh:
      return std::tanh(x);
    case UnaryOp::sigmoid:
      return 1 / (1 + std::exp(-x));
    case UnaryOp::relu:
      return x <= 0 ? 0 : x;
    case UnaryOp::gelu:
      return gelu(x);
    case UnaryOp::silu:
      return silu(x);
    case UnaryOp::softplus:
      return softplus(x);
    case UnaryOp::count:
      break;
  }
  return quiet_nan<long double>;
}

template <class T>
long double binary(BinaryOp op, T a, T b) {
  const long double x = a, y = b;
  switch (op) {
    case BinaryOp::add:
      return static_cast<T>(a + b);
    case BinaryOp::subtract:
      return static_cast<T>(a - b);
    case BinaryOp::multiply:
      return static_cast<T>(a * b);
    case BinaryOp::divide:
      return static_cast<T>(a / b);
    case BinaryOp::power:
      return std::pow(x, y);
    case BinaryOp::maximum:
      return a >= b || a != a ? a : b;
    case BinaryOp::minimum:
      return a <= b || a != a ? a : b;
    case BinaryOp::relu_gradient:
      return b > T(0) ? a : T(0);
    case BinaryOp::sigmoid_gradient:
      return x * (y * (1 - y));
    case BinaryOp::tanh_gradient:
      return x * (1 - y * y);
    case BinaryOp::gelu_gradient:
      return x * gelu_slope(y);
    case BinaryOp::silu_gradient:
      return x * silu_slope(y);
    case BinaryOp::leaky_relu:
      return a > T(0) ? a : static_cast<T>(a * b);
    case BinaryOp::leaky_relu_slope:
      return x > 0 ? 1 : x != x ? x : y;
    case BinaryOp::elu:
      return x > 0 ? x : y * std::expm1(x);
    case BinaryOp::elu_slope:
      return x > 0 ? 1 : y * std::exp(x);
    case BinaryOp::count:
      break;
  }
  return quiet_nan<long double>;
}

// gelu and silu lose digits on the negative side, where what they multiply by vanishes: test_activations.cpp.
template <class T>
long double unary_bound(UnaryOp op, T x, long double expected) {
  if (op == UnaryOp::gelu || op == UnaryOp::silu)
    return 8 * (1 + static_cast<long double>(x) * x) * unit_in_last_place<T>(expected);
  const bool rounded = op >= UnaryOp::sqrt && op != UnaryOp::relu;
  return rounded ? 4 * unit_in_last_place<T>(expected) : 0;
}

// Rounding of 1 - y y is relative to 1, not to the difference.
template <class T>
long double binary_bound(BinaryOp op, T a, T b, long double expected) {
  const long double x = a, y = b;
  switch (op) {
    case BinaryOp::power:
      return 2 * unit_in_last_place<T>(expected);
    case BinaryOp::sigmoid_gradient:
      return 2 * epsilon<T> * std::fabs(x) * std::fabs(y) * (1 + std::fabs(y));
    case BinaryOp::tanh_gradient:
      return 2 * epsilon<T> * std::fabs(x) * (1 + y * y);
    case BinaryOp::gelu_gradient:
    case BinaryOp::silu_gradient:
      return 4 * epsilon<T> * std::fabs(x);  // the slopes lie between -0.2 and 1.2
    case BinaryOp::elu:
    case BinaryOp::elu_slope:
      return 3 * unit_in_last_place<T>(expected);
    default:
      return 0;
  }
}

// Lengths around vectors of 4 to 16 lanes, and the chunks of operations that cost 1, 2, 4 and 16 units.
const int64_t lengths[] = {0,   1,    2,    3,    4,    5,    7,    8,     9,     11,    15,
                           16,  17,   23,   31,   32,   33,   63,   64,    65,    97,    127,
                           129, 2047, 2048, 2049, 8191, 8192, 8193, 16385, 32767, 32768, 32769};

// Where the result is a whole array: the shapes broadcast by plain index arithmetic.
template <class T>
std::string check_broadcast(BinaryOp op, const Shape& a_shape, const Shape& b_shape, uint64_t seed) {
  const Shape out_shape = broadcast_shape("test", a_shape, b_shape);
  const int64_t n = count(out_shape);
  Guarded<T> a(small_integers<T>(count(a_shape), seed)), b(small_integers<T>(count(b_shape), seed + 1)),
      out(n);
  const Shape a_strides = broadcast_strides(a_shape, out_shape),
              b_strides = broadcast_strides(b_shape, out_shape);
  apply_binary<T>(op, {a.data(), a_shape}, {b.data(), b_shape}, out.data());
  if (!out.intact()) return "wrote outside of its result";
  auto expected = [&](int64_t i) {
    return binary<T>(op, a[offset(i, out_shape, a_strides)], b[offset(i, out_shape, b_strides)]);
  };
  return difference(out.data(), n, expected, [&](int64_t i) {
    return binary_bound<T>(op, a[offset(i, out_shape, a_strides)], b[offset(i, out_shape, b_strides)],
                           expected(i));
  });
}

}  // namespace

TEST_CASE_TEMPLATE("unary maps at every length", T, float, double) {
  for (int64_t n : lengths) {
    const std::vector<T> values = normal<T>(n, static_cast<uint64_t>(n), 3);
    for (int i = 0; i < unary_count; ++i) {
      const auto op = static_cast<UnaryOp>(i);
      Guarded<T> x(values), out(n);
      apply_unary<T>(op, x.data(), out.data(), n);
      CAPTURE(unary_names[i]);
      CAPTURE(n);
      CHECK(out.intact());
      CHECK(same_bits(x.values(), values));
      CHECK(difference(
                out.data(), n, [&](int64_t k) { return unary<T>(op, x[k]); },
                [&](int64_t k) { return unary_bound<T>(op, x[k], unary<T>(op, x[k])); }) == "");
    }
  }
}

TEST_CASE_TEMPLATE("a unary map may write over its argument", T, float, double) {
  const std::vector<T> x = normal<T>(1003, 5);
  for (int i = 0; i < unary_count; ++i) {
    std::vector<T> apart(x.size()), over = x;
    apply_unary<T>(static_cast<UnaryOp>(i), x.data(), apart.data(), 1003);
    apply_unary<T>(static_cast<UnaryOp>(i), over.data(), over.data(), 1003);
    CAPTURE(unary_names[i]);
    CHECK(same_bits(apart, over));
  }
}

TEST_CASE_TEMPLATE("binary maps of equal shapes and of a number at every length", T, float, double) {
  for (int64_t n : lengths)
    for (int i = 0; i < binary_count; ++i) {
      const auto op = static_cast<BinaryOp>(i);
      CAPTURE(binary_names[i]);
      CAPTURE(n);
      const auto seed = static_cast<uint64_t>(n);
      CHECK(check_broadcast<T>(op, {n}, {n}, seed) == "");
      CHECK(check_broadcast<T>(op, {n}, {}, seed) == "");
      CHECK(check_broadcast<T>(op, {}, {n}, seed) == "");
      CHECK(check_broadcast<T>(op, {1}, {n}, seed) == "");
      CHECK(check_broadcast<T>(op, {n, 1}, {1, 1}, seed) == "");
    }
  CHECK(check_broadcast<T>(BinaryOp::add, {}, {}, 1) == "");
  CHECK(check_broadcast<T>(BinaryOp::add, {1, 1}, {1}, 1) == "");
}

TEST_CASE_TEMPLATE("binary maps broadcast rows, columns and outer products", T, float, double) {
  const std::pair<Shape, Shape> shapes[] = {
      {{64, 10}, {10}},
      {{64, 10}, {64, 1}},
      {{1, 10}, {64, 1}},
      {{7, 1, 5}, {3, 1}},
      {{2, 3, 4}, {2, 1, 4}},
      {{2, 3, 4}, {1, 3, 1}},
      {{2, 1, 4, 1}, {3, 1, 5}},
      {{5}, {2, 3, 1}},
      {{32769, 1}, {1, 2}},
      {{2, 1}, {1, 32769}},
      {{3, 32768}, {32768}},
      {{3, 32767}, {3, 1}},
      {{0}, {1}},
      {{1, 0}, {5, 1}},
      {{3, 1, 0}, {1, 4, 1}},
      {{0, 3}, {3}},
      {{1, 17, 1}, {16, 1, 15}},
      {{255, 1}, {1, 257}},
      {{2, 3, 1, 1}, {1, 1, 4, 5}},
      {{}, {2, 0, 3}},
  };
  for (const auto& [a, b] : shapes)
    for (int i = 0; i < binary_count; ++i) {
      CAPTURE(binary_names[i]);
      CAPTURE(shape_text(a));
      CAPTURE(shape_text(b));
      CHECK(check_broadcast<T>(static_cast<BinaryOp>(i), a, b, 11) == "");
      CHECK(check_broadcast<T>(static_cast<BinaryOp>(i), b, a, 12) == "");
    }
}

TEST_CASE_TEMPLATE("binary maps broadcast random shapes", T, float, double) {
  std::mt19937_64 random(20240501);
  for (int round = 0; round < 600; ++round) {
    const int64_t sizes[] = {1, 2, 3, 4, 5, 9, 17};
    Shape full(random() % 5);
    for (int64_t& size : full) size = random() % 40 == 0 ? 0 : sizes[random() % 7];
    auto thinned = [&] {
      Shape own = full;
      for (int64_t& size : own)
        if (random() % 3 == 0) size = 1;
      own.erase(own.begin(), own.begin() + static_cast<int64_t>(random() % (own.size() + 1)));
      return own;
    };
    const Shape a = thinned(), b = thinned();
    const auto i = static_cast<int>(random() % binary_count);
    CAPTURE(binary_names[i]);
    CAPTURE(shape_text(a));
    CAPTURE(shape_text(b));
    CHECK(check_broadcast<T>(static_cast<BinaryOp>(i), a, b, random()) == "");
  }
}

TEST_CASE_TEMPLATE("binary maps of special values", T, float, double) {
  const T inf = infinity<T>, tiny = std::numeric_limits<T>::denorm_min(),
          most = std::numeric_limits<T>::max();
  const std::vector<T> specials = {T(0), -T(0), T(1), T(-1), T(0.5), T(2), T(-3),
                                   tiny, -tiny, most, -most, inf,    -inf, quiet_nan<T>};
  for (BinaryOp op : {BinaryOp::add, BinaryOp::subtract, BinaryOp::multiply, BinaryOp::divide,
                      BinaryOp::power, BinaryOp::maximum, BinaryOp::minimum, BinaryOp::relu_gradient})
    for (T a : specials)
      for (T b : specials) {
        // Once in a whole vector, once in what is left of one, once as a repeated number.
        std::vector<T> as(35, a), bs(35, b), out(35), repeated(35);
        apply_binary<T>(op, {as.data(), {35}}, {bs.data(), {35}}, out.data());
        apply_binary<T>(op, {as.data(), {35}}, {&b, {}}, repeated.data());
        long double expected = binary<T>(op, a, b);
        if (op == BinaryOp::power) expected = static_cast<long double>(std::pow(a, b));
        CAPTURE(binary_names[static_cast<int>(op)]);
        CAPTURE(a);
        CAPTURE(b);
        const long double bound = op == BinaryOp::power ? unit_in_last_place<T>(expected) : 0;
        auto value = [&](int64_t) { return expected; };
        CHECK(difference(out.data(), 35, value, [&](int64_t) { return bound; }) == "");
        CHECK(difference(repeated.data(), 35, value, [&](int64_t) { return bound; }) == "");
      }
}

TEST_CASE("maximum and minimum let NaN win and take the first of equals") {
  const double zero[] = {0.0}, minus_zero[] = {-0.0};
  double out;
  apply_small(BinaryOp::maximum, zero, minus_zero, 1, &out, 1);
  CHECK(!std::signbit(out));
  apply_small(BinaryOp::maximum, minus_zero, zero, 1, &out, 1);
  CHECK(std::signbit(out));
  apply_small(BinaryOp::minimum, minus_zero, zero, 1, &out, 1);
  CHECK(std::signbit(out));
}

TEST_CASE_TEMPLATE("a number that is broadcast keeps its sign and its NaN", T, float, double) {
  const T minus_zero = -T(0), x[] = {T(1), T(2), T(3)};
  T out[3];
  apply_binary<T>(BinaryOp::divide, {x, {3}}, {&minus_zero, {}}, out);
  for (T value : out) CHECK(value == -infinity<T>);
  const T missing = quiet_nan<T>;
  apply_binary<T>(BinaryOp::maximum, {&missing, {}}, {x, {3}}, out);
  for (T value : out) CHECK(std::isnan(value));
}

TEST_CASE_TEMPLATE("apply_small is apply_binary without shapes", T, float, double) {
  for (int64_t n : {0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 40})
    for (int i = 0; i < binary_count; ++i) {
      const std::vector<T> a = normal<T>(n, 3), b = normal<T>(n + 1, 4);
      std::vector<T> whole(a.size());
      Guarded<T> small(n);
      apply_binary<T>(static_cast<BinaryOp>(i), {a.data(), {n}}, {b.data(), {n}}, whole.data());
      apply_small<T>(static_cast<BinaryOp>(i), a.data(), b.data(), 1, small.data(), n);
      CAPTURE(binary_names[i]);
      CAPTURE(n);
      CHECK(small.intact());
      CHECK(same_bits(whole, small.values()));
      apply_binary<T>(static_cast<BinaryOp>(i), {a.data(), {n}}, {b.data(), {}}, whole.data());
      apply_small<T>(static_cast<BinaryOp>(i), a.data(), b.data(), 0, small.data(), n);
      CHECK(same_bits(whole, small.values()));
    }
}

TEST_CASE_TEMPLATE("where chooses by a condition of any broadcast shape", T, float, double) {
  std::mt19937_64 random(7);
  std::vector<std::array<Shape, 3>> cases = {{Shape{}, Shape{}, Shape{}},
                                             {Shape{5}, Shape{}, Shape{}},
                                             {Shape{}, Shape{4}, Shape{3, 1}},
                                             {Shape{40000}, Shape{40000}, Shape{}},
                                             {Shape{3, 1}, Shape{1, 20000}, Shape{}},
                                             {Shape{0}, Shape{1}, Shape{1}},
                                             {Shape{2, 1, 3}, Shape{4, 1}, Shape{1, 1, 3}},
                                             {Shape{16385}, Shape{1}, Shape{16385}}};
  for (int round = 0; round < 150; ++round) {
    const int64_t sizes[] = {1, 2, 3, 5, 8, 17};
    Shape full(random() % 4);
    for (int64_t& size : full) size = sizes[random() % 6];
    std::array<Shape, 3> own{full, full, full};
    for (Shape& shape : own) {
      for (int64_t& size : shape)
        if (random() % 3 == 0) size = 1;
      shape.erase(shape.begin(), shape.begin() + static_cast<int64_t>(random() % (shape.size() + 1)));
    }
    cases.push_back(own);
  }
  for (const auto& [condition_shape, a_shape, b_shape] : cases) {
    const Shape out_shape =
        broadcast_shape("test", broadcast_shape("test", a_shape, b_shape), condition_shape);
    const Shape cs = broadcast_strides(condition_shape, out_shape),
                as = broadcast_strides(a_shape, out_shape), bs = broadcast_strides(b_shape, out_shape);
    std::vector<uint8_t> condition(static_cast<size_t>(count(condition_shape)));
    for (uint8_t& c : condition) c = static_cast<uint8_t>(random() % 2 == 0 ? 0 : random() % 256);
    const std::vector<T> a = normal<T>(count(a_shape), 1), b = normal<T>(count(b_shape), 2);
    Guarded<T> out(count(out_shape));
    apply_where<T>({condition.data(), condition_shape}, {a.data(), a_shape}, {b.data(), b_shape}, out.data());
    CAPTURE(shape_text(condition_shape));
    CAPTURE(shape_text(a_shape));
    CAPTURE(shape_text(b_shape));
    CHECK(out.intact());
    CHECK(difference(out.data(), out.size(), [&](int64_t i) -> long double {
            return condition[static_cast<size_t>(offset(i, out_shape, cs))]
                       ? a[static_cast<size_t>(offset(i, out_shape, as))]
                       : b[static_cast<size_t>(offset(i, out_shape, bs))];
          }) == "");
  }
}

TEST_CASE("shapes broadcast as NumPy's do, and clashes name the operation and the shapes") {
  CHECK(broadcast_shape("add", {2, 3}, {3}) == Shape{2, 3});
  CHECK(broadcast_shape("add", {2, 1}, {1, 5}) == Shape{2, 5});
  CHECK(broadcast_shape("add", {}, {}) == Shape{});
  CHECK(broadcast_shape("add", {1}, {0}) == Shape{0});
  CHECK(broadcast_shape("add", {0, 1}, {1, 4}) == Shape{0, 4});
  CHECK_THROWS_WITH_AS(broadcast_shape("add", {2, 3}, {4}),
                       "add: shapes (2, 3) and (4,) do not broadcast: sizes 3 and 4 differ and neither is 1",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(broadcast_shape("divide", {0}, {2}),
                       "divide: shapes (0,) and (2,) do not broadcast: sizes 0 and 2 differ and neither is 1",
                       std::invalid_argument);
  const int64_t huge = int64_t{1} << 32;
  CHECK_THROWS_WITH_AS(broadcast_shape("add", {huge, 1}, {1, huge}), doctest::Contains("overflow 64 bits"),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(broadcast_shape("add", {-1}, {-1}), "add: negative size -1", std::invalid_argument);

  const double values[6] = {};
  double out[6];
  const uint8_t condition[2] = {};
  CHECK_THROWS_WITH_AS(apply_binary<double>(BinaryOp::add, {values, {2}}, {values, {3}}, out),
                       doctest::Contains("shapes (2,) and (3,) do not broadcast"), std::invalid_argument);
  CHECK_THROWS_WITH_AS(apply_where<double>({condition, {2}}, {values, {3}}, {values, {3}}, out),
                       doctest::Contains("where: shapes (3,) and (2,) do not broadcast"),
                       std::invalid_argument);
}
