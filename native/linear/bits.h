// Exact conversions between float formats, in plain integer arithmetic.
#pragma once

#include <cstdint>
#include <cstring>

namespace millrace {

inline uint32_t bitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

inline float floatOf(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

inline float widenBf16(uint16_t bits) { return floatOf(static_cast<uint32_t>(bits) << 16); }

inline float widenF16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  uint32_t exponent = (half >> 10) & 31;
  uint32_t mantissa = half & 1023;
  if (exponent == 31) return floatOf(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0) {
    if (mantissa == 0) return floatOf(sign);
    exponent = 1;
    for (; (mantissa & 1024) == 0; mantissa <<= 1) --exponent;
    mantissa &= 1023;
  }
  return floatOf(sign | (exponent + 112) << 23 | mantissa << 13);
}

/** Writes the f16 that equals x, if there is one. */
inline bool narrowF16(float x, uint16_t& half) {
  const uint32_t bits = bitsOf(x);
  const uint32_t sign = bits >> 16 & 0x8000;
  const int exponent = static_cast<int>(bits >> 23 & 255) - 112;
  const uint32_t mantissa = bits & 0x7fffff;
  half = static_cast<uint16_t>(sign);
  if ((bits & 0x7fffffff) == 0) return true;
  if (exponent > 30 || exponent < -9) return false;
  // Below exponent 1 the value is a subnormal half: the leading one becomes explicit and moves right.
  const int shift = exponent >= 1 ? 13 : 14 - exponent;
  const uint32_t whole = exponent >= 1 ? mantissa : mantissa | 0x800000;
  if ((whole & ((1u << shift) - 1)) != 0) return false;
  const uint32_t field = exponent >= 1 ? static_cast<uint32_t>(exponent) << 10 : 0;
  half = static_cast<uint16_t>(sign | field | whole >> shift);
  return true;
}

/** Writes the bf16 that equals x, if there is one. */
inline bool narrowBf16(float x, uint16_t& half) {
  half = static_cast<uint16_t>(bitsOf(x) >> 16);
  return (bitsOf(x) & 0xffff) == 0;
}

}  // namespace millrace
