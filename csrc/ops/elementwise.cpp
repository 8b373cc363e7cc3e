#include "ops/elementwise.h"

#include <algorithm>

#include "kernels/table.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

constexpr int64_t values_per_chunk = 1 << 15;  // 128 KiB of float32: some 10 microseconds of memory traffic

// Work per value, in units of an addition: what a chunk may hold depends on it.
int64_t cost(UnaryOp op) {
  switch (op) {
    case UnaryOp::exp:
    case UnaryOp::log:
    case UnaryOp::tanh:
    case UnaryOp::sigmoid:
    case UnaryOp::gelu:
    case UnaryOp::silu:
    case UnaryOp::softplus:
      return 4;
    case UnaryOp::sin:
    case UnaryOp::cos:
      return 16;
    default:
      return 1;
  }
}

// How operands with steps of 0 and 1 walk over the output: dimensions merged wherever all operands allow it,
// so that most cases are a few long rows.
template <int operands>
struct Walk {
  Shape sizes;
  Shape strides[operands];

  Walk(const Shape& out, const Shape* const (&shapes)[operands]) {
    const size_t dimensions = out.size();
    for (size_t d = 0; d < dimensions; ++d) {
      int64_t stride[operands];
      for (int o = 0; o < operands; ++o) {
        const Shape& own = *shapes[o];
        size_t missing = dimensions - own.size();
        stride[o] = 0;
        if (d >= missing && own[d - missing] != 1) {
          stride[o] = 1;
          for (size_t rest = d - missing + 1; rest < own.size(); ++rest) stride[o] *= own[rest];
        }
      }
      if (out[d] == 1) continue;
      bool merge = !sizes.empty();
      for (int o = 0; merge && o < operands; ++o) merge = strides[o].back() == stride[o] * out[d];
      if (merge) {
        sizes.back() *= out[d];
        for (int o = 0; o < operands; ++o) strides[o].back() = stride[o];
      } else {
        sizes.push_back(out[d]);
        for (int o = 0; o < operands; ++o) strides[o].push_back(stride[o]);
      }
    }
    if (sizes.empty()) {
      sizes.push_back(1);
      for (auto& s : strides) s.push_back(0);
    }
  }

  // Calls row(offsets of the operands, offset of the output, length) for each piece of a row within
  // [begin, end) of the output.
  template <class Row>
  void rows(int64_t begin, int64_t end, const Row& row) const {
    const int64_t length = sizes.back();
    while (begin < end) {
      int64_t index = begin / length, column = begin % length;
      int64_t count = std::min(length - column, end - begin);
      int64_t offsets[operands];
      for (int o = 0; o < operands; ++o) offsets[o] = column * strides[o].back();
      for (size_t d = sizes.size() - 1; d-- > 0;) {
        int64_t at = index % sizes[d];
        index /= sizes[d];
        for (int o = 0; o < operands; ++o) offsets[o] += at * strides[o][d];
      }
      row(offsets, begin, count);
      begin += count;
    }
  }
};

template <class Body>
void in_chunks(int64_t n, int64_t cost_per_value, const Body& body) {
  const int64_t per_chunk = values_per_chunk / cost_per_value;
  parallel_for((n + per_chunk - 1) / per_chunk,
               [&](int64_t chunk) { body(chunk * per_chunk, std::min(n, (chunk + 1) * per_chunk)); });
}

}  // namespace

Shape broadcast_shape(const char* operation, const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    size_t from_end = out.size() - i;
    int64_t x = from_end <= a.size() ? a[a.size() - from_end] : 1;
    int64_t y = from_end <= b.size() ? b[b.size() - from_end] : 1;
    if (x != y && x != 1 && y != 1)
      throw std::invalid_argument(std::string(operation) + ": shapes " + shape_text(a) + " and " +
                                  shape_text(b) + " do not broadcast: sizes " + std::to_string(x) + " and " +
                                  std::to_string(y) + " differ and neither is 1");
    out[i] = x == 1 ? y : x;
  }
  element_count(out, operation);
  return out;
}

template <class T>
void apply_unary(UnaryOp op, const T* x, T* out, int64_t n) {
  auto kernel = kernels<T>().elementwise.unary[static_cast<int>(op)];
  in_chunks(n, cost(op), [&](int64_t begin, int64_t end) { kernel(x + begin, out + begin, end - begin); });
}

