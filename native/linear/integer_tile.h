// Integer weights times int8 activations. Sums of products are exact; scales are applied in one fixed order:
//   int8-token:   y = (sum over groups g: fma(float(I_g), scale_g, .)) * xScale
//   int8-block32: y =  sum over spans  b: fma(float(I_b) * xScale_b, scale_g(b), .)
// where a span is 32 columns (16 if groups are no multiple of 32), and a minimum adds fma(float(S), minimum, .)
// (S times xScale_b for blocks) right after its scale, S being the sum of the span's activation codes.
#pragma once

#include "linear/span_scaling.h"

namespace millrace::MILLRACE_ISA {

template <Codes codes, Scaling scaling, bool hasMinimums>
struct IntegerKernel {
  static constexpr bool perToken = scaling == Scaling::Token;
  static constexpr int bytesPerColumn = codes == Codes::Int8 ? 16 : 8;
  /** The stored code of a zero weight, as `addProducts` sees it, is 2 to this power; or 0. */
  static constexpr int zeroShift = codes == Codes::Int8 ? int8BiasShift : hasMinimums ? 0 : 3;

  /** Where the operands are: rows of the job, one pointer for each tile. */
  template <int tiles>
  struct Sources {
    const PackedMatrix& w;
    const uint8_t* weights[tiles];
    /** A tile's first index among the scales of all. */
    int64_t scaleIndex[tiles];
    const int8_t* x;
    int64_t xStride;
    /** Of the first row; the next row's are sideStride words on. */
    Sides first;
    int64_t sideStride;
    Ahead ahead;

    MILLRACE_INLINE Sides sides(int r) const { return first.after(r * sideStride); }
  };

  /** From a group's scales to the next one's: PackedMatrix::scaleStride. */
  static constexpr int64_t scaleStride = hasMinimums ? 2 * lanesPerTile : lanesPerTile;

  /** Scales of a tile. Where few rows stream weights they are a stream of their own, minimums included. */
  template <int rows, int tiles>
  MILLRACE_INLINE static V16 scalesOf(const Sources<tiles>& from, int c, int64_t group) {
    const ScaleType type = from.w.scaleType;
    const int64_t index = from.scaleIndex[c] + group * scaleStride;
    if constexpr (!perToken && rows <= 2) prefetchScales(type, from.w.scales, index);
    return loadScales(type, from.w.scales, index);
  }

  template <int columns, int rows, int tiles>
  MILLRACE_INLINE static void addColumns(Ints (&acc)[rows][tiles], const Sources<tiles>& from, int64_t col) {
    const Ahead ahead{from.ahead.from + col / 8 * from.ahead.step, from.ahead.step, from.ahead.tile};
    addProducts<codes, columns / 8>(acc, from.weights, col * bytesPerColumn, from.x + col, from.xStride,
                                             ahead);
  }

  template <int rows, int tiles>
  MILLRACE_INLINE static void addSpan(Ints (&acc)[rows][tiles], const Sources<tiles>& from, int64_t start,
                                      int64_t span) {
    if constexpr (scaling == Scaling::Block32) {
      addColumns<32>(acc, from, start);
    } else if constexpr (scaling == Scaling::Block16) {
      addColumns<16>(acc, from, start);
    } else {
      int64_t col = start;
      for (; col + 32 <= start + span; col += 32) addColumns<32>(acc, from, col);
      if (col < start + span) addColumns<16>(acc, from, col);
    }
  }

  /** Adds the span's exact sums, scaled, to the totals. */
  template <int rows, int tiles>
  MILLRACE_INLINE static void addScaled(V16 (&total)[rows][tiles], const Ints (&acc)[rows][tiles],
                                        const Sources<tiles>& from, int64_t group, int64_t start, int64_t span) {
#pragma GCC unroll 4
    for (int c = 0; c < tiles; ++c) {
      const V16 scale = scalesOf<rows>(from, c, group);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        const V16 product = scaledProduct<scaling, zeroShift>(acc[r][c], from.sides(r), start, span);
        total[r][c] = fma(product, scale, total[r][c]);
      }
    }
  }

