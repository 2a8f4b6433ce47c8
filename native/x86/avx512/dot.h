// Products of codes for AVX-512: VNNI multiplies unsigned weight codes by signed activation codes, exactly.
#pragma once

#include "linear/tile_family.h"

namespace millrace::MILLRACE_ISA {

/** Sixteen int32 lanes. */
struct Ints {
  __m512i v;
};

MILLRACE_INLINE Ints splatInt(int32_t x) { return {_mm512_set1_epi32(x)}; }
MILLRACE_INLINE V16 toFloat(Ints a) { return {_mm512_cvtepi32_ps(a.v)}; }
MILLRACE_INLINE Ints loadUnits(const uint8_t* from) { return {_mm512_loadu_si512(from)}; }
/** `mask` bits of each lane from bit `shift`. */
MILLRACE_INLINE Ints field(Ints a, int shift, int mask) {
  return {_mm512_and_si512(_mm512_srli_epi32(a.v, static_cast<unsigned>(shift)), _mm512_set1_epi32(mask))};
}
/** The low (high) bf16 of each lane, widened. */
MILLRACE_INLINE V16 lowBf16(Ints a) { return lowBf16(a.v); }
MILLRACE_INLINE V16 highBf16(Ints a) { return highBf16(a.v); }
/** Writes whole floats as int8 and returns their sum. */
MILLRACE_INLINE int32_t storeCodes(int8_t* to, V16 a) {
  const __m512i codes = _mm512_cvtps_epi32(a.v);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(codes));
  return _mm512_reduce_add_epi32(codes);
}

/** An int8 weight code is used as it is stored, 2 to this power too high. */
constexpr int int8BiasShift = 7;

/** a - (b << shift) */
template <int shift>
MILLRACE_INLINE Ints subShifted(Ints a, int32_t b) {
  return {_mm512_sub_epi32(a.v, _mm512_slli_epi32(_mm512_set1_epi32(b), shift))};
}

/** The four bytes at `from` in all lanes. */
MILLRACE_INLINE Ints broadcastInt(const void* from) {
  int32_t value;
  std::memcpy(&value, from, 4);
  return splatInt(value);
}

/**
 * acc[r][c] += sum over 8 * steps columns of weight code (tile c) times activation code (row r).
 * `weights[c] + offset` is where the columns start in the packed tile and `ahead` what to prefetch meanwhile.
 */
template <Codes codes, int steps, int rows, int tiles>
MILLRACE_INLINE void addProducts(Ints (&acc)[rows][tiles], const uint8_t* const (&weights)[tiles], int64_t offset,
                                 const int8_t* x, int64_t stride, Ahead ahead) {
  constexpr int stepBytes = codes == Codes::Int8 ? 128 : 64;
  // One row and tile alone would wait for its own last product; a second accumulator halves the wait.
  constexpr bool twice = rows * tiles <= 2;
  const __m512i nibble = _mm512_set1_epi8(15);
  __m512i second[rows][tiles];
  if constexpr (twice) {
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < tiles; ++c) second[r][c] = _mm512_setzero_si512();
    }
  }
#pragma GCC unroll 4
  for (int step = 0; step < steps; ++step) {
    prefetchStep<codes>(ahead, step);
    __m512i even[tiles];
    __m512i odd[tiles];
#pragma GCC unroll 4
    for (int c = 0; c < tiles; ++c) {
      const uint8_t* from = weights[c] + offset + step * stepBytes;
      even[c] = _mm512_loadu_si512(from);
      if constexpr (codes == Codes::Int8) {
        odd[c] = _mm512_loadu_si512(from + 64);
      } else {
        odd[c] = _mm512_and_si512(_mm512_srli_epi16(even[c], 4), nibble);
        even[c] = _mm512_and_si512(even[c], nibble);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const __m512i a = broadcastInt(x + r * stride + step * 8).v;
      const __m512i b = broadcastInt(x + r * stride + step * 8 + 4).v;
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) {
        acc[r][c].v = _mm512_dpbusd_epi32(acc[r][c].v, even[c], a);
        if constexpr (twice) second[r][c] = _mm512_dpbusd_epi32(second[r][c], odd[c], b);
        else acc[r][c].v = _mm512_dpbusd_epi32(acc[r][c].v, odd[c], b);
      }
    }
  }
  if constexpr (twice) {
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < tiles; ++c) acc[r][c].v = _mm512_add_epi32(acc[r][c].v, second[r][c]);
    }
  }
}

}  // namespace millrace::MILLRACE_ISA