template <class T>
void apply_binary(BinaryOp op, const ArrayView<T>& a, const ArrayView<T>& b, T* out) {
  auto kernel = kernels<T>().elementwise.binary[static_cast<int>(op)];
  const int64_t cost_per_value = op == BinaryOp::power ? 16 : 1;
  if (a.shape == b.shape) {
    in_chunks(element_count(a.shape, "elementwise"), cost_per_value, [&](int64_t begin, int64_t end) {
      kernel(a.data + begin, 1, b.data + begin, 1, out + begin, end - begin);
    });
    return;
  }
  const Shape shape = broadcast_shape("elementwise", a.shape, b.shape);
  const Walk<2> walk(shape, {&a.shape, &b.shape});
  in_chunks(element_count(shape, "elementwise"), cost_per_value, [&](int64_t begin, int64_t end) {
    walk.rows(begin, end, [&](const int64_t (&offsets)[2], int64_t at, int64_t count) {
      kernel(a.data + offsets[0], walk.strides[0].back(), b.data + offsets[1], walk.strides[1].back(),
             out + at, count);
    });
  });
}

template <class T>
void apply_small(BinaryOp op, const T* a, const T* b, int64_t b_step, T* out, int64_t n) {
  kernels<T>().elementwise.binary[static_cast<int>(op)](a, 1, b, b_step, out, n);
}

template <class T>
void apply_where(const ArrayView<uint8_t>& condition, const ArrayView<T>& a, const ArrayView<T>& b, T* out) {
  auto kernel = kernels<T>().elementwise.where;
  const Shape shape = broadcast_shape("where", broadcast_shape("where", a.shape, b.shape), condition.shape);
  const Walk<3> walk(shape, {&condition.shape, &a.shape, &b.shape});
  in_chunks(element_count(shape, "where"), 2, [&](int64_t begin, int64_t end) {
    walk.rows(begin, end, [&](const int64_t (&offsets)[3], int64_t at, int64_t count) {
      kernel(condition.data + offsets[0], walk.strides[0].back(), a.data + offsets[1], walk.strides[1].back(),
             b.data + offsets[2], walk.strides[2].back(), out + at, count);
    });
  });
}

template <class T>
void apply_chosen(Extremum which, const ArrayView<T>& a, const ArrayView<T>& b, uint8_t* out) {
  const auto& table = kernels<T>().elementwise;
  auto kernel = which == Extremum::maximum ? table.chosen_by_maximum : table.chosen_by_minimum;
  const Shape shape = broadcast_shape("chosen", a.shape, b.shape);
  const Walk<2> walk(shape, {&a.shape, &b.shape});
  in_chunks(element_count(shape, "chosen"), 1, [&](int64_t begin, int64_t end) {
    walk.rows(begin, end, [&](const int64_t (&offsets)[2], int64_t at, int64_t count) {
      kernel(a.data + offsets[0], walk.strides[0].back(), b.data + offsets[1], walk.strides[1].back(),
             out + at, count);
    });
  });
}

template <class T>
void apply_broadcast(const ArrayView<T>& x, const Shape& shape, T* out) {
  if (broadcast_shape("broadcast_to", x.shape, shape) != shape)
    throw std::invalid_argument("broadcast_to: " + shape_text(x.shape) + " does not broadcast to " +
                                shape_text(shape));
  auto kernel = kernels<T>().elementwise.copy;
  const Walk<1> walk(shape, {&x.shape});
  in_chunks(element_count(shape, "broadcast_to"), 1, [&](int64_t begin, int64_t end) {
    walk.rows(begin, end, [&](const int64_t (&offsets)[1], int64_t at, int64_t count) {
      kernel(x.data + offsets[0], walk.strides[0].back(), out + at, count);
    });
  });
}

#define CHAINRULE_INSTANTIATE(T)                                                               \
  template void apply_unary<T>(UnaryOp, const T*, T*, int64_t);                                \
  template void apply_binary<T>(BinaryOp, const ArrayView<T>&, const ArrayView<T>&, T*);       \
  template void apply_small<T>(BinaryOp, const T*, const T*, int64_t, T*, int64_t);            \
  template void apply_chosen<T>(Extremum, const ArrayView<T>&, const ArrayView<T>&, uint8_t*); \
  template void apply_broadcast<T>(const ArrayView<T>&, const Shape&, T*);                     \
  template void apply_where<T>(const ArrayView<uint8_t>&, const ArrayView<T>&, const ArrayView<T>&, T*);
CHAINRULE_INSTANTIATE(float)
CHAINRULE_INSTANTIATE(double)

}  // namespace chainrule
