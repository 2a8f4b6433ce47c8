// What the machine can do at most, to compare kernels with: loops over memory, and over registers only.
#include <immintrin.h>

#include "kernels/rows.h"
#include "vector/v16.h"

namespace millrace::MILLRACE_ISA {

namespace {

/** Keeps a register's value in place, so that the loop around it is neither shortened nor kept in memory. */
template <class T>
MILLRACE_INLINE void settle(T& value) {
#if defined(__AVX512F__)
  asm volatile("" : "+v"(value));
#else
  asm volatile("" : "+x"(value));
#endif
}

/** Independent sums; enough to hide the latency of any product. */
constexpr int numSums = 12;

#if defined(__AVX512F__)
using Codes = __m512i;
Codes splatCodes(char x) { return _mm512_set1_epi8(x); }
MILLRACE_INLINE Codes addInt8(Codes sum, Codes a, Codes b) { return _mm512_dpbusd_epi32(sum, a, b); }
MILLRACE_INLINE Codes addInt4(Codes sum, Codes a, Codes b) { return _mm512_dpbusd_epi32(sum, a, b); }
#else
using Codes = __m256i;
Codes splatCodes(char x) { return _mm256_set1_epi8(x); }
/** Products of int8 codes need 32 bits at once ... */
MILLRACE_INLINE Codes addInt8(Codes sum, Codes a, Codes b) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)));
}
/** ... those of int4 codes stay in 16 bits for a while. */
MILLRACE_INLINE Codes addInt4(Codes sum, Codes a, Codes b) {
  return _mm256_add_epi16(sum, _mm256_maddubs_epi16(a, b));
}
#endif

template <Codes (*add)(Codes, Codes, Codes)>
int64_t multiplyCodes(int64_t loops) {
  Codes sums[numSums];
#pragma GCC unroll 12
  for (int i = 0; i < numSums; ++i) sums[i] = splatCodes(0);
  Codes a = splatCodes(1);
  const Codes b = splatCodes(2);
  for (int64_t loop = 0; loop < loops; ++loop) {
#pragma GCC unroll 12
    for (int i = 0; i < numSums; ++i) {
      sums[i] = add(sums[i], a, b);
      settle(sums[i]);
      settle(a);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < numSums; ++i) settle(sums[i]);
  return 2 * loops * numSums * static_cast<int64_t>(sizeof(Codes));
}

}  // namespace

void readAll(const uint8_t* from, int64_t bytes) {
  // Two streams: the processor fetches ahead for each of its own accord.
  const int64_t half = bytes / 2 / 64 * 64;
  __m256i sums[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) sums[i] = _mm256_setzero_si256();
  for (int64_t at = 0; at < half; at += 64) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const uint8_t* place = from + at + i / 2 * half + i % 2 * 32;
      sums[i] = _mm256_xor_si256(sums[i], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(place)));
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) settle(sums[i]);
}

int64_t multiplyInt8(int64_t loops) { return multiplyCodes<addInt8>(loops); }
int64_t multiplyInt4(int64_t loops) { return multiplyCodes<addInt4>(loops); }

int64_t multiplyF32(int64_t loops) {
  constexpr int numVectors = numSums * static_cast<int>(sizeof(Codes)) / 64;
  V16 sums[numVectors];
#pragma GCC unroll 12
  for (int i = 0; i < numVectors; ++i) sums[i] = zero();
  const V16 a = splat(1.0f);
  const V16 b = splat(0.5f);
  for (int64_t loop = 0; loop < loops; ++loop) {
#pragma GCC unroll 12
    for (int i = 0; i < numVectors; ++i) {
      sums[i] = fma(a, b, sums[i]);
#if defined(__AVX512F__)
      settle(sums[i].v);
#else
      settle(sums[i].lo);
      settle(sums[i].hi);
#endif
    }
  }
  return 2 * loops * numVectors * 16;
}

/** bf16 is widened: its products are those of f32. */
int64_t multiplyBf16(int64_t loops) { return multiplyF32(loops); }

}  // namespace millrace::MILLRACE_ISA
