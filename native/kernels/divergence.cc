// How far one row of logits is from another. All in f64: the result is the small difference of large sums.
#include <immintrin.h>

#include <algorithm>
#include <limits>

#include "kernels/rows.h"

namespace millrace::MILLRACE_ISA {

namespace {

constexpr int64_t lanes = 4;

/** 1/13!, 1/12! ... 1/0! */
constexpr double inverseFactorials[] = {
    1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
    1.0 / 720,        1.0 / 120,       1.0 / 24,       1.0 / 6,       1.0 / 2,      1.0,         1.0};

/**
 * e^x, relative error below 4e-16; 0 below -708, where results would be no normal numbers. NaN stays NaN. Cody-Waite
 * reduction by ln 2 and the Taylor series to degree 13, whose rest is below 5e-18 on [-ln2/2, ln2/2].
 */
inline __m256d exp(__m256d x) {
  const __m256d lowest = _mm256_set1_pd(-708.0);
  // The second operand is taken where one is NaN.
  const __m256d clamped = _mm256_max_pd(lowest, x);
  const __m256d n = _mm256_round_pd(_mm256_mul_pd(clamped, _mm256_set1_pd(1.4426950408889634)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256d r = _mm256_fnmadd_pd(n, _mm256_set1_pd(6.93147180369123816490e-01), clamped);
  r = _mm256_fnmadd_pd(n, _mm256_set1_pd(1.90821492927058770002e-10), r);
  __m256d p = _mm256_set1_pd(inverseFactorials[0]);
  for (int i = 1; i < 14; ++i) p = _mm256_fmadd_pd(p, r, _mm256_set1_pd(inverseFactorials[i]));
  const __m256i exponent = _mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(n)), _mm256_set1_epi64x(1023));
  const __m256d power = _mm256_castsi256_pd(_mm256_slli_epi64(exponent, 52));
  return _mm256_andnot_pd(_mm256_cmp_pd(x, lowest, _CMP_LT_OQ), _mm256_mul_pd(p, power));
}

double reduceAdd(__m256d x) {
  const __m128d pair = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
  return _mm_cvtsd_f64(_mm_add_sd(pair, _mm_unpackhi_pd(pair, pair)));
}

class Sums {
 public:
  Sums(float maxA, float maxB) : maxA_(_mm256_set1_pd(maxA)), maxB_(_mm256_set1_pd(maxB)) {}

  void add(const float* fromA, const float* fromB) {
    const __m256d a = _mm256_cvtps_pd(_mm_loadu_ps(fromA));
    const __m256d b = _mm256_cvtps_pd(_mm_loadu_ps(fromB));
    const __m256d weight = exp(_mm256_sub_pd(a, maxA_));
    a_ = _mm256_add_pd(a_, weight);
    b_ = _mm256_add_pd(b_, exp(_mm256_sub_pd(b, maxB_)));
    // What A rules out adds nothing, whatever B says of it.
    const __m256d isThere = _mm256_cmp_pd(weight, _mm256_setzero_pd(), _CMP_GT_OQ);
    weighted_ = _mm256_add_pd(weighted_, _mm256_and_pd(isThere, _mm256_mul_pd(weight, _mm256_sub_pd(a, b))));
  }

  DivergenceSums total() const { return {reduceAdd(a_), reduceAdd(b_), reduceAdd(weighted_)}; }

 private:
  __m256d maxA_;
  __m256d maxB_;
  __m256d a_ = _mm256_setzero_pd();
  __m256d b_ = _mm256_setzero_pd();
  __m256d weighted_ = _mm256_setzero_pd();
};

}  // namespace

DivergenceSums divergenceSums(const float* a, const float* b, float maxA, float maxB, int64_t count) {
  Sums sums(maxA, maxB);
  const int64_t whole = count / lanes * lanes;
  for (int64_t i = 0; i < whole; i += lanes) sums.add(a + i, b + i);
  if (whole < count) {
    float lastA[lanes];
    float lastB[lanes];
    std::fill_n(lastA, lanes, -std::numeric_limits<float>::infinity());
    std::fill_n(lastB, lanes, -std::numeric_limits<float>::infinity());
    std::copy(a + whole, a + count, lastA);
    std::copy(b + whole, b + count, lastB);
    sums.add(lastA, lastB);
  }
  return sums.total();
}

}  // namespace millrace::MILLRACE_ISA
