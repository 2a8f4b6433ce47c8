// V16 as two 256-bit registers. Included by v16.h only.
#pragma once

namespace millrace::MILLRACE_ISA {

struct V16 {
  __m256 lo;
  __m256 hi;
};

MILLRACE_INLINE V16 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
MILLRACE_INLINE V16 splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
MILLRACE_INLINE V16 load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
MILLRACE_INLINE void store(float* to, V16 a) {
  _mm256_storeu_ps(to, a.lo);
  _mm256_storeu_ps(to + 8, a.hi);
}
/** Past the caches, to a multiple of 64 bytes. Other threads see it after `fenceStreaming`. */
MILLRACE_INLINE void storeStreaming(float* to, V16 a) {
  _mm256_stream_ps(to, a.lo);
  _mm256_stream_ps(to + 8, a.hi);
}
MILLRACE_INLINE V16 loadPartial(const float* from, int count) {
  alignas(32) float lanes[16] = {};
  std::memcpy(lanes, from, static_cast<size_t>(count) * sizeof(float));
  return load(lanes);
}
MILLRACE_INLINE void storePartial(float* to, V16 a, int count) {
  alignas(32) float lanes[16];
  store(lanes, a);
  std::memcpy(to, lanes, static_cast<size_t>(count) * sizeof(float));
}

MILLRACE_INLINE V16 add(V16 a, V16 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
MILLRACE_INLINE V16 sub(V16 a, V16 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
MILLRACE_INLINE V16 mul(V16 a, V16 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
MILLRACE_INLINE V16 div(V16 a, V16 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
/** a * b + c */
MILLRACE_INLINE V16 fma(V16 a, V16 b, V16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
/** c - a * b */
MILLRACE_INLINE V16 fnma(V16 a, V16 b, V16 c) {
  return {_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi)};
}
/** Keeps a sum in its registers at this place: left alone, GCC adds to copies and holds sums on the stack. */
MILLRACE_INLINE void settle(V16& a) { asm("" : "+x"(a.lo), "+x"(a.hi)); }
/** As the instruction: the second operand where either is NaN. */
MILLRACE_INLINE V16 max(V16 a, V16 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
MILLRACE_INLINE V16 min(V16 a, V16 b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
MILLRACE_INLINE V16 roundToEven(V16 a) {
  constexpr int mode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.lo, mode), _mm256_round_ps(a.hi, mode)};
}
MILLRACE_INLINE __m256 powerOfTwo8(__m256 n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
/** 2^n for whole n in [-126, 127]. */
MILLRACE_INLINE V16 powerOfTwo(V16 n) { return {powerOfTwo8(n.lo), powerOfTwo8(n.hi)}; }
MILLRACE_INLINE V16 laneNumbers() {
  return {_mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7), _mm256_setr_ps(8, 9, 10, 11, 12, 13, 14, 15)};
}
/** a < b ? yes : no, lane by lane. */
MILLRACE_INLINE V16 selectLess(V16 a, V16 b, V16 yes, V16 no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
          _mm256_blendv_ps(no.hi, yes.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
}
MILLRACE_INLINE uint32_t joinBits(__m256 lo, __m256 hi) {
  return static_cast<uint32_t>(_mm256_movemask_ps(lo)) | static_cast<uint32_t>(_mm256_movemask_ps(hi)) << 8;
}
/** Bit i set where lane i of a is greater than (equal to) lane i of b. */
MILLRACE_INLINE uint32_t bitsGreater(V16 a, V16 b) {
  return joinBits(_mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ));
}
MILLRACE_INLINE uint32_t bitsEqual(V16 a, V16 b) {
  return joinBits(_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ));
}
/** All ones in the lanes whose bit is set. */
MILLRACE_INLINE __m256 lanesOf(uint32_t bits) {
  const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i present = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), each);
  return _mm256_castsi256_ps(_mm256_cmpeq_epi32(present, each));
}
/** Lanes whose bit is set from `yes`, the others from `no`. */
MILLRACE_INLINE V16 selectBits(uint32_t bits, V16 yes, V16 no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, lanesOf(bits)), _mm256_blendv_ps(no.hi, yes.hi, lanesOf(bits >> 8))};
}

