// Convolution and its gradients by plain loops, and the checks that the tests of every algorithm share.
#pragma once

#include "ops/conv2d.h"
#include "reference.h"

namespace reference {

using chainrule::Conv2dShape;
using chainrule::Epilogue;
using chainrule::WindowAxis;

// ---- Shapes -----------------------------------------------------------------------------------------------

struct Channels {
  int64_t channels, filters, groups;
};

inline Conv2dShape conv_shape(int64_t batch, const WindowAxis& height, const WindowAxis& width,
                              const Channels& c) {
  Conv2dShape s;
  s.batch = batch;
  s.height = height;
  s.width = width;
  s.channels = c.channels;
  s.filters = c.filters;
  s.groups = c.groups;
  return s;
}

// One output a pixel: padding of half the kernel.
inline WindowAxis same_axis(int64_t input, int64_t kernel, int64_t stride = 1) {
  return {input, kernel, stride, 1, (kernel - 1) / 2, kernel / 2};
}

inline bool fits(const WindowAxis& a) { return a.span() <= a.input + a.before + a.after; }

// Any axis on which a window fits; from({...}) draws one of the values.
template <class From>
WindowAxis random_axis(const From& from,
                       std::initializer_list<int64_t> inputs = {1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 17, 23}) {
  WindowAxis a;
  do {
    a = {from(inputs),          from({1, 1, 2, 3, 3, 4, 5, 7}), from({1, 1, 1, 2, 2, 3, 5}),
         from({1, 1, 1, 2, 3}), from({0, 0, 1, 1, 2, 3, 9}),    from({0, 0, 1, 1, 2, 4, 7})};
  } while (!fits(a));
  return a;
}

inline std::string text(const WindowAxis& a) {
  std::ostringstream out;
  out << a.input << " by " << a.kernel << " stride " << a.stride << " dilation " << a.dilation << " padding "
      << a.before << "," << a.after;
  return out.str();
}

inline std::string text(const Conv2dShape& s) {
  std::ostringstream out;
  out << "batch " << s.batch << ", height " << text(s.height) << ", width " << text(s.width) << ", "
      << s.channels << " channels to " << s.filters << " in " << s.groups << " groups";
  return out.str();
}

// ---- The three operations ---------------------------------------------------------------------------------

// y from x and w, dx from dy and w, dw from x and dy.
enum class Pass { forward, input_gradient, weight_gradient };
constexpr Pass passes[] = {Pass::forward, Pass::input_gradient, Pass::weight_gradient};

inline std::string pass_name(Pass pass) {
  return pass == Pass::forward          ? "forward"
         : pass == Pass::input_gradient ? "input gradient"
                                        : "weight gradient";
}

struct Sizes {
  int64_t left, right, out, out_channels;
};

inline Sizes sizes(Pass pass, const Conv2dShape& s) {
  const int64_t x = count(s.x()), w = count(s.weights()), y = count(s.y());
  if (pass == Pass::forward) return {x, w, y, s.filters};
  if (pass == Pass::input_gradient) return {y, w, x, s.channels};
  return {x, y, w, 0};
}

template <class T>
struct Convolution {
  const char* name;
  void (*forward)(const Conv2dShape&, const T*, const T*, const Epilogue<T>&, T*);
  void (*input_gradient)(const Conv2dShape&, const T*, const T*, const Epilogue<T>&, T*);
  void (*weight_gradient)(const Conv2dShape&, const T*, const T*, T*);

