#include "kernels/pool.h"

#include <type_traits>

#include "kernels/table.h"
#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// The pixels [first, last) of an axis that window `o` meets, `start` being where it begins, padding included.
struct Span {
  int64_t start, first, last;
};
Span window(int64_t o, int64_t stride, int64_t before, int64_t kernel, int64_t size) {
  const int64_t start = o * stride - before;
  return {start, most(start, 0), least(start + kernel, size)};
}

// The windows [first, last) that meet pixel i.
struct Windows {
  int64_t first, last;
};
Windows windows_of(int64_t i, int64_t stride, int64_t before, int64_t kernel, int64_t outputs) {
  const int64_t reach = i + before - kernel;  // the last place where a window ends before i
  return {reach < 0 ? 0 : reach / stride + 1, least((i + before) / stride + 1, outputs)};
}

// Indices as integers of a value's size, and back. The compiler takes such conversions of bytes apart lane by
// lane: they are spelled out where a processor has them.
template <class T>
inline Mask<T> widened(const uint8_t* bytes) {
#if defined(__AVX512F__)
  __m128i v = {};
  std::memcpy(&v, bytes, lanes<T>);
  if constexpr (sizeof(T) == 4)
    return (Mask<T>)_mm512_maskz_cvtepu8_epi32(__mmask16(0xffff), v);
  else
    return (Mask<T>)_mm512_maskz_cvtepu8_epi64(__mmask8(0xff), v);
#elif defined(__AVX2__)
  __m128i v = {};
  std::memcpy(&v, bytes, lanes<T>);
  if constexpr (sizeof(T) == 4)
    return (Mask<T>)_mm256_cvtepu8_epi32(v);
  else
    return (Mask<T>)_mm256_cvtepu8_epi64(v);
#else
  Mask<T> out = {};
  for (int i = 0; i < lanes<T>; ++i) out[i] = bytes[i];
  return out;
#endif
}
template <class T>
inline Mask<T> widened(const int32_t* indices) {
  Mask<T> out = {};
  for (int i = 0; i < lanes<T>; ++i) out[i] = indices[i];
  return out;
}

template <class T>
inline void narrow(Mask<T> indices, uint8_t* bytes) {
#if defined(__AVX512F__)
  __m128i v;
  if constexpr (sizeof(T) == 4)
    v = _mm512_maskz_cvtepi32_epi8(__mmask16(0xffff), (__m512i)indices);
  else
    v = _mm512_maskz_cvtepi64_epi8(__mmask8(0xff), (__m512i)indices);
  std::memcpy(bytes, &v, lanes<T>);
#else
  for (int i = 0; i < lanes<T>; ++i) bytes[i] = static_cast<uint8_t>(indices[i]);
#endif
}
template <class T>
inline void narrow(Mask<T> indices, int32_t* out) {
  for (int i = 0; i < lanes<T>; ++i) out[i] = static_cast<int32_t>(indices[i]);
}

// The first `count` indices; the other lanes are 0.
template <class T, class Index>
inline Mask<T> load_indices(const Index* p, int64_t count) {
  if (count == lanes<T>) return widened<T>(p);
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  if constexpr (sizeof(Index) == 1 && sizeof(T) == 4)
    return (Mask<T>)_mm512_maskz_cvtepu8_epi32(
        __mmask16(0xffff), _mm_maskz_loadu_epi8(static_cast<__mmask16>((1u << count) - 1), p));
#endif
  Index all[lanes<T>] = {};
  for (int64_t i = 0; i < count; ++i) all[i] = p[i];
  return widened<T>(all);
}

template <class T, class Index>
inline void store_indices(Index* p, Mask<T> indices, int64_t count) {
  if (count == lanes<T>) return narrow<T>(indices, p);
#if defined(__AVX512F__)
  if constexpr (sizeof(Index) == 1 && sizeof(T) == 4)
    return _mm512_mask_cvtepi32_storeu_epi8(p, static_cast<__mmask16>((1u << count) - 1), (__m512i)indices);
#endif
  Index all[lanes<T>];
  narrow<T>(indices, all);
  for (int64_t i = 0; i < count; ++i) p[i] = all[i];
}

template <class T>
inline Mask<T> same(int64_t index) {
  return Mask<T>{} + static_cast<typename VecOf<T>::integer>(index);
}

