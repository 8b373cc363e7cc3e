#include "ops/conv2d.h"

#include <algorithm>
#include <atomic>
#include <type_traits>

#include "kernels/table.h"
#include "ops/conv2d_bfloat16.h"
#include "ops/conv2d_winograd.h"
#include "runtime/allocator.h"
#include "runtime/features.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

std::atomic<ConvAlgorithm> chosen{ConvAlgorithm::automatic};

// `pays`: whether it is expected to be faster.
template <class T>
bool use_winograd(const Conv2dShape& s, bool pays) {
  switch (chosen.load(std::memory_order_relaxed)) {
    case ConvAlgorithm::direct:
      return false;
    case ConvAlgorithm::winograd:
      return has_winograd(s);
    case ConvAlgorithm::automatic:
      return sizeof(T) == sizeof(float) && pays;
  }
  return false;
}

template <class T>
bool use_bfloat16(const Conv2dShape& s, Precision precision, bool winograd) {
  if (sizeof(T) != sizeof(float) || precision != Precision::bfloat16 || !has_bfloat16(s)) return false;
  constexpr int64_t least = 16;  // on fewer channels most of what is multiplied would be filling
  if (s.channels < least || s.filters < least) return false;
  return !(winograd && active_isa() == Isa::avx512_bf16);
}

}  // namespace

void set_conv_algorithm(ConvAlgorithm algorithm) { chosen.store(algorithm); }
ConvAlgorithm conv_algorithm() { return chosen.load(); }

const char* conv_algorithm_name(ConvAlgorithm algorithm) {
  switch (algorithm) {
    case ConvAlgorithm::automatic:
      return "auto";
    case ConvAlgorithm::direct:
      return "direct";
    case ConvAlgorithm::winograd:
      return "winograd";
  }
  return "unknown";
}

ConvAlgorithm parse_conv_algorithm(const std::string& name) {
  for (ConvAlgorithm a : {ConvAlgorithm::automatic, ConvAlgorithm::direct, ConvAlgorithm::winograd})
    if (name == conv_algorithm_name(a)) return a;
  throw std::invalid_argument("set_conv_algorithm: '" + name +
                              "' is not known: use auto, direct or winograd");
}

template <class T>
void conv2d(const Conv2dShape& s, const T* x, const T* weights, const Epilogue<T>& epilogue, T* y,
            Precision precision) {
  check_conv2d("conv2d", s);
  const bool winograd = use_winograd<T>(s, winograd_pays(s));
  if constexpr (std::is_same_v<T, float>)
    if (use_bfloat16<T>(s, precision, winograd)) return conv2d_bfloat16(s, x, weights, epilogue, y);
  winograd ? conv2d_winograd(s, x, weights, epilogue, y) : conv2d_direct(s, x, weights, epilogue, y);
}

template <class T>
void conv2d_input_gradient(const Conv2dShape& s, const T* dy, const T* weights, const Epilogue<T>& epilogue,
                           T* dx, Precision precision) {
  check_conv2d("conv2d_input_gradient", s);
  const bool winograd = use_winograd<T>(s, winograd_pays(s)) && has_winograd_input_gradient(s);
  if constexpr (std::is_same_v<T, float>)
    if (use_bfloat16<T>(s, precision, winograd))
      return conv2d_bfloat16_input_gradient(s, dy, weights, epilogue, dx);
  winograd ? conv2d_winograd_input_gradient(s, dy, weights, epilogue, dx)
           : conv2d_direct_input_gradient(s, dy, weights, epilogue, dx);
}

template <class T>
void conv2d_weight_gradient(const Conv2dShape& s, const T* x, const T* dy, T* dw, Precision precision) {
  check_conv2d("conv2d_weight_gradient", s);
  const bool winograd = use_winograd<T>(s, winograd_weight_gradient_pays(s));
  if constexpr (std::is_same_v<T, float>)
    if (use_bfloat16<T>(s, precision, winograd)) return conv2d_bfloat16_weight_gradient(s, x, dy, dw);
  winograd ? conv2d_winograd_weight_gradient(s, x, dy, dw) : conv2d_direct_weight_gradient(s, x, dy, dw);
}

namespace {

void check_pooled(const char* operation, const Conv2dShape& s, const Pool2dShape& pool) {
  check_conv2d(operation, s);
  check_pool2d(operation, pool);
  if (pool.x() != s.y())
    throw std::invalid_argument(std::string(operation) + ": pooling of " + shape_text(pool.x()) +
                                " for outputs of " + shape_text(s.y()));
  if (pool.wide_indices())
    throw std::invalid_argument(std::string(operation) + ": pooling by windows of " +
                                std::to_string(pool.height.kernel) + " x " +
                                std::to_string(pool.width.kernel) + ": give at most 256 pixels");
}

}  // namespace

