// How exact sums over a span of columns become floats, for every kernel of integers and
// codes of activations. The order of operations is that of integer_tile.h.
#pragma once

#include "linear/tile_family.h"

namespace millrace::MILLRACE_ISA {

enum class Scaling { Token, Block32, Block16 };

/** What lies beside the codes of one row of activations; see Activations. */
struct Sides {
  /** Those of row 0; some are null. Copies, which a compiler keeps in registers. */
  const float* scales;
  const int32_t* sums;
  const int32_t* halfSums;
  const float* scaledSums;
  /** Words from there to the row. */
  int64_t at;

  MILLRACE_INLINE float scale(int64_t i) const { return scales[at + i]; }
  MILLRACE_INLINE int32_t sum(int64_t i) const { return sums[at + i]; }
  MILLRACE_INLINE int32_t halfSum(int64_t i) const { return halfSums[at + i]; }
  MILLRACE_INLINE float scaledSum(int64_t i) const { return scaledSums[at + i]; }
  MILLRACE_INLINE Sides after(int64_t words) const { return {scales, sums, halfSums, scaledSums, at + words}; }
};

MILLRACE_INLINE Sides sidesOf(const Activations& x, int64_t row) {
  return {x.scales, x.sums, x.halfSums, x.scaledSums, row * x.sideStride};
}

/** Sum of the row's codes over a span. */
template <Scaling scaling>
MILLRACE_INLINE int32_t sumOfCodes(const Sides& x, int64_t start, int64_t span) {
  if constexpr (scaling == Scaling::Token) return x.sum((start + span) / 16) - x.sum(start / 16);
  if constexpr (scaling == Scaling::Block32) return x.sum(start / 32);
  const int32_t first = x.halfSum(start / 32);
  return start % 32 == 0 ? first : x.sum(start / 32) - first;
}

/** What the weights' scales are multiplied by: the sum over a span, whose weight codes are 2^zeroShift too high
    (0: not at all), times the scale of its block. */
template <Scaling scaling, int zeroShift>
MILLRACE_INLINE V16 scaledProduct(Ints sum, const Sides& x, int64_t start, int64_t span) {
  if constexpr (zeroShift > 0) sum = subShifted<zeroShift>(sum, sumOfCodes<scaling>(x, start, span));
  const V16 product = toFloat(sum);
  return scaling == Scaling::Token ? product : mul(product, splat(x.scale(start / 32)));
}

/** What the weights' minimums are multiplied by. */
template <Scaling scaling>
MILLRACE_INLINE float minimumFactor(const Sides& x, int64_t start, int64_t span) {
  if constexpr (scaling == Scaling::Block32) return x.scaledSum(start / 32);
  const float sum = static_cast<float>(sumOfCodes<scaling>(x, start, span));
  return scaling == Scaling::Block16 ? sum * x.scale(start / 32) : sum;
}

}  // namespace millrace::MILLRACE_ISA