template <class T, class Index>
void max_forward(const PoolGeometry& p, const T* image, int64_t row, T* values, Index* indices) {
  constexpr int L = lanes<T>;
  const Span h = window(row, p.stride_height, p.top, p.kernel_height, p.height);
  for (int64_t j = 0; j < p.out_width; ++j, values += p.channels, indices += p.channels) {
    const Span w = window(j, p.stride_width, p.left, p.kernel_width, p.width);
    for_vectors<T>(p.channels, [&](int64_t c, auto get, auto put) {
      Vec<T> best = {};
      Mask<T> at = {};
      bool started = false;
      for (int64_t y = h.first; y < h.last; ++y)
        for (int64_t x = w.first; x < w.last; ++x) {
          const T* from = image + (y * p.width + x) * p.channels + c;
          fetch_ahead(from);
          const Vec<T> value = get(from);
          const Mask<T> here = same<T>((y - h.start) * p.kernel_width + x - w.start);
          const Mask<T> better =
              started ? (value > best) | ((value != value) & (best == best)) : Mask<T>{} - 1;
          best = better ? value : best;
          at = better ? here : at;
          started = true;
        }
      put(values + c, best);
      store_indices<T, Index>(indices + c, at, least(p.channels - c, L));
    });
  }
}

// Where windows do not overlap each pixel has one reader at most: what a window gives is read once, for all
// of its pixels.
template <class T, class Index>
void scatter_apart(const PoolGeometry& p, const T* gradient, const Index* indices, int64_t row, T* out) {
  constexpr int L = lanes<T>;
  auto clear = [&](int64_t first, int64_t last) {
    for (int64_t i = first * p.channels; i < last * p.channels; ++i) out[i] = T(0);
  };
  const Windows h = windows_of(row, p.stride_height, p.top, p.kernel_height, p.out_height);
  if (h.first >= h.last) return clear(0, p.width);
  const int64_t first = (row + p.top - h.first * p.stride_height) * p.kernel_width;
  gradient += h.first * p.out_width * p.channels;
  indices += h.first * p.out_width * p.channels;
  // Of few channels a row of a window is one vector: which lane takes which channel and which pixel.
  const bool one_vector = has_shuffle && std::is_same_v<T, float> && p.kernel_width * p.channels <= L;
  Mask<T> channel = {}, pixel = {};
  int lane = 0;
  for (int x = 0; one_vector && x < p.kernel_width; ++x)
    for (int c = 0; c < p.channels; ++c, ++lane) {
      channel[lane] = c;
      pixel[lane] = x;
    }
  int64_t done = 0;  // pixels
  for (int64_t j = 0; j < p.out_width; ++j, gradient += p.channels, indices += p.channels) {
    const Span w = window(j, p.stride_width, p.left, p.kernel_width, p.width);
    clear(done, w.first);
    done = w.last;
    T* to = out + w.first * p.channels;
    const int64_t begin = first + w.first - w.start, count = w.last - w.first;
    if constexpr (std::is_same_v<T, float>)
      if (one_vector) {
        const Vec<T> value = shuffled(load_first(gradient, p.channels), channel);
        const Mask<T> index =
            as_bits<T>(shuffled(from_bits<T>(load_indices<T, Index>(indices, p.channels)), channel));
        store_first<T>(to, index == pixel + same<T>(begin) ? value : Vec<T>{}, count * p.channels);
        continue;
      }
    int64_t c = 0;
    for (; c + L <= p.channels; c += L) {
      fetch_ahead(gradient + c);
      fetch_ahead(indices + c);
      const Vec<T> value = load(gradient + c);
      const Mask<T> index = load_indices<T, Index>(indices + c, L);
      for (int64_t x = 0; x < count; ++x)
        store<T>(to + x * p.channels + c, index == same<T>(begin + x) ? value : Vec<T>{});
    }
    for (; c < p.channels; ++c) {
      // Which pixel won is a matter of chance: bits are masked, so that no branch has to guess it.
      typename VecOf<T>::integer bits;
      std::memcpy(&bits, gradient + c, sizeof bits);
      const auto index = static_cast<Index>(static_cast<uint32_t>(indices[c]) - static_cast<uint32_t>(begin));
      for (int64_t x = 0; x < count; ++x) {
        const auto kept = bits & -static_cast<typename VecOf<T>::integer>(index == x);
        std::memcpy(to + x * p.channels + c, &kept, sizeof kept);
      }
    }
  }
  clear(done, p.width);
}