bool conv2d_max_pool2d_pays(const Conv2dShape& s, const Pool2dShape& pool) {
  check_conv2d("conv2d_max_pool2d", s);
  check_pool2d("conv2d_max_pool2d", pool);
  // Where windows overlap, some outputs are computed again; a gradient is made by whole lines.
  constexpr int64_t most_overlap = 2, longest_line = 512;
  return pool.height.kernel - pool.height.stride <= most_overlap && s.width.output() <= longest_line &&
         !pool.wide_indices() &&
         use_bfloat16<float>(s, Precision::bfloat16, use_winograd<float>(s, winograd_pays(s)));
}

template <class T>
void conv2d_max_pool2d(const Conv2dShape& s, const Pool2dShape& pool, const T* x, const T* weights,
                       const Epilogue<T>& epilogue, T* values, uint8_t* indices, Precision precision) {
  const char* operation = "conv2d_max_pool2d";
  check_pooled(operation, s, pool);
  if constexpr (std::is_same_v<T, float>)
    if (use_bfloat16<T>(s, precision, use_winograd<T>(s, winograd_pays(s))))
      return conv2d_bfloat16_max_pool2d(s, pool, x, weights, epilogue, values, indices);
  Scratch<T> y(element_count(s.y(), operation));
  conv2d(s, x, weights, epilogue, y.data(), precision);
  max_pool2d(pool, y.data(), values, indices);
}

template <class T>
void conv2d_max_pool2d_input_gradient(const Conv2dShape& s, const Pool2dShape& pool, const T* gradient,
                                      const uint8_t* indices, const T* weights, const Epilogue<T>& epilogue,
                                      T* dx, Precision precision) {
  const char* operation = "conv2d_max_pool2d_input_gradient";
  check_pooled(operation, s, pool);
  if constexpr (std::is_same_v<T, float>) {
    const bool winograd = use_winograd<T>(s, winograd_pays(s)) && has_winograd_input_gradient(s);
    const ScatteredLines lines{pool.geometry(), gradient, indices};
    if (use_bfloat16<T>(s, precision, winograd))
      return conv2d_bfloat16_max_pool2d_input_gradient(s, lines, weights, epilogue, dx);
  }
  Scratch<T> dy(element_count(s.y(), operation));
  max_pool2d_scatter(pool, gradient, indices, dy.data());
  conv2d_input_gradient(s, dy.data(), weights, epilogue, dx, precision);
}

template <class T>
void conv2d_max_pool2d_weight_gradient(const Conv2dShape& s, const Pool2dShape& pool, const T* x,
                                       const T* gradient, const uint8_t* indices, T* dw,
                                       Precision precision) {
  const char* operation = "conv2d_max_pool2d_weight_gradient";
  check_pooled(operation, s, pool);
  if constexpr (std::is_same_v<T, float>) {
    const ScatteredLines lines{pool.geometry(), gradient, indices};
    if (use_bfloat16<T>(s, precision, use_winograd<T>(s, winograd_weight_gradient_pays(s))))
      return conv2d_bfloat16_max_pool2d_weight_gradient(s, x, lines, dw);
  }
  Scratch<T> dy(element_count(s.y(), operation));
  max_pool2d_scatter(pool, gradient, indices, dy.data());
  conv2d_weight_gradient(s, x, dy.data(), dw, precision);
}

#define CHAINRULE_INSTANTIATE(T)                                                                         \
  template void conv2d<T>(const Conv2dShape&, const T*, const T*, const Epilogue<T>&, T*, Precision);    \
  template void conv2d_input_gradient<T>(const Conv2dShape&, const T*, const T*, const Epilogue<T>&, T*, \
                                         Precision);                                                     \
  template void conv2d_weight_gradient<T>(const Conv2dShape&, const T*, const T*, T*, Precision);        \
  template void conv2d_max_pool2d<T>(const Conv2dShape&, const Pool2dShape&, const T*, const T*,         \
                                     const Epilogue<T>&, T*, uint8_t*, Precision);                       \
  template void conv2d_max_pool2d_input_gradient<T>(const Conv2dShape&, const Pool2dShape&, const T*,    \
                                                    const uint8_t*, const T*, const Epilogue<T>&, T*,    \
                                                    Precision);                                          \
  template void conv2d_max_pool2d_weight_gradient<T>(const Conv2dShape&, const Pool2dShape&, const T*,   \
                                                     const T*, const uint8_t*, T*, Precision);
CHAINRULE_INSTANTIATE(float)
CHAINRULE_INSTANTIATE(double)

}  // namespace chainrule
