// The one vector type that kernels are written in: GCC/Clang vector extensions, as wide as the instruction
// set that the including file is compiled for (CHAINRULE_ISA, set by the build).
//
// Everything here and in kernels/ lives in a namespace of the instruction set's name, and uses no templates
// or inline functions of the standard library: the linker merges those by name, and could give the baseline a
// copy that was compiled for AVX-512.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
// GCC 12's header leaves values undefined on purpose, and warns of them where it is used.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#ifndef CHAINRULE_ISA
#error "kernels are compiled once per instruction set, with CHAINRULE_ISA set to its name"
#endif

namespace chainrule::CHAINRULE_ISA {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
constexpr int vector_registers = 32;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
constexpr int vector_registers = 16;
#else
constexpr int vector_bytes = 16;
#if defined(__aarch64__)
constexpr int vector_registers = 32;
#else
constexpr int vector_registers = 16;
#endif
#endif

template <class T>
struct VecOf;
template <>
struct VecOf<float> {
  typedef float type __attribute__((vector_size(vector_bytes)));
  typedef int32_t mask __attribute__((vector_size(vector_bytes)));
  using integer = int32_t;
};
template <>
struct VecOf<double> {
  typedef double type __attribute__((vector_size(vector_bytes)));
  typedef int64_t mask __attribute__((vector_size(vector_bytes)));
  using integer = int64_t;
};

// A vector of another width, for the steps of a horizontal sum.
template <class T, int bytes>
struct SizedVec {
  typedef T type __attribute__((vector_size(bytes)));
};

template <class T>
using Vec = typename VecOf<T>::type;
// What comparing two Vec<T> gives: all ones or all zeros in each lane, as signed integers.
template <class T>
using Mask = typename VecOf<T>::mask;

template <class T>
constexpr int lanes = vector_bytes / static_cast<int>(sizeof(T));

template <class T>
inline Vec<T> load(const T* p) {
  Vec<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
inline void store(T* p, Vec<T> v) {
  std::memcpy(p, &v, sizeof v);
}

// The first n < lanes values; the other lanes are 0. Masked moves where the processor has them: rows of a few
// values, as scores of ten classes, are read this way alone.
template <class T>
inline Vec<T> load_first(const T* p, int64_t n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
  else
    return (Vec<T>)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
#else
  T values[lanes<T>] = {};
  for (int64_t i = 0; i < n; ++i) values[i] = p[i];
  return load(values);
#endif
}

template <class T>
inline void store_first(T* p, Vec<T> v, int64_t n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
  else
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), (__m512d)v);
#else
  T values[lanes<T>];
  store<T>(values, v);
  for (int64_t i = 0; i < n; ++i) p[i] = values[i];
#endif
}

template <class T>
inline Vec<T> broadcast(T value) {
  return value - Vec<T>{};  // x - 0 is x for every x, -0 and NaN included
}

template <class T>
inline Mask<T> as_bits(Vec<T> v) {
  Mask<T> bits;
  std::memcpy(&bits, &v, sizeof bits);
  return bits;
}

template <class T>
inline Vec<T> from_bits(Mask<T> bits) {
  Vec<T> v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

// Lane i is lane from[i] of v, by one instruction where has_shuffle.
#if defined(__AVX512F__)
constexpr bool has_shuffle = true;
inline Vec<float> shuffled(Vec<float> v, Mask<float> from) {
  return (Vec<float>)_mm512_maskz_permutexvar_ps(__mmask16(0xffff), (__m512i)from, (__m512)v);
}
#elif defined(__AVX2__)
constexpr bool has_shuffle = true;
inline Vec<float> shuffled(Vec<float> v, Mask<float> from) {
  return (Vec<float>)_mm256_permutevar8x32_ps((__m256)v, (__m256i)from);
}
#else
constexpr bool has_shuffle = false;
inline Vec<float> shuffled(Vec<float> v, Mask<float> from) {
  Vec<float> out = {};
  for (int i = 0; i < lanes<float>; ++i) out[i] = v[from[i]];
  return out;
}
#endif

// The sum of the lanes: halves are folded onto each other, which fixes the order.
template <class T, int bytes = vector_bytes>
inline T sum_lanes(typename SizedVec<T, bytes>::type v) {
  if constexpr (bytes > 16) {
    typename SizedVec<T, bytes / 2>::type low, high;
    std::memcpy(&low, &v, bytes / 2);
    std::memcpy(&high, reinterpret_cast<const char*>(&v) + bytes / 2, bytes / 2);
    return sum_lanes<T, bytes / 2>(low + high);
  } else if constexpr (sizeof(T) == 4) {
    return (v[0] + v[2]) + (v[1] + v[3]);
  } else {
    return v[0] + v[1];
  }
}

// 64-bit lanes, for products of 32-bit words.
typedef uint64_t WideVec __attribute__((vector_size(vector_bytes)));
constexpr int wide_lanes = vector_bytes / 8;

// The low 32 bits of each lane times `factor`, all 64 bits of it.
inline WideVec widening_multiply(WideVec a, uint32_t factor) {
#if defined(__AVX512F__)
  return (WideVec)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(factor));
#elif defined(__AVX2__)
  return (WideVec)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(factor));
#elif defined(__SSE2__)
  return (WideVec)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(factor));
#else
  return (a & 0xffffffffu) * factor;
#endif
}

// NaN wins over every number; of equal values the first argument is taken.
template <class T>
inline Vec<T> maximum(Vec<T> a, Vec<T> b) {
  return ((a >= b) | (a != a)) ? a : b;
}
template <class T>
inline Vec<T> minimum(Vec<T> a, Vec<T> b) {
  return ((a <= b) | (a != a)) ? a : b;
}

template <class T>
inline T max_lanes(Vec<T> v) {
  T parts[lanes<T>], best;
  store(parts, v);
  best = parts[0];
  for (int i = 1; i < lanes<T>; ++i)
    if (parts[i] > best || parts[i] != parts[i]) best = parts[i];
  return best;
}

// Asks for what a walk through memory reads a little after `p`, for walks longer than the caches: processors'
// own prefetching begins anew in each page, and some machines have none that helps. Any address will do.
inline void fetch_ahead(const void* p) {
  constexpr int64_t distance = 4096;  // bytes
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) + distance));
}

// Calls body(i, get, put) for each vector of a range of n values. The last call reads and writes only what is
// left, with zeros in the other lanes of what it reads.
template <class T, class Body>
inline void for_vectors(int64_t n, Body body) {
  constexpr int L = lanes<T>;
  int64_t i = 0;
  for (; i + L <= n; i += L)
    body(i, [](const T* p) { return load(p); }, [](T* p, Vec<T> v) { store<T>(p, v); });
  if (int64_t left = n - i; left > 0)
    body(
        i, [left](const T* p) { return load_first(p, left); },
        [left](T* p, Vec<T> v) { store_first<T>(p, v, left); });
}

// Applies a function of single numbers to each lane, for what has no vector form here.
template <class T, class Function>
inline Vec<T> by_lane(Vec<T> x, Function function) {
  T values[lanes<T>];
  store(values, x);
  for (int i = 0; i < lanes<T>; ++i) values[i] = function(values[i]);
  return load(values);
}

// max(0, x), which lets NaN through.
template <class T>
inline Vec<T> positive_part(Vec<T> x) {
  return x <= T(0) ? Vec<T>{} : x;
}

// x where y is positive, else 0: the way back through a relu whose result is y.
template <class T>
inline Vec<T> where_positive(Vec<T> y, Vec<T> x) {
  return y > T(0) ? x : Vec<T>{};
}

}  // namespace chainrule::CHAINRULE_ISA
