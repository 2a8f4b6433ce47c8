// Floating-point control of the current thread.
#pragma once

#include <xmmintrin.h>

#include <cstdint>

namespace millrace {

/** Sets flush-to-zero and denormals-are-zero; returns the state before. */
inline uint32_t flushDenormals() {
  const uint32_t before = _mm_getcsr();
  constexpr uint32_t flushToZero = 0x8000;
  constexpr uint32_t denormalsAreZero = 0x0040;
  _mm_setcsr(before | flushToZero | denormalsAreZero);
  return before;
}

inline void restoreFloatState(uint32_t state) { _mm_setcsr(state); }

inline void pauseCore() { _mm_pause(); }

}  // namespace millrace