MILLRACE_INLINE V16 loadF16(const uint16_t* from) {
  const __m128i* halves = reinterpret_cast<const __m128i*>(from);
  return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}
MILLRACE_INLINE V16 loadBf16(const uint16_t* from) {
  const __m128i* halves = reinterpret_cast<const __m128i*>(from);
  const __m256i lo = _mm256_cvtepu16_epi32(_mm_loadu_si128(halves));
  const __m256i hi = _mm256_cvtepu16_epi32(_mm_loadu_si128(halves + 1));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(lo, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(hi, 16))};
}
MILLRACE_INLINE V16 loadI8(const int8_t* from) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes)))};
}
/** Rounds half to even; lanes are within the range of int8. */
MILLRACE_INLINE void storeI8(int8_t* to, V16 a) {
  const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi));
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
}
/** Rounds half to even. */
MILLRACE_INLINE void storeF16(uint16_t* to, V16 a) {
  constexpr int mode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  __m128i* halves = reinterpret_cast<__m128i*>(to);
  _mm_storeu_si128(halves, _mm256_cvtps_ph(a.lo, mode));
  _mm_storeu_si128(halves + 1, _mm256_cvtps_ph(a.hi, mode));
}
MILLRACE_INLINE __m256i bf16Bits(__m256 a) {
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i isNan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, isNan), 16);
}
/** Rounds half to even; NaN stays NaN. */
MILLRACE_INLINE void storeBf16(uint16_t* to, V16 a) {
  const __m256i packed = _mm256_packus_epi32(bf16Bits(a.lo), bf16Bits(a.hi));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(packed, 0xd8));
}

/** Sixteen pairs of bf16, widened. */
struct Bf16Pairs {
  V16 first;
  V16 second;
};
/** Lane i of `first`, then lane i of `second`. */
MILLRACE_INLINE void storeBf16Pairs(uint16_t* to, V16 first, V16 second) {
  __m256i* place = reinterpret_cast<__m256i*>(to);
  _mm256_storeu_si256(place, _mm256_or_si256(bf16Bits(first.lo), _mm256_slli_epi32(bf16Bits(second.lo), 16)));
  _mm256_storeu_si256(place + 1, _mm256_or_si256(bf16Bits(first.hi), _mm256_slli_epi32(bf16Bits(second.hi), 16)));
}
MILLRACE_INLINE Bf16Pairs loadBf16Pairs(const uint16_t* from) {
  const __m256i* place = reinterpret_cast<const __m256i*>(from);
  const __m256i lo = _mm256_loadu_si256(place);
  const __m256i hi = _mm256_loadu_si256(place + 1);
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000));
  return {{_mm256_castsi256_ps(_mm256_slli_epi32(lo, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(hi, 16))},
          {_mm256_castsi256_ps(_mm256_and_si256(lo, upper)), _mm256_castsi256_ps(_mm256_and_si256(hi, upper))}};
}
/** Adds the products of each pair with the pair at `x`. */
MILLRACE_INLINE V16 dotPairs(V16 sum, Bf16Pairs pairs, const uint16_t* x) {
  uint32_t pair;
  std::memcpy(&pair, x, 4);
  const V16 first = {_mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(pair << 16))),
                     _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(pair << 16)))};
  const V16 second = {_mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(pair & 0xffff0000))),
                      _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(pair & 0xffff0000)))};
  return fma(pairs.second, second, fma(pairs.first, first, sum));
}

MILLRACE_INLINE __m256 lowHalf(V16 a) { return a.lo; }
MILLRACE_INLINE __m256 highHalf(V16 a) { return a.hi; }

}  // namespace millrace::MILLRACE_ISA
