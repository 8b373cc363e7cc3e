// Operands of bfloat16 products, packed as the kernels read them, and matrix products of them.
#pragma once

#include "ops/matmul.h"

namespace chainrule {

// Values of one packed panel of `depth` (a multiple of the kernels' depth_unit).
int64_t bfloat16_panel_values(int64_t depth);

// Packs columns [0, columns) of a matrix b (k, columns), columns <= panel, k <= depth, with zeros past either
// end: `b` is at data[i * row + j * column], one of row and column being 1.
void pack_bfloat16_panel(MatrixView<float> b, int64_t k, int64_t columns, int64_t depth, uint16_t* to);

// Packs rows [0, rows) of a matrix a (rows, k), each to `depth` values with zeros past k; one of its strides
// is 1.
void pack_bfloat16_rows(MatrixView<float> a, int64_t rows, int64_t k, int64_t depth, uint16_t* to);

// c = a b with operands rounded to bfloat16 and sums in float32: (m, k) (k, n), rows of c beside each other.
// One stride of each operand is 1. The error is that of conv2d_bfloat16 with n = k.
void matmul_bfloat16(MatrixView<float> a, MatrixView<float> b, int64_t m, int64_t n, int64_t k,
                     const Epilogue<float>& epilogue, float* c);

}  // namespace chainrule
