// All kernels of one instruction set, and the table that is in use.
//
// Each kernels/*.cpp is compiled once for each instruction set into a namespace of its name (CHAINRULE_ISA),
// where a function fill_<family> puts the addresses of its kernels into the table.
#pragma once

#include "kernels/bfloat16.h"
#include "kernels/conv2d_direct.h"
#include "kernels/elementwise.h"
#include "kernels/losses.h"
#include "kernels/matmul.h"
#include "kernels/normalise.h"
#include "kernels/optimise.h"
#include "kernels/reduce.h"
#include "kernels/peak.h"
#include "kernels/pool.h"
#include "kernels/random.h"
#include "kernels/softmax.h"
#include "kernels/winograd.h"

namespace chainrule {

template <class T>
struct KernelsOf {
  ElementwiseKernels<T> elementwise;
  ReduceKernels<T> reduce;
  MatmulKernels<T> matmul;
  Conv2dKernels<T> conv2d;
  WinogradKernels<T> winograd;
  PoolKernels<T> pool;
  NormaliseKernels<T> normalise;
  RandomKernels<T> random;
  SoftmaxKernels<T> softmax;
  LossKernels<T> losses;
  OptimiseKernels<T> optimise;
  PeakKernels<T> peak;
};

struct KernelTable {
  KernelsOf<float> float32;
  KernelsOf<double> float64;
  Bfloat16Kernels bfloat16;
};

// The table for the active instruction set.
const KernelTable& kernel_table();

template <class T>
const KernelsOf<T>& kernels();
template <>
inline const KernelsOf<float>& kernels<float>() {
  return kernel_table().float32;
}
template <>
inline const KernelsOf<double>& kernels<double>() {
  return kernel_table().float64;
}

}  // namespace chainrule
