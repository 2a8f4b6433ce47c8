// Products of codes for AVX2, whose byte multiply saturates at 16 bits: int8 weights give it their magnitude and the
// activations their sign (128 * 127 * 2 still fits); int4 weights are small enough for eight products in 16 bits.
#pragma once

#include "linear/tile_family.h"

namespace millrace::MILLRACE_ISA {

/** Sixteen int32 lanes. */
struct Ints {
  __m256i lo;
  __m256i hi;
};

MILLRACE_INLINE Ints splatInt(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
MILLRACE_INLINE V16 toFloat(Ints a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }
MILLRACE_INLINE Ints loadUnits(const uint8_t* from) {
  const __m256i* units = reinterpret_cast<const __m256i*>(from);
  return {_mm256_loadu_si256(units), _mm256_loadu_si256(units + 1)};
}
/** `mask` bits of each lane from bit `shift`. */
MILLRACE_INLINE Ints field(Ints a, int shift, int mask) {
  const __m256i bits = _mm256_set1_epi32(mask);
  return {_mm256_and_si256(_mm256_srli_epi32(a.lo, shift), bits),
          _mm256_and_si256(_mm256_srli_epi32(a.hi, shift), bits)};
}
/** The low (high) bf16 of each lane, widened. */
MILLRACE_INLINE V16 lowBf16(Ints a) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(a.lo, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(a.hi, 16))};
}
MILLRACE_INLINE V16 highBf16(Ints a) {
  const __m256i bits = _mm256_set1_epi32(static_cast<int>(0xffff0000));
  return {_mm256_castsi256_ps(_mm256_and_si256(a.lo, bits)), _mm256_castsi256_ps(_mm256_and_si256(a.hi, bits))};
}
/** Writes whole floats as int8 and returns their sum. */
MILLRACE_INLINE int32_t storeCodes(int8_t* to, V16 a) {
  const __m256i lo = _mm256_cvtps_epi32(a.lo);
  const __m256i hi = _mm256_cvtps_epi32(a.hi);
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(lo, hi), 0xd8);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
  const __m256i sum = _mm256_add_epi32(lo, hi);
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1));
  return _mm_cvtsi128_si32(four);
}

/** An int8 weight code is used as it is, so nothing has to be taken off again. */
constexpr int int8BiasShift = 0;

/** a - (b << shift) */
template <int shift>
MILLRACE_INLINE Ints subShifted(Ints a, int32_t b) {
  const __m256i shifted = _mm256_slli_epi32(_mm256_set1_epi32(b), shift);
  return {_mm256_sub_epi32(a.lo, shifted), _mm256_sub_epi32(a.hi, shifted)};
}

MILLRACE_INLINE __m256i broadcast4(const void* from) {
  int32_t bytes;
  std::memcpy(&bytes, from, 4);
  return _mm256_set1_epi32(bytes);
}

/** Keeps a sum in its register at this place: left alone, GCC first makes all products and holds them on the stack. */
MILLRACE_INLINE void settle(Ints& sum) { asm("" : "+x"(sum.lo), "+x"(sum.hi)); }

MILLRACE_INLINE __m256i addPairs(__m256i acc, __m256i words) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(words, _mm256_set1_epi16(1)));
}

template <int steps, int rows, int tiles>
MILLRACE_INLINE void addInt8Products(Ints (&acc)[rows][tiles], const uint8_t* const (&weights)[tiles],
                                     int64_t offset, const int8_t* x, int64_t stride, Ahead ahead) {
  const __m256i top = _mm256_set1_epi8(-128);
#pragma GCC unroll 8
  for (int step = 0; step < 2 * steps; ++step) {
#pragma GCC unroll 4
    for (int c = 0; c < tiles; ++c) {
      if (step % 2 == 0) prefetchStep<Codes::Int8>(ahead, step / 2, c);
      const Ints stored = loadUnits(weights[c] + offset + step * 64);
      const Ints w{_mm256_xor_si256(stored.lo, top), _mm256_xor_si256(stored.hi, top)};
      const Ints size{_mm256_abs_epi8(w.lo), _mm256_abs_epi8(w.hi)};
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        const __m256i a = broadcast4(x + r * stride + step * 4);
        acc[r][c].lo = addPairs(acc[r][c].lo, _mm256_maddubs_epi16(size.lo, _mm256_sign_epi8(a, w.lo)));
        acc[r][c].hi = addPairs(acc[r][c].hi, _mm256_maddubs_epi16(size.hi, _mm256_sign_epi8(a, w.hi)));
        settle(acc[r][c]);
      }
    }
  }
}

