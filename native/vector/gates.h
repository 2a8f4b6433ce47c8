// Activation functions over sixteen lanes.
#pragma once

#include "vector/v16.h"

namespace millrace::MILLRACE_ISA {

/** x * sigmoid(y). */
MILLRACE_INLINE V16 timesSigmoid(V16 x, V16 y) { return div(x, add(splat(1.0f), exp(sub(zero(), y)))); }

MILLRACE_INLINE V16 silu(V16 x) { return timesSigmoid(x, x); }

/**
 * x / 2 * (1 + tanh(u)) with u = sqrt(2 / pi) * (x + 0.044715 x^3), the tanh form of GELU (Hendrycks and Gimpel 2016),
 * computed as x * sigmoid(2 u).
 */
MILLRACE_INLINE V16 geluTanh(V16 x) {
  const V16 cubic = fma(mul(x, x), splat(0.044715f), splat(1.0f));
  return timesSigmoid(x, mul(mul(x, splat(1.59576912160573f)), cubic));
}

/** erf(x), absolute error below 3e-7 (Abramowitz and Stegun 1964, 7.1.26). */
MILLRACE_INLINE V16 erf(V16 x) {
  const V16 size = max(x, sub(zero(), x));
  const V16 t = div(splat(1.0f), fma(splat(0.3275911f), size, splat(1.0f)));
  V16 p = splat(1.061405429f);
  p = fma(p, t, splat(-1.453152027f));
  p = fma(p, t, splat(1.421413741f));
  p = fma(p, t, splat(-0.284496736f));
  p = fma(p, t, splat(0.254829592f));
  const V16 result = fnma(mul(p, t), exp(sub(zero(), mul(size, size))), splat(1.0f));
  return selectLess(x, zero(), sub(zero(), result), result);
}

/** x / 2 * (1 + erf(x / sqrt 2)). */
MILLRACE_INLINE V16 geluErf(V16 x) {
  const V16 half = mul(x, splat(0.5f));
  return fma(half, erf(mul(x, splat(0.70710678118654752f))), half);
}

}  // namespace millrace::MILLRACE_ISA