  /** Adds the span's minimums times the sum of its activations to the totals. */
  template <int rows, int tiles>
  MILLRACE_INLINE static void addMinimums(V16 (&total)[rows][tiles], const Sources<tiles>& from, int64_t group,
                                          int64_t start, int64_t span) {
#pragma GCC unroll 4
    for (int c = 0; c < tiles; ++c) {
      const V16 minimum = loadScales(from.w.scaleType, from.w.minimums, from.scaleIndex[c] + group * scaleStride);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        const float factor = minimumFactor<scaling>(from.sides(r), start, span);
        total[r][c] = fma(splat(factor), minimum, total[r][c]);
      }
    }
  }

  template <int tiles>
  MILLRACE_INLINE static Sources<tiles> sourcesOf(const TileJob& job) {
    const PackedMatrix& w = job.w;
    const int8_t* x = static_cast<const int8_t*>(job.x.data) + job.row * job.x.rowStride;
    const Sides first = sidesOf(job.x, job.row);
    Sources<tiles> from{w, {}, {}, x, job.x.rowStride, first, job.x.sideStride, job.ahead};
#pragma GCC unroll 4
    for (int c = 0; c < tiles; ++c) {
      const int64_t tile = job.tile + (c < job.numTiles ? c : job.numTiles - 1);
      from.weights[c] = w.tileCodes(tile);
      from.scaleIndex[c] = w.scaleIndex(tile, 0);
    }
    return from;
  }

  template <int rows, int tiles>
  static void run(const TileJob& job) {
    const Sources<tiles> from = sourcesOf<tiles>(job);
    const int64_t cols = job.w.paddedCols;
    const int64_t width = job.w.groupSize == job.w.cols ? cols : job.w.groupSize;
    const int64_t span = scaling == Scaling::Block32 ? 32 : scaling == Scaling::Block16 ? 16 : width;
    V16 total[rows][tiles];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) total[r][c] = zero();
    }
    int64_t left = width;
    int64_t group = 0;
    for (int64_t start = 0; start < cols; start += span) {
      Ints acc[rows][tiles];
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
        for (int c = 0; c < tiles; ++c) acc[r][c] = splatInt(0);
      }
      addSpan(acc, from, start, span);
      addScaled(total, acc, from, group, start, span);
      if constexpr (hasMinimums) addMinimums(total, from, group, start, span);
      left -= span;
      if (left == 0) {
        left = width;
        ++group;
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) {
        const V16 y = perToken ? mul(total[r][c], splat(from.sides(r).scale(0))) : total[r][c];
        store(job.out + r * job.outStride + 16 * c, y);
      }
    }
  }
};

/** Chooses among the families of one kind of codes; `Sizes` names the kernel of many rows. */
template <class Sizes, Codes codes, Scaling scaling, bool hasMinimums>
const TileFamily& familyWith() {
  using Small = IntegerKernel<codes, scaling, hasMinimums>;
  using Large = typename Sizes::template Large<codes, scaling, hasMinimums>;
  static constexpr TileFamily family = makeFamily<Small, Sizes, Large>();
  return family;
}

template <class Sizes, Codes codes, bool hasMinimums>
const TileFamily& integerFamilyOf(const PackedMatrix& w) {
  if (w.inputForm == Form::Int8Token) return familyWith<Sizes, codes, Scaling::Token, hasMinimums>();
  const bool whole = w.groupSize == w.cols || w.groupSize % 32 == 0;
  return whole ? familyWith<Sizes, codes, Scaling::Block32, hasMinimums>()
               : familyWith<Sizes, codes, Scaling::Block16, hasMinimums>();
}

template <class Sizes>
const TileFamily& chooseIntegerFamily(const PackedMatrix& w) {
  if (w.codes == Codes::Int8) {
    return w.hasMinimums ? integerFamilyOf<Sizes, Codes::Int8, true>(w)
                         : integerFamilyOf<Sizes, Codes::Int8, false>(w);
  }
  return w.hasMinimums ? integerFamilyOf<Sizes, Codes::Int4, true>(w)
                       : integerFamilyOf<Sizes, Codes::Int4, false>(w);
}

}  // namespace millrace::MILLRACE_ISA