template <class T, class Index>
void max_scatter(const PoolGeometry& p, const T* gradient, const Index* indices, int64_t row, T* out) {
  constexpr int L = lanes<T>;
  if (p.stride_height >= p.kernel_height && p.stride_width >= p.kernel_width)
    return scatter_apart<T, Index>(p, gradient, indices, row, out);
  const Windows h = windows_of(row, p.stride_height, p.top, p.kernel_height, p.out_height);
  for (int64_t i = 0; i < p.width; ++i, out += p.channels) {
    const Windows w = windows_of(i, p.stride_width, p.left, p.kernel_width, p.out_width);
    for_vectors<T>(p.channels, [&](int64_t c, auto get, auto put) {
      Vec<T> sum = {};
      for (int64_t y = h.first; y < h.last; ++y)
        for (int64_t x = w.first; x < w.last; ++x) {
          const int64_t at = (y * p.out_width + x) * p.channels + c;
          const int64_t here =
              (row + p.top - y * p.stride_height) * p.kernel_width + i + p.left - x * p.stride_width;
          const Mask<T> chosen =
              load_indices<T, Index>(indices + at, least(p.channels - c, L)) == same<T>(here);
          sum += chosen ? get(gradient + at) : Vec<T>{};
        }
      put(out + c, sum);
    });
  }
}

template <class T, class Index>
void max_gather(const PoolGeometry& p, const T* image, const Index* indices, int64_t row, T* out) {
  const int64_t top = row * p.stride_height - p.top;
  for (int64_t j = 0; j < p.out_width; ++j) {
    const int64_t left = j * p.stride_width - p.left;
    for (int64_t c = 0; c < p.channels; ++c) {
      const int64_t index = *indices++;
      const int64_t y = top + index / p.kernel_width, x = left + index % p.kernel_width;
      *out++ = image[(y * p.width + x) * p.channels + c];
    }
  }
}

// How many pixels window (h, w) divides by.
int64_t divisor(const PoolGeometry& p, const Span& h, const Span& w) {
  if (!p.count_include_pad) return (h.last - h.first) * (w.last - w.first);
  return (least(h.start + p.kernel_height, p.padded_height - p.top) - h.start) *
         (least(w.start + p.kernel_width, p.padded_width - p.left) - w.start);
}

template <class T>
void average(const PoolGeometry& p, const T* image, int64_t row, T* out) {
  const Span h = window(row, p.stride_height, p.top, p.kernel_height, p.height);
  for (int64_t j = 0; j < p.out_width; ++j, out += p.channels) {
    const Span w = window(j, p.stride_width, p.left, p.kernel_width, p.width);
    const T factor = T(1) / static_cast<T>(divisor(p, h, w));
    for_vectors<T>(p.channels, [&](int64_t c, auto get, auto put) {
      Vec<T> sum = {};
      for (int64_t y = h.first; y < h.last; ++y)
        for (int64_t x = w.first; x < w.last; ++x) {
          const T* from = image + (y * p.width + x) * p.channels + c;
          fetch_ahead(from);
          sum += get(from);
        }
      put(out + c, sum * factor);
    });
  }
}

template <class T>
void average_adjoint(const PoolGeometry& p, const T* gradient, int64_t row, T* out) {
  const Windows h = windows_of(row, p.stride_height, p.top, p.kernel_height, p.out_height);
  for (int64_t i = 0; i < p.width; ++i, out += p.channels) {
    const Windows w = windows_of(i, p.stride_width, p.left, p.kernel_width, p.out_width);
    for_vectors<T>(p.channels, [&](int64_t c, auto get, auto put) {
      Vec<T> sum = {};
      for (int64_t y = h.first; y < h.last; ++y) {
        const Span rows = window(y, p.stride_height, p.top, p.kernel_height, p.height);
        for (int64_t x = w.first; x < w.last; ++x) {
          const Span columns = window(x, p.stride_width, p.left, p.kernel_width, p.width);
          const T factor = T(1) / static_cast<T>(divisor(p, rows, columns));
          sum += get(gradient + (y * p.out_width + x) * p.channels + c) * factor;
        }
      }
      put(out + c, sum);
    });
  }
}

template <class T>
void fill(PoolKernels<T>& kernels) {
  kernels.max = {max_forward<T, uint8_t>, max_scatter<T, uint8_t>, max_gather<T, uint8_t>};
  kernels.max_wide = {max_forward<T, int32_t>, max_scatter<T, int32_t>, max_gather<T, int32_t>};
  kernels.average = average<T>;
  kernels.average_adjoint = average_adjoint<T>;
}

}  // namespace

void fill_pool(KernelTable& table) {
  fill(table.float32.pool);
  fill(table.float64.pool);
}

}  // namespace chainrule::CHAINRULE_ISA
