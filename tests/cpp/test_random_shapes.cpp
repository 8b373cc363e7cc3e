// Convolution by every algorithm and matrix products on shapes drawn at random, sizes of 0 and 1, primes and
// one below and above each block among them: the combinations that the grids of the other files do not reach.
#include "kernels/table.h"
#include "ops/conv2d.h"
#include "ops/conv2d_winograd.h"
#include "ops/matmul.h"
#include "reference_conv2d.h"

using namespace chainrule;
using namespace reference;

namespace {

class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed) {}
  int64_t below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  bool one_in(int64_t n) { return below(n) == 0; }
  int64_t from(const std::vector<int64_t>& values) {
    return values[static_cast<size_t>(below(static_cast<int64_t>(values.size())))];
  }
  // Small, or one below, at or above a size that code is cut at; now and then 0.
  int64_t around(const std::vector<int64_t>& blocks) {
    if (one_in(40)) return 0;
    return one_in(2) ? from({1, 1, 2, 3, 5, 7, 11, 13}) : std::max<int64_t>(from(blocks) - 1 + below(3), 1);
  }

 private:
  std::mt19937_64 random_;
};

// A number of threads drawn for one round: the result must not depend on it.
int threads(Draw& draw) { return draw.one_in(4) ? 3 : 1; }

class WithAlgorithm {
 public:
  explicit WithAlgorithm(ConvAlgorithm algorithm) : before_(conv_algorithm()) {
    set_conv_algorithm(algorithm);
  }
  ~WithAlgorithm() { set_conv_algorithm(before_); }
  WithAlgorithm(const WithAlgorithm&) = delete;
  WithAlgorithm& operator=(const WithAlgorithm&) = delete;

 private:
  ConvAlgorithm before_;
};

// Where Winograd's transforms round: within its bound, relative to the largest sum of the products' sizes.
template <class T>
std::string check_close(Pass pass, const Conv2dShape& s, bool with_bias, bool relu) {
  const Sizes n = sizes(pass, s);
  const Unaligned<T> left(normal<T>(n.left, 1)), right(normal<T>(n.right, 2)),
      bias(normal<T>(n.out_channels, 3));
  Guarded<T> out(n.out);
  chosen<T>.run(pass, s, left.data(), right.data(), {with_bias ? bias.data() : nullptr, relu}, out.data());
  if (!out.intact()) return "wrote outside of its result";
  const std::vector<double> sums = plain_convolution<double>(pass, s, left.data(), right.data());
  double largest = 4;  // the bias
  for (double size : plain_convolution<double>(pass, s, left.data(), right.data(), true))
    largest = std::max(largest, size);
  const double bound = (sizeof(T) == 4 ? 5e-5 : 1e-13) * largest;
  return difference(
      out.data(), n.out,
      [&](int64_t i) -> long double {
        const double value = sums[static_cast<size_t>(i)] +
                             (with_bias ? static_cast<double>(bias.data()[i % n.out_channels]) : 0);
        return relu && value <= 0 ? 0 : value;
      },
      [&](int64_t) { return bound; });
}

WindowAxis any_axis(Draw& draw) {
  return random_axis([&](std::initializer_list<int64_t> values) { return draw.from(values); },
                     {0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 17, 23});
}

WindowAxis winograd_axis(Draw& draw, int64_t kernel, int64_t stride) {
  WindowAxis a;
  do {
    a = {1 + draw.below(stride == 1 ? 20 : 36), kernel, stride, 1, draw.below(kernel), draw.below(kernel)};
  } while (!fits(a));
  return a;
}

}  // namespace

