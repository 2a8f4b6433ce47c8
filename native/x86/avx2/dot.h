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

/** What has been added to an int8 weight code where `addProducts` uses it. */
constexpr int32_t int8Bias = 0;

MILLRACE_INLINE __m256i broadcast4(const int8_t* from) {
  int32_t bytes;
  std::memcpy(&bytes, from, 4);
  return _mm256_set1_epi32(bytes);
}

MILLRACE_INLINE __m256i addPairs(__m256i acc, __m256i words) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(words, _mm256_set1_epi16(1)));
}

template <int steps, int rows, int tiles>
MILLRACE_INLINE void addInt8Products(Ints (&acc)[rows][tiles], const uint8_t* const (&weights)[tiles],
                                     int64_t offset, const int8_t* x, int64_t stride, Ahead ahead) {
  const __m256i top = _mm256_set1_epi8(-128);
#pragma GCC unroll 2
  for (int step = 0; step < 2 * steps; ++step) {
    if (step % 2 == 0) prefetchStep<Codes::Int8>(ahead, step / 2);
#pragma GCC unroll 4
    for (int c = 0; c < tiles; ++c) {
      const uint8_t* from = weights[c] + offset + step * 64;
      const Ints stored = loadUnits(from);
      const Ints w{_mm256_xor_si256(stored.lo, top), _mm256_xor_si256(stored.hi, top)};
      const Ints size{_mm256_abs_epi8(w.lo), _mm256_abs_epi8(w.hi)};
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        const __m256i a = broadcast4(x + r * stride + step * 4);
        acc[r][c].lo = addPairs(acc[r][c].lo, _mm256_maddubs_epi16(size.lo, _mm256_sign_epi8(a, w.lo)));
        acc[r][c].hi = addPairs(acc[r][c].hi, _mm256_maddubs_epi16(size.hi, _mm256_sign_epi8(a, w.hi)));
      }
    }
  }
}

/** At most 4 steps: 8 sums of two products, each below 15 * 127 * 2, stay in 16 bits. */
template <int steps, int rows, int tiles>
MILLRACE_INLINE void addInt4Products(Ints (&acc)[rows][tiles], const uint8_t* const (&weights)[tiles],
                                     int64_t offset, const int8_t* x, int64_t stride, Ahead ahead) {
  static_assert(steps <= 4);
  const __m256i nibble = _mm256_set1_epi8(15);
  Ints words[rows][tiles];
#pragma GCC unroll 4
  for (int step = 0; step < steps; ++step) {
    prefetchStep<Codes::Int4>(ahead, step);
#pragma GCC unroll 4
    for (int c = 0; c < tiles; ++c) {
      const uint8_t* from = weights[c] + offset + step * 64;
      const Ints both = loadUnits(from);
      const Ints even{_mm256_and_si256(both.lo, nibble), _mm256_and_si256(both.hi, nibble)};
      const Ints odd{_mm256_and_si256(_mm256_srli_epi16(both.lo, 4), nibble),
                     _mm256_and_si256(_mm256_srli_epi16(both.hi, 4), nibble)};
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        const __m256i a = broadcast4(x + r * stride + step * 8);
        const __m256i b = broadcast4(x + r * stride + step * 8 + 4);
        const __m256i lo = _mm256_add_epi16(_mm256_maddubs_epi16(even.lo, a), _mm256_maddubs_epi16(odd.lo, b));
        const __m256i hi = _mm256_add_epi16(_mm256_maddubs_epi16(even.hi, a), _mm256_maddubs_epi16(odd.hi, b));
        words[r][c].lo = step == 0 ? lo : _mm256_add_epi16(words[r][c].lo, lo);
        words[r][c].hi = step == 0 ? hi : _mm256_add_epi16(words[r][c].hi, hi);
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
 * `weights[c] + offset` is where the columns start in the packed tile and `ahead` what to prefetch meanwhile.
 */
template <Codes codes, int steps, int rows, int tiles>
MILLRACE_INLINE void addProducts(Ints (&acc)[rows][tiles], const uint8_t* const (&weights)[tiles], int64_t offset,
                                 const int8_t* x, int64_t stride, Ahead ahead) {
  if constexpr (codes == Codes::Int8) addInt8Products<steps>(acc, weights, offset, x, stride, ahead);
  else addInt4Products<steps>(acc, weights, offset, x, stride, ahead);
}

}  // namespace millrace::MILLRACE_ISA
