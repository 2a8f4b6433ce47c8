// The tiles as registers. Included by tiles.h only.
//
// Assembly instead of the compiler's intrinsics, for two reasons. Those of GCC are macros that paste a tile's number into
// the text of the instruction, so that it cannot come from a template. And they do not say which memory they read:
// GCC 12 then drops the stores that fill the configuration, and the first load of a tile is an illegal instruction.
#pragma once

namespace millrace::MILLRACE_ISA {

class Tiles {
 public:
  /** `rows` in 1..16; `stepBytes` a multiple of 4 in 4..64. */
  Tiles(int rows, int stepBytes) {
    Configuration shapes{};
    shapes.palette = 1;
    for (int tile = 0; tile < 8; ++tile) {
      shapes.rowBytes[tile] = static_cast<uint16_t>(tile == 4 || tile == 5 ? stepBytes : tileRowBytes);
      shapes.rows[tile] = static_cast<uint8_t>(tile < 6 ? rows : stepBytes / 4);
    }
    asm volatile("ldtilecfg %0" : : "m"(shapes));
  }
  ~Tiles() { asm volatile("tilerelease" : : : "memory"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  template <int tile>
  MILLRACE_INLINE void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(tile));
  }

  /** Rows that are `stride` bytes apart. */
  template <int tile>
  MILLRACE_INLINE void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(tile) : "memory");
  }

  template <int tile>
  MILLRACE_INLINE void store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(tile) : "memory");
  }

  /** sums += x . weights, signed bytes times unsigned bytes, modulo 2^32. */
  template <int sums, int x, int weights>
  MILLRACE_INLINE void dotInt8() {
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sums), "i"(x), "i"(weights));
  }

  /** sums += x . weights in bf16; see tile_twin.h for the order of the operations. */
  template <int sums, int x, int weights>
  MILLRACE_INLINE void dotBf16() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sums), "i"(x), "i"(weights));
  }

 private:
  /** What ldtilecfg reads (Intel's Software Developer's Manual, volume 1, chapter 18). */
  struct alignas(64) Configuration {
    uint8_t palette;
    uint8_t startRow;
    uint8_t reserved[14];
    uint16_t rowBytes[16];
    uint8_t rows[16];
  };
  static_assert(sizeof(Configuration) == 64);
};

}  // namespace millrace::MILLRACE_ISA
