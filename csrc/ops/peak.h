// The machine's peak, measured: what the benchmarks hold kernels against.
#pragma once

namespace chainrule {

// Multiplications and additions a second on vector registers alone, with the instruction set and the threads
// in use: the best moment of about `seconds`. Throws std::invalid_argument unless 0 <= seconds <= 60.
template <class T>
double multiply_add_rate(double seconds);

}  // namespace chainrule
