#include "kernels/optimise.h"

#include <cmath>

#include "kernels/table.h"
#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

inline float scalar_sqrt(float x) { return ::sqrtf(x); }
inline double scalar_sqrt(double x) { return ::sqrt(x); }

// The compiler makes one instruction of the loop.
template <class T>
inline Vec<T> square_root(Vec<T> x) {
  T values[lanes<T>];
  store(values, x);
  for (int i = 0; i < lanes<T>; ++i) values[i] = scalar_sqrt(values[i]);
  return load(values);
}

template <class T>
void sgd(T* weight, const T* gradient, T* velocity, int64_t n, const SgdSettings& settings) {
  const T lr = static_cast<T>(settings.lr), momentum = static_cast<T>(settings.momentum);
  const T into_gradient = settings.decoupled ? T(0) : static_cast<T>(settings.weight_decay);
  const T kept = settings.decoupled ? static_cast<T>(1 - settings.lr * settings.weight_decay) : T(1);
  for_vectors<T>(n, [&](int64_t i, auto get, auto put) {
    fetch_ahead(weight + i);
    fetch_ahead(gradient + i);
    if (velocity != nullptr) fetch_ahead(velocity + i);
    Vec<T> w = get(weight + i), step = get(gradient + i) + into_gradient * w;
    if (velocity != nullptr) {
      Vec<T> v = momentum * get(velocity + i) + step;
      put(velocity + i, v);
      step = settings.nesterov ? step + momentum * v : v;
    }
    put(weight + i, kept * w - lr * step);
  });
}

template <class T>
void adam(T* weight, const T* gradient, T* average, T* square_average, T* largest, int64_t n,
          const AdamSettings& settings, const AdamCorrection& correction) {
  const T rate = static_cast<T>(settings.lr / correction.first);
  const T root = static_cast<T>(1 / ::sqrt(correction.second)), eps = static_cast<T>(settings.eps);
  const T beta1 = static_cast<T>(settings.beta1), fresh1 = static_cast<T>(1 - settings.beta1);
  const T beta2 = static_cast<T>(settings.beta2), fresh2 = static_cast<T>(1 - settings.beta2);
  const T into_gradient = settings.decoupled ? T(0) : static_cast<T>(settings.weight_decay);
  const T kept = settings.decoupled ? static_cast<T>(1 - settings.lr * settings.weight_decay) : T(1);
  for_vectors<T>(n, [&](int64_t i, auto get, auto put) {
    fetch_ahead(weight + i);
    fetch_ahead(gradient + i);
    fetch_ahead(average + i);
    fetch_ahead(square_average + i);
    Vec<T> w = get(weight + i), g = get(gradient + i) + into_gradient * w;
    Vec<T> m = beta1 * get(average + i) + fresh1 * g;
    Vec<T> v = beta2 * get(square_average + i) + fresh2 * (g * g);
    put(average + i, m);
    put(square_average + i, v);
    if (largest != nullptr) {
      v = maximum<T>(get(largest + i), v);
      put(largest + i, v);
    }
    put(weight + i, kept * w - rate * (m / (root * square_root<T>(v) + eps)));
  });
}

template <class T>
void rmsprop(T* weight, const T* gradient, T* square_average, T* average, T* buffer, int64_t n,
             const RmspropSettings& settings) {
  const T lr = static_cast<T>(settings.lr), eps = static_cast<T>(settings.eps);
  const T alpha = static_cast<T>(settings.alpha), fresh = static_cast<T>(1 - settings.alpha);
  const T weight_decay = static_cast<T>(settings.weight_decay), momentum = static_cast<T>(settings.momentum);
  for_vectors<T>(n, [&](int64_t i, auto get, auto put) {
    fetch_ahead(weight + i);
    fetch_ahead(gradient + i);
    fetch_ahead(square_average + i);
    Vec<T> w = get(weight + i), g = get(gradient + i) + weight_decay * w;
    Vec<T> s = alpha * get(square_average + i) + fresh * (g * g);
    put(square_average + i, s);
    if (average != nullptr) {
      Vec<T> m = alpha * get(average + i) + fresh * g;
      put(average + i, m);
      s -= m * m;
      s = s < T(0) ? Vec<T>{} : s;
    }
    Vec<T> step = g / (square_root<T>(s) + eps);
    if (buffer != nullptr) {
      step += momentum * get(buffer + i);
      put(buffer + i, step);
    }
    put(weight + i, w - lr * step);
  });
}

template <class T>
void adagrad(T* weight, const T* gradient, T* sum, int64_t n, const AdagradSettings& settings, double rate) {
  const T step = static_cast<T>(rate), eps = static_cast<T>(settings.eps);
  const T weight_decay = static_cast<T>(settings.weight_decay);
  for_vectors<T>(n, [&](int64_t i, auto get, auto put) {
    fetch_ahead(weight + i);
    fetch_ahead(gradient + i);
    fetch_ahead(sum + i);
    Vec<T> w = get(weight + i), g = get(gradient + i) + weight_decay * w;
    Vec<T> s = get(sum + i) + g * g;
    put(sum + i, s);
    put(weight + i, w - step * (g / (square_root<T>(s) + eps)));
  });
}

}  // namespace

void fill_optimise(KernelTable& table) {
  table.float32.optimise = {sgd<float>, adam<float>, rmsprop<float>, adagrad<float>};
  table.float64.optimise = {sgd<double>, adam<double>, rmsprop<double>, adagrad<double>};
}

}  // namespace chainrule::CHAINRULE_ISA
