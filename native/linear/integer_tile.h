// Integer weights times int8 activations. Sums of products are exact; scales are applied in one fixed order:
//   int8-token:   y = (sum over groups g: fma(float(I_g), scale_g, .)) * xScale
//   int8-block32: y =  sum over spans  b: fma(float(I_b) * xScale_b, scale_g(b), .)
// where a span is 32 columns (16 if groups are no multiple of 32), and a minimum adds fma(float(S), minimum, .)
// (S times xScale_b for blocks) right after its scale, S being the sum of the span's activation codes.
#pragma once

#include "linear/tile_family.h"

namespace millrace::MILLRACE_ISA {

enum class Scaling { Token, Block32, Block16 };

template <Codes codes, Scaling scaling, bool hasMinimums>
struct IntegerKernel {
  static constexpr bool perToken = scaling == Scaling::Token;
  static constexpr int bytesPerColumn = codes == Codes::Int8 ? 16 : 8;
  /** What the stored code of a zero weight is, as `addProducts` sees it. */
  static constexpr int32_t zeroCode = codes == Codes::Int8 ? int8Bias : hasMinimums ? 0 : 8;

  MILLRACE_INLINE static Ahead at(Ahead ahead, int64_t col) { return {ahead.from + col / 8 * ahead.step, ahead.step}; }

  template <int rows, int tiles>
  MILLRACE_INLINE static void addSpan(Ints (&acc)[rows][tiles], const uint8_t* const (&weights)[tiles],
                                      int64_t start, int64_t span, const int8_t* x, int64_t stride, Ahead ahead) {
    if constexpr (scaling == Scaling::Block32) {
      addProducts<codes, 4>(acc, weights, start * bytesPerColumn, x + start, stride, at(ahead, start));
    } else if constexpr (scaling == Scaling::Block16) {
      addProducts<codes, 2>(acc, weights, start * bytesPerColumn, x + start, stride, at(ahead, start));
    } else {
      int64_t col = start;
      for (; col + 32 <= start + span; col += 32) {
        addProducts<codes, 4>(acc, weights, col * bytesPerColumn, x + col, stride, at(ahead, col));
      }
      if (col < start + span) {
        addProducts<codes, 2>(acc, weights, col * bytesPerColumn, x + col, stride, at(ahead, col));
      }
    }
  }

  /** Adds the span's exact sums, scaled, to the totals. */
  template <int rows, int tiles>
  MILLRACE_INLINE static void scaleSpan(V16 (&total)[rows][tiles], const Ints (&acc)[rows][tiles],
                                        const TileJob& job, const int64_t (&scaleIndex)[tiles], int64_t start,
                                        int64_t end) {
    const PackedMatrix& w = job.w;
    const int64_t sumStride = sumsPerRow(job.x.form, job.x.cols);
    const int64_t scaleStride = scalesPerRow(job.x.form, job.x.cols);
    const float* xScales = job.x.scales + job.row * scaleStride + start / 32;
    const int32_t* sums = job.x.sums + job.row * sumStride;
#pragma GCC unroll 4
    for (int c = 0; c < tiles; ++c) {
      const V16 scale = loadScales(w.scaleType, w.scales, scaleIndex[c]);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        V16 product = toFloat(acc[r][c]);
        if constexpr (!perToken) product = mul(product, splat(xScales[r * scaleStride]));
        total[r][c] = fma(product, scale, total[r][c]);
      }
    }
    if constexpr (hasMinimums) {
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) {
        const V16 minimum = loadScales(w.scaleType, w.minimums, scaleIndex[c]);
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) {
          float sum = static_cast<float>(sums[r * sumStride + end / 16] - sums[r * sumStride + start / 16]);
          if constexpr (!perToken) sum *= xScales[r * scaleStride];
          total[r][c] = fma(splat(sum), minimum, total[r][c]);
        }
      }
    }
  }

  template <int rows, int tiles>
  static void run(const TileJob& job) {
    const PackedMatrix& w = job.w;
    const Activations& x = job.x;
    const int8_t* codesOfX = static_cast<const int8_t*>(x.data) + job.row * x.rowStride;
    const int64_t sumStride = sumsPerRow(x.form, x.cols);
    const int32_t* sums = x.sums + job.row * sumStride;
    const int64_t cols = w.paddedCols;
    const int64_t group = w.groupSize == w.cols ? cols : w.groupSize;
    const int64_t span = scaling == Scaling::Block32 ? 32 : scaling == Scaling::Block16 ? 16 : group;
    const uint8_t* weights[tiles];
    int64_t scaleIndex[tiles];
    V16 total[rows][tiles];
#pragma GCC unroll 4
    for (int c = 0; c < tiles; ++c) {
      const int64_t tile = job.tile + (c < job.numTiles ? c : job.numTiles - 1);
      weights[c] = w.tileCodes(tile);
      scaleIndex[c] = tile * w.numGroups() * lanesPerTile;
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) total[r][c] = zero();
    }
    int64_t left = group;
    for (int64_t start = 0; start < cols; start += span) {
      Ints acc[rows][tiles];
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        const int32_t sum = sums[r * sumStride + start / 16] - sums[r * sumStride + (start + span) / 16];
#pragma GCC unroll 4
        for (int c = 0; c < tiles; ++c) acc[r][c] = splatInt(zeroCode == 0 ? 0 : sum * zeroCode);
      }
      addSpan(acc, weights, start, span, codesOfX, x.rowStride, job.ahead);
      scaleSpan(total, acc, job, scaleIndex, start, start + span);
      left -= span;
      if (left == 0) {
        left = group;
#pragma GCC unroll 4
        for (int c = 0; c < tiles; ++c) scaleIndex[c] += lanesPerTile;
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) {
        const V16 y = perToken ? mul(total[r][c], splat(x.scales[job.row + r])) : total[r][c];
        store(job.out + r * job.outStride + 16 * c, y);
      }
    }
  }
};

/** Chooses among the families of one pair of tile sizes. */
template <class Sizes, Codes codes, Scaling scaling>
const TileFamily& familyWith(bool hasMinimums) {
  static constexpr TileFamily plain = makeFamily<IntegerKernel<codes, scaling, false>, Sizes>();
  static constexpr TileFamily withMinimums = makeFamily<IntegerKernel<codes, scaling, true>, Sizes>();
  return hasMinimums ? withMinimums : plain;
}

template <class Sizes, Codes codes>
const TileFamily& familyOf(const PackedMatrix& w) {
  if (w.inputForm == Form::Int8Token) return familyWith<Sizes, codes, Scaling::Token>(w.hasMinimums);
  const bool whole = w.groupSize == w.cols || w.groupSize % 32 == 0;
  return whole ? familyWith<Sizes, codes, Scaling::Block32>(w.hasMinimums)
               : familyWith<Sizes, codes, Scaling::Block16>(w.hasMinimums);
}

template <class Sizes>
const TileFamily& chooseIntegerFamily(const PackedMatrix& w) {
  return w.codes == Codes::Int8 ? familyOf<Sizes, Codes::Int8>(w) : familyOf<Sizes, Codes::Int4>(w);
}

}  // namespace millrace::MILLRACE_ISA
