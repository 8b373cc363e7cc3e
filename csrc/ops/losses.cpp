#include "ops/losses.h"

#include "kernels/table.h"
#include "runtime/checked.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

template <class Body>
void over_rows(int64_t rows, int64_t classes, const Body& body) {
  const int64_t chunks = chunk_count(rows, 8 * classes, 1 << 17);
  parallel_for(chunks, [&](int64_t chunk) {
    int64_t first = rows * chunk / chunks;
    body(first, rows * (chunk + 1) / chunks - first);
  });
}

}  // namespace

void check_labels(const char* operation, const int64_t* labels, int64_t rows, int64_t classes) {
  for (int64_t i = 0; i < rows; ++i)
    if (labels[i] < 0 || labels[i] >= classes)
      throw std::invalid_argument(std::string(operation) + ": label " + std::to_string(labels[i]) +
                                  " in row " + std::to_string(i) + " is not one of the " +
                                  std::to_string(classes) + " classes: labels run from 0 to " +
                                  std::to_string(classes - 1));
}

template <class T>
void cross_entropy(const T* x, const int64_t* labels, int64_t rows, int64_t classes, double smoothing,
                   T* losses) {
  check_labels("softmax_cross_entropy", labels, rows, classes);
  auto kernel = kernels<T>().losses.cross_entropy;
  over_rows(rows, classes, [&](int64_t first, int64_t count) {
    kernel(x + first * classes, labels + first, count, classes, static_cast<T>(smoothing), losses + first);
  });
}

template <class T>
void cross_entropy_gradient(const T* x, const int64_t* labels, int64_t rows, int64_t classes,
                            double smoothing, const T* gradients, int64_t step, T* dx) {
  check_labels("softmax_cross_entropy", labels, rows, classes);
  auto kernel = kernels<T>().losses.cross_entropy_gradient;
  over_rows(rows, classes, [&](int64_t first, int64_t count) {
    kernel(x + first * classes, labels + first, count, classes, static_cast<T>(smoothing),
           gradients + first * step, step, dx + first * classes);
  });
}

template <class T>
void hinge(const T* x, const int64_t* labels, int64_t rows, int64_t classes, double delta, bool squared,
           T* losses) {
  check_labels("multiclass_hinge", labels, rows, classes);
  auto kernel = kernels<T>().losses.hinge;
  over_rows(rows, classes, [&](int64_t first, int64_t count) {
    kernel(x + first * classes, labels + first, count, classes, static_cast<T>(delta), squared,
           losses + first);
  });
}

template <class T>
void hinge_gradient(const T* x, const int64_t* labels, int64_t rows, int64_t classes, double delta,
                    bool squared, const T* gradients, int64_t step, T* dx) {
  check_labels("multiclass_hinge", labels, rows, classes);
  auto kernel = kernels<T>().losses.hinge_gradient;
  over_rows(rows, classes, [&](int64_t first, int64_t count) {
    kernel(x + first * classes, labels + first, count, classes, static_cast<T>(delta), squared,
           gradients + first * step, step, dx + first * classes);
  });
}

#define CHAINRULE_INSTANTIATE(T)                                                                        \
  template void cross_entropy<T>(const T*, const int64_t*, int64_t, int64_t, double, T*);               \
  template void cross_entropy_gradient<T>(const T*, const int64_t*, int64_t, int64_t, double, const T*, \
                                          int64_t, T*);                                                 \
  template void hinge<T>(const T*, const int64_t*, int64_t, int64_t, double, bool, T*);                 \
  template void hinge_gradient<T>(const T*, const int64_t*, int64_t, int64_t, double, bool, const T*,   \
                                  int64_t, T*);
CHAINRULE_INSTANTIATE(float)
CHAINRULE_INSTANTIATE(double)

}  // namespace chainrule