/** At most 4 steps: 8 sums of two products, each at most 15 * 127 * 2 = 3,810, stay within 16 bits (30,480). */
template <int steps, int rows, int tiles>
MILLRACE_INLINE void addInt4Products(Ints (&acc)[rows][tiles], const uint8_t* const (&weights)[tiles],
                                     int64_t offset, const int8_t* x, int64_t stride, Ahead ahead) {
  static_assert(steps <= 4);
  const __m256i nibble = _mm256_set1_epi8(15);
  Ints words[rows][tiles];
#pragma GCC unroll 8
  for (int step = 0; step < steps; ++step) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) {
        if (half == 0) prefetchStep<Codes::Int4>(ahead, step, c);
        Ints w = loadUnits(weights[c] + offset + step * 64);
        if (half == 1) w = {_mm256_srli_epi16(w.lo, 4), _mm256_srli_epi16(w.hi, 4)};
        w = {_mm256_and_si256(w.lo, nibble), _mm256_and_si256(w.hi, nibble)};
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) {
          const __m256i a = broadcast4(x + r * stride + step * 8 + half * 4);
          const Ints product{_mm256_maddubs_epi16(w.lo, a), _mm256_maddubs_epi16(w.hi, a)};
          Ints& sum = words[r][c];
          sum.lo = step + half == 0 ? product.lo : _mm256_add_epi16(sum.lo, product.lo);
          sum.hi = step + half == 0 ? product.hi : _mm256_add_epi16(sum.hi, product.hi);
          settle(sum);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < tiles; ++c) {
      acc[r][c].lo = addPairs(acc[r][c].lo, words[r][c].lo);
      acc[r][c].hi = addPairs(acc[r][c].hi, words[r][c].hi);
    }
  }
}

/**
 * acc[r][c] += sum over 8 * steps columns of weight code (tile c) times activation code (row r).
 * `weights[c] + offset` is where the columns start in the tile and `ahead` what to prefetch meanwhile.
 */
template <Codes codes, int steps, int rows, int tiles>
MILLRACE_INLINE void addProducts(Ints (&acc)[rows][tiles], const uint8_t* const (&weights)[tiles], int64_t offset,
                                 const int8_t* x, int64_t stride, Ahead ahead) {
  if constexpr (codes == Codes::Int4) {
    addInt4Products<steps>(acc, weights, offset, x, stride, ahead);
  } else {
    addInt8Products<steps>(acc, weights, offset, x, stride, ahead);
  }
}

/** Products of 16-bit codes, a step being two columns. */
template <int steps, int rows>
MILLRACE_INLINE void addWideProducts(Ints (&acc)[rows], const uint8_t* weights, const uint8_t* x, Ahead ahead) {
#pragma GCC unroll 16
  for (int step = 0; step < 4 * steps; ++step) {
    if (step % 4 == 0) prefetchStep<Codes::Int8>(ahead, step / 4);
    const Ints w = loadUnits(weights + step * 64);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const __m256i a = broadcast4(x + (step * rows + r) * 4);
      acc[r].lo = _mm256_add_epi32(acc[r].lo, _mm256_madd_epi16(w.lo, a));
      acc[r].hi = _mm256_add_epi32(acc[r].hi, _mm256_madd_epi16(w.hi, a));
      settle(acc[r]);
    }
  }
}

/** Products of 4-bit codes, a step being four columns; see addInt4Products for the range of the sums. */
template <int steps, int rows>
MILLRACE_INLINE void addNarrowProducts(Ints (&acc)[rows], const uint8_t* weights, const uint8_t* x, Ahead ahead) {
  static_assert(steps <= 4);
  Ints words[rows];
#pragma GCC unroll 8
  for (int step = 0; step < 2 * steps; ++step) {
    if (step % 2 == 0) prefetchStep<Codes::Int4>(ahead, step / 2);
    const Ints w = loadUnits(weights + step * 64);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const __m256i a = broadcast4(x + (step * rows + r) * 4);
      const Ints product{_mm256_maddubs_epi16(w.lo, a), _mm256_maddubs_epi16(w.hi, a)};
      words[r].lo = step == 0 ? product.lo : _mm256_add_epi16(words[r].lo, product.lo);
      words[r].hi = step == 0 ? product.hi : _mm256_add_epi16(words[r].hi, product.hi);
      settle(words[r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    acc[r].lo = addPairs(acc[r].lo, words[r].lo);
    acc[r].hi = addPairs(acc[r].hi, words[r].hi);
  }
}

/** acc[r] += sum over 8 * steps columns of unpacked weight code times panel code (panel.h). */
template <Codes codes, int steps, int rows>
MILLRACE_INLINE void addPanelProducts(Ints (&acc)[rows], const uint8_t* weights, const uint8_t* x, Ahead ahead) {
  if constexpr (codes == Codes::Int4) addNarrowProducts<steps>(acc, weights, x, ahead);
  else addWideProducts<steps>(acc, weights, x, ahead);
}

/** The int32 at `from` in all lanes. */
MILLRACE_INLINE Ints broadcastInt(const void* from) { return {broadcast4(from), broadcast4(from)}; }

}  // namespace millrace::MILLRACE_ISA
