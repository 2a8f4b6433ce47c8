// Sixteen f32 lanes: one AVX-512 register or two AVX2 registers. Code written over V16 gives the same bits on both,
// because every operation is one IEEE operation per lane and sums over lanes have one fixed order.
//
// The including file is compiled once per instruction set with MILLRACE_ISA naming a namespace, so that no function
// of one set can be linked into the other.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#ifndef MILLRACE_ISA
#error "MILLRACE_ISA must name the instruction set this file is compiled for"
#endif

#define MILLRACE_INLINE inline __attribute__((always_inline))

#if defined(__AVX512F__)
#include "vector/v16_avx512.h"
#else
#include "vector/v16_avx2.h"
#endif

namespace millrace::MILLRACE_ISA {

/** Sum of eight lanes: halves, then halves of halves; the tree is the same for every instruction set. */
MILLRACE_INLINE float reduceAdd8(__m256 v) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

MILLRACE_INLINE float reduceMax8(__m256 v) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

MILLRACE_INLINE float reduceAdd(V16 v) { return reduceAdd8(_mm256_add_ps(lowHalf(v), highHalf(v))); }
MILLRACE_INLINE float reduceMax(V16 v) { return reduceMax8(_mm256_max_ps(lowHalf(v), highHalf(v))); }

/** Lanes below `count` from memory, zero above. */
MILLRACE_INLINE V16 loadFirst(const float* from, int64_t count) {
  return count >= 16 ? load(from) : loadPartial(from, static_cast<int>(count));
}

/** What `storeStreaming` wrote comes before all that this thread writes from here on. */
MILLRACE_INLINE void fenceStreaming() { _mm_sfence(); }

MILLRACE_INLINE void storeFirst(float* to, V16 v, int64_t count) {
  if (count >= 16) store(to, v);
  else storePartial(to, v, static_cast<int>(count));
}

/** Lanes in [from, to) of `v`, `fill` elsewhere. */
MILLRACE_INLINE V16 keepRange(V16 v, int from, int to, V16 fill) {
  const V16 lane = laneNumbers();
  const V16 below = selectLess(lane, splat(static_cast<float>(to)), v, fill);
  return selectLess(lane, splat(static_cast<float>(from)), fill, below);
}

/**
 * e^x, relative error below 2e-7 for results that are normal numbers; 0 below -87.3, exactly 1 at 0. NaN stays NaN.
 * Cody-Waite reduction by ln 2 and a polynomial of degree 6 (minimax on [-ln2/2, ln2/2]).
 */
MILLRACE_INLINE V16 exp(V16 x) {
  const V16 lowest = splat(-87.3f);
  const V16 clamped = min(splat(88.0f), x);
  const V16 n = roundToEven(mul(clamped, splat(1.44269504088896341f)));
  V16 r = fnma(n, splat(0.693359375f), clamped);
  r = fnma(n, splat(-2.12194440e-4f), r);
  V16 p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = add(fma(mul(r, r), p, r), splat(1.0f));
  return selectLess(x, lowest, zero(), mul(p, powerOfTwo(n)));
}

/** tanh(x), absolute error below 3e-7. */
MILLRACE_INLINE V16 tanh(V16 x) {
  const V16 bounded = max(splat(-20.0f), min(splat(20.0f), x));
  const V16 e = exp(add(bounded, bounded));
  return sub(splat(1.0f), div(splat(2.0f), add(e, splat(1.0f))));
}

}  // namespace millrace::MILLRACE_ISA
