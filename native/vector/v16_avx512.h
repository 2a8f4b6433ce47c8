// V16 as one 512-bit register. Included by v16.h only.
#pragma once

namespace millrace::MILLRACE_ISA {

struct V16 {
  __m512 v;
};

MILLRACE_INLINE V16 zero() { return {_mm512_setzero_ps()}; }
MILLRACE_INLINE V16 splat(float x) { return {_mm512_set1_ps(x)}; }
MILLRACE_INLINE V16 load(const float* from) { return {_mm512_loadu_ps(from)}; }
MILLRACE_INLINE void store(float* to, V16 a) { _mm512_storeu_ps(to, a.v); }
/** Past the caches, to a multiple of 64 bytes. Other threads see it after `fenceStreaming`. */
MILLRACE_INLINE void storeStreaming(float* to, V16 a) { _mm512_stream_ps(to, a.v); }
MILLRACE_INLINE __mmask16 firstLanes(int count) { return static_cast<__mmask16>((1u << count) - 1u); }
MILLRACE_INLINE V16 loadPartial(const float* from, int count) {
  return {_mm512_maskz_loadu_ps(firstLanes(count), from)};
}
MILLRACE_INLINE void storePartial(float* to, V16 a, int count) {
  _mm512_mask_storeu_ps(to, firstLanes(count), a.v);
}

MILLRACE_INLINE V16 add(V16 a, V16 b) { return {_mm512_add_ps(a.v, b.v)}; }
MILLRACE_INLINE V16 sub(V16 a, V16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
MILLRACE_INLINE V16 mul(V16 a, V16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
MILLRACE_INLINE V16 div(V16 a, V16 b) { return {_mm512_div_ps(a.v, b.v)}; }
/** a * b + c */
MILLRACE_INLINE V16 fma(V16 a, V16 b, V16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
/** c - a * b */
MILLRACE_INLINE V16 fnma(V16 a, V16 b, V16 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
/** Keeps a sum in its register at this place. */
MILLRACE_INLINE void settle(V16& a) { asm("" : "+v"(a.v)); }
/** As the instruction: the second operand where either is NaN. */
MILLRACE_INLINE V16 max(V16 a, V16 b) { return {_mm512_max_ps(a.v, b.v)}; }
MILLRACE_INLINE V16 min(V16 a, V16 b) { return {_mm512_min_ps(a.v, b.v)}; }
MILLRACE_INLINE V16 roundToEven(V16 a) { return {_mm512_roundscale_ps(a.v, 8)}; }
/** 2^n for whole n in [-126, 127]. */
MILLRACE_INLINE V16 powerOfTwo(V16 n) {
  const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(biased, 23))};
}
MILLRACE_INLINE V16 laneNumbers() {
  return {_mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)};
}
/** a < b ? yes : no, lane by lane. */
MILLRACE_INLINE V16 selectLess(V16 a, V16 b, V16 yes, V16 no) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
}
/** Bit i set where lane i of a is greater than (equal to) lane i of b. */
MILLRACE_INLINE uint32_t bitsGreater(V16 a, V16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ); }
MILLRACE_INLINE uint32_t bitsEqual(V16 a, V16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ); }
/** Lanes whose bit is set from `yes`, the others from `no`. */
MILLRACE_INLINE V16 selectBits(uint32_t bits, V16 yes, V16 no) {
  return {_mm512_mask_blend_ps(static_cast<__mmask16>(bits), no.v, yes.v)};
}

MILLRACE_INLINE V16 loadF16(const uint16_t* from) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
}
MILLRACE_INLINE V16 loadBf16(const uint16_t* from) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
MILLRACE_INLINE V16 loadI8(const int8_t* from) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
}
/** Rounds half to even; lanes are within the range of int8. */
MILLRACE_INLINE void storeI8(int8_t* to, V16 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a.v)));
}
/** Rounds half to even. */
MILLRACE_INLINE void storeF16(uint16_t* to, V16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/** Rounds half to even; NaN stays NaN. The low half of each 32-bit lane. */
MILLRACE_INLINE __m512i bf16Bits(V16 a) {
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __mmask16 isNan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  return _mm512_srli_epi32(_mm512_mask_blend_epi32(isNan, rounded, quiet), 16);
}
MILLRACE_INLINE void storeBf16(uint16_t* to, V16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(bf16Bits(a)));
}

/** Lane i of `first`, then lane i of `second`. */
MILLRACE_INLINE void storeBf16Pairs(uint16_t* to, V16 first, V16 second) {
  _mm512_storeu_si512(to, _mm512_or_si512(bf16Bits(first), _mm512_slli_epi32(bf16Bits(second), 16)));
}
/** The low (high) bf16 of each lane, widened. */
MILLRACE_INLINE V16 lowBf16(__m512i pairs) { return {_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16))}; }
MILLRACE_INLINE V16 highBf16(__m512i pairs) {
  return {_mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000))))};
}

#if defined(__AVX512BF16__)
/** Sixteen pairs of bf16. */
struct Bf16Pairs {
  __m512bh v;
};
MILLRACE_INLINE Bf16Pairs loadBf16Pairs(const uint16_t* from) { return {(__m512bh)_mm512_loadu_si512(from)}; }
/** Adds the products of each pair with the pair at `x`. */
MILLRACE_INLINE V16 dotPairs(V16 sum, Bf16Pairs pairs, const uint16_t* x) {
  int32_t pair;
  std::memcpy(&pair, x, 4);
  return {_mm512_dpbf16_ps(sum.v, pairs.v, (__m512bh)_mm512_set1_epi32(pair))};
}
#else
/** Sixteen pairs of bf16, widened. */
struct Bf16Pairs {
  V16 first;
  V16 second;
};
MILLRACE_INLINE Bf16Pairs loadBf16Pairs(const uint16_t* from) {
  const __m512i pairs = _mm512_loadu_si512(from);
  return {lowBf16(pairs), highBf16(pairs)};
}
/** Adds the products of each pair with the pair at `x`. */
MILLRACE_INLINE V16 dotPairs(V16 sum, Bf16Pairs pairs, const uint16_t* x) {
  int32_t pair;
  std::memcpy(&pair, x, 4);
  const __m512i both = _mm512_set1_epi32(pair);
  return fma(pairs.second, highBf16(both), fma(pairs.first, lowBf16(both), sum));
}
#endif

MILLRACE_INLINE __m256 lowHalf(V16 a) { return _mm512_castps512_ps256(a.v); }
MILLRACE_INLINE __m256 highHalf(V16 a) { return _mm512_extractf32x8_ps(a.v, 1); }

}  // namespace millrace::MILLRACE_ISA
