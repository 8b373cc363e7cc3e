// Losses of scores (N, C) against labels (N,): one loss a row, and their gradients.
#pragma once

#include <cstdint>

namespace chainrule {

// Throws std::invalid_argument naming the row and the value when a label is not in [0, classes).
void check_labels(const char* operation, const int64_t* labels, int64_t rows, int64_t classes);

// gradients: one number a row, or one for all rows (step 0). Labels are checked first.
template <class T>
void cross_entropy(const T* x, const int64_t* labels, int64_t rows, int64_t classes, double smoothing,
                   T* losses);
template <class T>
void cross_entropy_gradient(const T* x, const int64_t* labels, int64_t rows, int64_t classes,
                            double smoothing, const T* gradients, int64_t step, T* dx);

template <class T>
void hinge(const T* x, const int64_t* labels, int64_t rows, int64_t classes, double delta, bool squared,
           T* losses);
template <class T>
void hinge_gradient(const T* x, const int64_t* labels, int64_t rows, int64_t classes, double delta,
                    bool squared, const T* gradients, int64_t step, T* dx);

}  // namespace chainrule
