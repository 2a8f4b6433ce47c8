// The tiles in plain C++, operation by operation as Intel's Software Developer's Manual has the instructions. Included by
// tiles.h only. No product is made with it: no setting leads here, only the tests of the kernels do.
#pragma once

#include <cmath>

#include "linear/bits.h"

namespace millrace::MILLRACE_ISA {

class Tiles {
 public:
  Tiles(int rows, int stepBytes) : rows_(rows), stepBytes_(stepBytes) {}
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  template <int tile>
  void zero() {
    std::memset(bytes_[tile], 0, sizeof(bytes_[tile]));
  }

  template <int tile>
  void load(const void* from, int64_t stride) {
    zero<tile>();
    for (int row = 0; row < rowsOf(tile); ++row) {
      std::memcpy(bytes_[tile][row], static_cast<const uint8_t*>(from) + row * stride, rowBytesOf(tile));
    }
  }

  template <int tile>
  void store(void* to, int64_t stride) const {
    for (int row = 0; row < rowsOf(tile); ++row) {
      std::memcpy(static_cast<uint8_t*>(to) + row * stride, bytes_[tile][row], rowBytesOf(tile));
    }
  }

  template <int sums, int x, int weights>
  void dotInt8() {
    checkShapes<sums, x, weights>();
    for (int row = 0; row < rows_; ++row) {
      uint32_t total[16];
      std::memcpy(total, bytes_[sums][row], sizeof(total));
      for (int k = 0; k < stepBytes_; ++k) {
        const int32_t value = static_cast<int8_t>(bytes_[x][row][k]);
        const uint8_t* column = bytes_[weights][k / 4] + k % 4;
        for (int n = 0; n < 16; ++n) total[n] += static_cast<uint32_t>(value * column[4 * n]);
      }
      std::memcpy(bytes_[sums][row], total, sizeof(total));
    }
  }

  /** Products of the even and of the odd columns of a step are summed apart, each by fma in ascending order from zero;
      then their sum is added to what was there. Numbers below the normal ones count as zero, as on all kernel threads. */
  template <int sums, int x, int weights>
  void dotBf16() {
    checkShapes<sums, x, weights>();
    for (int row = 0; row < rows_; ++row) {
      float total[16];
      float part[2][16] = {};
      std::memcpy(total, bytes_[sums][row], sizeof(total));
      for (int k = 0; k < stepBytes_ / 2; ++k) {
        const float value = bf16At(bytes_[x][row] + 2 * k);
        const uint8_t* column = bytes_[weights][k / 2] + k % 2 * 2;
        for (int n = 0; n < 16; ++n) part[k % 2][n] = std::fma(value, bf16At(column + 4 * n), part[k % 2][n]);
      }
      for (int n = 0; n < 16; ++n) total[n] += part[0][n] + part[1][n];
      std::memcpy(bytes_[sums][row], total, sizeof(total));
    }
  }

 private:
  int rowsOf(int tile) const { return tile < 6 ? rows_ : stepBytes_ / 4; }
  size_t rowBytesOf(int tile) const {
    return tile == 4 || tile == 5 ? static_cast<size_t>(stepBytes_) : size_t{tileRowBytes};
  }

  /** What the processor would refuse as an illegal instruction. */
  template <int sums, int x, int weights>
  static void checkShapes() {
    static_assert(sums >= 0 && sums < 4 && (x == 4 || x == 5) && (weights == 6 || weights == 7));
  }

  static float bf16At(const uint8_t* from) {
    uint16_t bits;
    std::memcpy(&bits, from, 2);
    return widenBf16(bits);
  }

  int rows_;
  int stepBytes_;
  alignas(64) uint8_t bytes_[8][maxTileBlockRows][tileRowBytes];
};

}  // namespace millrace::MILLRACE_ISA
