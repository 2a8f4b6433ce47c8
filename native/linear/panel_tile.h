// Integer weights times int8 activations for many rows, from panels and unpacked tiles. The same numbers in the same
// order as integer_tile.h.
#pragma once

#include "linear/integer_tile.h"
#include "linear/panel.h"

namespace millrace::MILLRACE_ISA {

template <Codes codes, Scaling scaling, bool hasMinimums>
struct PanelKernel {
  static constexpr bool perToken = scaling == Scaling::Token;
  /** Whether stored codes are 8 too high. */
  static constexpr bool hasOffset = codes == Codes::Int4 && !hasMinimums;
  static constexpr int64_t codeBytes = panelCodeBytes(codes);
  static constexpr Panels panels{unpackTile<codes>, layPanel<codes, hasMinimums>, panelRowBytes};

  struct Sources {
    const uint8_t* weights;
    /** [groups][lane] */
    const float* scales;
    const float* minimums;
    const uint8_t* panel;
    const Activations& x;
    int64_t row;
    Ahead ahead;
  };

  /** Sum of the span's activation codes of row r. */
  MILLRACE_INLINE static int32_t sumOf(const Sources& from, int r, int64_t start, int64_t span) {
    return sumOfCodes<scaling>(sidesOf(from.x, from.row + r), start, span);
  }

  /** The sides of block `start / 32` of a panel of `rows` rows: scales, then what the kernel adds. */
  template <int rows>
  MILLRACE_INLINE static const uint8_t* panelSides(const uint8_t* block) {
    return block + rows * 32 * codeBytes;
  }

  /** acc += the products of columns [first, first + columns) of one block. */
  template <int columns, int rows>
  MILLRACE_INLINE static void addColumns(Ints (&acc)[rows], const Sources& from, const uint8_t* block, int64_t start,
                                         int first) {
    const Ahead ahead{from.ahead.from + (start + first) / 8 * from.ahead.step, from.ahead.step, 0};
    const uint8_t* weights = from.weights + (start + first) * lanesPerTile * codeBytes;
    const uint8_t* codesAt = block + first * codeBytes * rows;
    addPanelProducts<codes, columns / 8>(acc, weights, codesAt, ahead);
  }

  /** The exact sums of a span that starts at `start`, a multiple of 16. */
  template <int rows>
  MILLRACE_INLINE static void addSpan(Ints (&acc)[rows], const Sources& from, int64_t start, int64_t span) {
    constexpr int64_t blockBytes = rows * (32 * codeBytes + (perToken ? 0 : 8));
    const uint8_t* block = from.panel + start / 32 * blockBytes;
    if constexpr (scaling == Scaling::Block32) {
      const uint8_t* added = panelSides<rows>(block) + 4 * rows;
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) acc[r] = hasOffset ? broadcastInt(added + 4 * r) : splatInt(0);
      addColumns<32>(acc, from, block, start, 0);
      return;
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) acc[r] = splatInt(hasOffset ? -8 * sumOf(from, r, start, span) : 0);
    if constexpr (scaling == Scaling::Block16) {
      addColumns<16>(acc, from, block, start - start % 32, static_cast<int>(start % 32));
      return;
    }
    int64_t col = start;
    if (col % 32 != 0) {
      addColumns<16>(acc, from, block, col - 16, 16);
      col += 16;
      block += blockBytes;
    }
    for (; col + 32 <= start + span; col += 32, block += blockBytes) addColumns<32>(acc, from, block, col, 0);
    if (col < start + span) addColumns<16>(acc, from, block, col, 0);
  }

  /** Adds the span's sums, scaled, and its minimums to the totals. */
  template <int rows>
  MILLRACE_INLINE static void addScaled(V16 (&total)[rows], const Ints (&acc)[rows], const Sources& from,
                                        int64_t group, int64_t start, int64_t span) {
    constexpr int64_t blockBytes = rows * (32 * codeBytes + (perToken ? 0 : 8));
    const float* sides = reinterpret_cast<const float*>(panelSides<rows>(from.panel + start / 32 * blockBytes));
    const V16 scale = load(from.scales + group * lanesPerTile);
    const V16 minimum = hasMinimums ? load(from.minimums + group * lanesPerTile) : zero();
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      V16 product = toFloat(acc[r]);
      if constexpr (!perToken) product = mul(product, splat(sides[r]));
      total[r] = fma(product, scale, total[r]);
      if constexpr (hasMinimums) {
        float sum;
        if constexpr (scaling == Scaling::Block32) sum = sides[rows + r];
        else sum = static_cast<float>(sumOf(from, r, start, span));
        if constexpr (scaling == Scaling::Block16) sum *= sides[r];
        total[r] = fma(splat(sum), minimum, total[r]);
      }
    }
  }

  template <int rows, int tiles>
  static void run(const TileJob& job) {
    static_assert(tiles == 1);
    const PackedMatrix& w = job.w;
    const float* scales = unpackedScales(w, job.unpacked);
    const Sources from{job.unpacked, scales,  scales + w.numGroups() * lanesPerTile, job.panel,
                       job.x,        job.row, job.ahead};
    const int64_t cols = w.paddedCols;
    const int64_t width = w.groupSize == w.cols ? cols : w.groupSize;
    const int64_t span = scaling == Scaling::Block32 ? 32 : scaling == Scaling::Block16 ? 16 : width;
    V16 total[rows];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) total[r] = zero();
    int64_t left = width;
    int64_t group = 0;
    for (int64_t start = 0; start < cols; start += span) {
      Ints acc[rows];
      addSpan<rows>(acc, from, start, span);
      addScaled<rows>(total, acc, from, group, start, span);
      left -= span;
      if (left == 0) {
        left = width;
        ++group;
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const V16 y = perToken ? mul(total[r], splat(job.x.scales[(job.row + r) * job.x.sideStride])) : total[r];
      store(job.out + r * job.outStride, y);
    }
  }
};

}  // namespace millrace::MILLRACE_ISA
