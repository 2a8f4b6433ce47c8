// Floating-point control of the current thread.
#pragma once

#include <xmmintrin.h>

#include <cstdint>

namespace millrace {

/** Sets flush-to-zero and denormals-are-zero on this thread; returns the state before. */
inline uint32_t flushDenormals() {
  const uint32_t before = _mm_getcsr();
  constexpr uint32_t flushToZero = 0x8000;
  constexpr uint32_t denormalsAreZero = 0x0040;
  _mm_setcsr(before | flushToZero | denormalsAreZero);
  return before;
}

/** Flushes denormals for the life of the object, then restores what was set before. */
class FlushDenormals {
 public:
  FlushDenormals() : before_(flushDenormals()) {}
  ~FlushDenormals() { _mm_setcsr(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  uint32_t before_;
};

/** Keeps denormals for the life of the object, within a loop of the thread pool. */
class KeepDenormals {
 public:
  KeepDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ & ~0x8040u); }
  ~KeepDenormals() { _mm_setcsr(before_); }
  KeepDenormals(const KeepDenormals&) = delete;
  KeepDenormals& operator=(const KeepDenormals&) = delete;

 private:
  uint32_t before_;
};

inline void pauseCore() { _mm_pause(); }

}  // namespace millrace
