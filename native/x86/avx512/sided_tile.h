// Integer weights times blocks of int8 activations for many rows, with what lies beside the activations' codes in panels.
// The same numbers in the same order as integer_tile.h.
//
// A panel holds for each block of 32 columns: the scales of its rows, then what is added to their sums before they are
// scaled, then what the minimums are multiplied by, where there are such: [block][word][row], 32 bits each. So a sum
// starts as a broadcast, which takes nothing of the units that multiply.
#pragma once

#include "linear/integer_tile.h"

namespace millrace::MILLRACE_ISA {

template <Codes codes, bool hasMinimums>
struct SidedKernel {
  using Plain = IntegerKernel<codes, Scaling::Block32, hasMinimums>;
  static constexpr bool hasOffset = Plain::zeroShift > 0;
  static constexpr int64_t words = 1 + (hasOffset ? 1 : 0) + (hasMinimums ? 1 : 0);

  static int64_t bytesPerRow(const PackedMatrix& w) { return blocksPerRow(w.paddedCols) * words * 4; }

  /** Writes what lies beside rows [row, row + rows) as one panel. */
  static void lay(const Activations& x, int64_t row, int64_t rows, int64_t cols, uint8_t* to) {
    uint8_t* place = to;
    for (int64_t block = 0; block < blocksPerRow(cols); ++block) {
      for (int64_t r = 0; r < rows; ++r, place += 4) {
        std::memcpy(place, x.scales + (row + r) * x.sideStride + block, 4);
      }
      for (int64_t r = 0; r < rows && hasOffset; ++r, place += 4) {
        const int32_t offset = -(x.sums[(row + r) * x.sideStride + block] * (1 << Plain::zeroShift));
        std::memcpy(place, &offset, 4);
      }
      for (int64_t r = 0; r < rows && hasMinimums; ++r, place += 4) {
        std::memcpy(place, x.scaledSums + (row + r) * x.sideStride + block, 4);
      }
    }
  }

  static constexpr Panels panels{nullptr, lay, bytesPerRow};

  template <int rows, int tiles>
  MILLRACE_INLINE static void addScaled(V16 (&total)[rows][tiles], const Ints (&acc)[rows][tiles], const V16 (&scale)[tiles],
                                        const float* sides) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const V16 xScale = splat(sides[r]);
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) total[r][c] = fma(mul(toFloat(acc[r][c]), xScale), scale[c], total[r][c]);
    }
  }

  template <int rows, int tiles>
  static void run(const TileJob& job) {
    const auto from = Plain::template sourcesOf<tiles>(job);
    const int64_t blocksPerGroup = (job.w.groupSize == job.w.cols ? job.w.paddedCols : job.w.groupSize) / 32;
    const float* sides = reinterpret_cast<const float*>(job.panel);
    V16 total[rows][tiles];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) total[r][c] = zero();
    }
    int64_t left = blocksPerGroup;
    int64_t group = 0;
    for (int64_t start = 0; start < job.w.paddedCols; start += 32, sides += words * rows) {
      Ints acc[rows][tiles];
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
        for (int c = 0; c < tiles; ++c) acc[r][c] = hasOffset ? broadcastInt(sides + rows + r) : splatInt(0);
      }
      Plain::template addColumns<32>(acc, from, start);
      V16 scale[tiles];
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) scale[c] = Plain::template scalesOf<rows>(from, c, group);
      addScaled(total, acc, scale, sides);
      if constexpr (hasMinimums) addMinimums(total, from, group, sides + (words - 1) * rows);
      if (--left == 0) {
        left = blocksPerGroup;
        ++group;
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) store(job.out + r * job.outStride + 16 * c, total[r][c]);
    }
  }

  template <int rows, int tiles>
  MILLRACE_INLINE static void addMinimums(V16 (&total)[rows][tiles], const typename Plain::template Sources<tiles>& from,
                                          int64_t group, const float* factors) {
#pragma GCC unroll 4
    for (int c = 0; c < tiles; ++c) {
      const int64_t index = from.scaleIndex[c] + group * Plain::scaleStride;
      const V16 minimum = loadScales(from.w.scaleType, from.w.minimums, index);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) total[r][c] = fma(splat(factors[r]), minimum, total[r][c]);
    }
  }
};

}  // namespace millrace::MILLRACE_ISA