  void run(Pass pass, const Conv2dShape& s, const T* left, const T* right, const Epilogue<T>& epilogue,
           T* out) const {
    if (pass == Pass::forward)
      forward(s, left, right, epilogue, out);
    else if (pass == Pass::input_gradient)
      input_gradient(s, left, right, epilogue, out);
    else
      weight_gradient(s, left, right, out);
  }
};

// The operations themselves, which choose an algorithm.
template <class T, chainrule::Precision precision = chainrule::Precision::full>
constexpr Convolution<T> chosen{
    "chosen",
    [](const Conv2dShape& s, const T* x, const T* w, const Epilogue<T>& e, T* y) {
      chainrule::conv2d<T>(s, x, w, e, y, precision);
    },
    [](const Conv2dShape& s, const T* dy, const T* w, const Epilogue<T>& e, T* dx) {
      chainrule::conv2d_input_gradient<T>(s, dy, w, e, dx, precision);
    },
    [](const Conv2dShape& s, const T* x, const T* dy, T* dw) {
      chainrule::conv2d_weight_gradient<T>(s, x, dy, dw, precision);
    }};

// body(index in x, index in the weights, index in y) for every product that a convolution sums.
template <class Body>
void each_product(const Conv2dShape& s, const Body& body) {
  const int64_t depth = s.group_channels(), columns = s.group_filters();
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t row = 0; row < s.height.output(); ++row)
      for (int64_t column = 0; column < s.width.output(); ++column)
        for (int64_t i = 0; i < s.height.kernel; ++i)
          for (int64_t j = 0; j < s.width.kernel; ++j) {
            const int64_t from_row = row * s.height.stride + i * s.height.dilation - s.height.before;
            const int64_t from_column = column * s.width.stride + j * s.width.dilation - s.width.before;
            if (from_row < 0 || from_row >= s.height.input || from_column < 0 || from_column >= s.width.input)
              continue;
            const int64_t x = ((n * s.height.input + from_row) * s.width.input + from_column) * s.channels;
            const int64_t y = ((n * s.height.output() + row) * s.width.output() + column) * s.filters;
            const int64_t w = (i * s.width.kernel + j) * depth * s.filters;
            for (int64_t g = 0; g < s.groups; ++g)
              for (int64_t c = 0; c < depth; ++c)
                for (int64_t k = g * columns; k < (g + 1) * columns; ++k)
                  body(x + g * depth + c, w + c * s.filters + k, y + k);
          }
}

// The sums, or with `sizes` the sums of the products' absolute values.
template <class Sum, class T>
std::vector<Sum> plain_convolution(Pass pass, const Conv2dShape& s, const T* left, const T* right,
                                   bool of_sizes = false) {
  std::vector<Sum> out(static_cast<size_t>(sizes(pass, s).out), Sum(0));
  Sum* to = out.data();
  auto product = [&](T a, T b) {
    const Sum value = static_cast<Sum>(a) * static_cast<Sum>(b);
    return of_sizes ? std::fabs(value) : value;
  };
  if (pass == Pass::forward)
    each_product(s, [&](int64_t x, int64_t w, int64_t y) { to[y] += product(left[x], right[w]); });
  else if (pass == Pass::input_gradient)
    each_product(s, [&](int64_t x, int64_t w, int64_t y) { to[x] += product(left[y], right[w]); });
  else
    each_product(s, [&](int64_t x, int64_t w, int64_t y) { to[w] += product(left[x], right[y]); });
  return out;
}

// ---- Data -------------------------------------------------------------------------------------------------

// Integers, so that every order of summation gives the same and one wrong element shows.
template <class T>
std::string check_exact(const Convolution<T>& convolution, Pass pass, const Conv2dShape& s,
                        bool with_bias = false, bool relu = false) {
  const Sizes n = sizes(pass, s);
  const Unaligned<T> left(small_integers<T>(n.left, 3)), right(small_integers<T>(n.right, 4)),
      bias(small_integers<T>(n.out_channels, 5, 20));
  Guarded<T> out(n.out);
  convolution.run(pass, s, left.data(), right.data(), {with_bias ? bias.data() : nullptr, relu}, out.data());
  if (!out.intact()) return "wrote outside of its result";
  const std::vector<T> sums = plain_convolution<T>(pass, s, left.data(), right.data());
  return difference(out.data(), n.out, [&](int64_t i) -> long double {
    const T value = sums[static_cast<size_t>(i)] + (with_bias ? bias.data()[i % n.out_channels] : T(0));
    return relu && value <= T(0) ? T(0) : value;
  });
}

}  // namespace reference