TEST_CASE_TEMPLATE("convolution of random shapes by every algorithm", T, float, double) {
  Draw draw(20240711);
  const auto& kernel = kernels<T>();
  const std::vector<int64_t> blocks = {kernel.conv2d.tile_rows, kernel.matmul.vector_width,
                                       2 * kernel.matmul.vector_width};
  for (int round = 0; round < 500; ++round) {
    const bool for_winograd = draw.one_in(2);
    const int64_t kernel_size = draw.from({3, 3, 5}), stride = kernel_size == 3 ? draw.from({1, 1, 2}) : 1;
    const WindowAxis height = for_winograd ? winograd_axis(draw, kernel_size, stride) : any_axis(draw),
                     width = for_winograd ? winograd_axis(draw, kernel_size, stride) : any_axis(draw);
    Channels c{draw.around(blocks), draw.around(blocks), 1};
    if (!for_winograd && draw.one_in(2)) {
      const int64_t groups = draw.from({2, 3, 5, 16, 17});
      c = {groups * draw.from({1, 1, 2, 3}), groups * draw.from({1, 1, 2, 5}), groups};
    }
    const Conv2dShape s = conv_shape(draw.from({0, 1, 1, 2, 3}), height, width, c);
    const WithThreads scope(threads(draw));
    for (ConvAlgorithm algorithm :
         {ConvAlgorithm::automatic, ConvAlgorithm::direct, ConvAlgorithm::winograd}) {
      const WithAlgorithm named(algorithm);
      for (Pass pass : passes) {
        const bool epilogue = pass != Pass::weight_gradient;
        const bool bias = epilogue && draw.one_in(2), relu = epilogue && draw.one_in(2);
        const bool rounds = algorithm != ConvAlgorithm::direct && has_winograd(s);
        const std::string wrong =
            rounds ? check_close<T>(pass, s, bias, relu) : check_exact(chosen<T>, pass, s, bias, relu);
        CAPTURE(conv_algorithm_name(algorithm));
        CAPTURE(pass_name(pass));
        CAPTURE(text(s));
        CHECK(wrong == "");
      }
    }
  }
}

TEST_CASE_TEMPLATE("matrix products of random shapes, strides and batches", T, float, double) {
  Draw draw(20240712);
  const auto& kernel = kernels<T>().matmul;
  const std::vector<int64_t> sides = {kernel.tile_rows, kernel.vector_width,     2 * kernel.vector_width,
                                      narrow_columns,   4 * kernel.vector_width, 2 * kernel.tile_rows,
                                      narrow_rows},
                             depths = {kernel.vector_width, 64, 256};
  for (int round = 0; round < 1200; ++round) {
    const int64_t m = draw.around(sides), n = draw.around(sides), k = draw.around(depths);
    const int64_t matrices = draw.one_in(3) ? draw.from({0, 1, 2, 3, 7}) : 1;
    // An operand (matrices, rows, columns) whose dimensions lie in memory in any order, in steps of any sign,
    // or repeat.
    auto operand = [&](int64_t rows, int64_t columns, uint64_t seed) {
      const Shape shape{draw.one_in(3) ? 1 : matrices, rows, columns};
      std::vector<size_t> order = {2, 1, 0};  // from the innermost
      if (draw.one_in(2)) std::swap(order[0], order[1]);
      if (draw.one_in(4)) std::swap(order[1], order[2]);
      Shape strides(3);
      int64_t step = draw.one_in(5) ? 2 : 1;
      for (size_t d : order) {
        strides[d] = draw.one_in(12) ? 0 : draw.one_in(6) ? -step : step;
        step = step * std::max<int64_t>(shape[d], 1) + (draw.one_in(4) ? draw.below(4) : 0);
      }
      const std::vector<T> values = small_integers<T>(count(shape), seed);
      return Strided<T>(shape, strides, [&](int64_t i) { return values[static_cast<size_t>(i)]; });
    };
    const Strided<T> a = operand(m, k, static_cast<uint64_t>(2 * round)),
                     b = operand(k, n, static_cast<uint64_t>(2 * round + 1));
    const Shape shape = matmul_shape(a.view.shape, b.view.shape);
    Guarded<T> out(count(shape));
    const WithThreads scope(threads(draw));
    // bfloat16 holds these integers.
    matmul<T>(a.view, b.view, out.data(), {}, draw.one_in(2) ? Precision::full : Precision::bfloat16);
    CAPTURE(shape_text(a.view.shape));
    CAPTURE(shape_text(a.view.strides));
    CAPTURE(shape_text(b.view.shape));
    CAPTURE(shape_text(b.view.strides));
    CHECK(out.intact());
    auto element = [](const StridedArray<T>& x, int64_t index, int64_t i, int64_t j) {
      return x.data[(x.shape[0] == 1 ? 0 : index * x.strides[0]) + i * x.strides[1] + j * x.strides[2]];
    };
    CHECK(difference(out.data(), out.size(), [&](int64_t at) -> long double {
            const int64_t index = at / (m * n), i = at / n % m, j = at % n;
            T sum = 0;
            for (int64_t d = 0; d < k; ++d)
              sum += element(a.view, index, i, d) * element(b.view, index, d, j);
            return sum;
          }) == "");
  }
}
