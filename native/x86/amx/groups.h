// Sums over groups of columns: integer weights with a scale for each group, or activations in blocks of 32.
//
// A span is what one scale covers on both sides. Four spans are multiplied into four sums, then scaled row by row in the
// order of integer_tile.h. The scaling takes longer than the products (about five vector operations for each span and
// row, against one cycle of the tiles), so that more than one weight tile and row block at a time would gain nothing.
#pragma once

#include <utility>

#include "x86/amx/unit_job.h"

namespace millrace::MILLRACE_ISA {

/** `columns` are those of one step: 64, or 32 where spans are no multiple of 64. */
template <Codes codes, Scaling scaling, bool hasMinimums, int columns>
struct GroupKernel {
  static constexpr int64_t spansTogether = 4;

  static constexpr int64_t bytesPerColumn = codes == Codes::Int8 ? 16 : 8;

  /** One weight tile, by one row block. */
  struct Operands {
    const uint8_t* weights;
    const uint8_t* x;
    int64_t span;
    /** The packed codes of the next weight tile, which the first row block fetches; null for the others. */
    const uint8_t* next;
  };

  MILLRACE_INLINE static void fetchNext(const Operands& from, int64_t start) {
    if (from.next == nullptr) return;
    const char* place = reinterpret_cast<const char*>(from.next + start * bytesPerColumn);
    for (int64_t at = 0; at < from.span * bytesPerColumn; at += 64) _mm_prefetch(place + at, _MM_HINT_T1);
  }

  template <int index>
  MILLRACE_INLINE static void multiplySpan(Tiles& tiles, const UnitJob& job, const Operands& from, int64_t start,
                                           uint8_t* sums) {
    constexpr int x = 4 + index % 2;
    constexpr int weights = 6 + index % 2;
    fetchNext(from, start);
    tiles.template zero<index>();
    for (int64_t col = start; col < start + from.span; col += columns) {
      tiles.template load<x>(from.x + col, job.x.rowStride);
      tiles.template load<weights>(from.weights + col * lanesPerTile, tileRowBytes);
      tiles.template dotInt8<index, x, weights>();
    }
    tiles.template store<index>(sums + index * wholeTileBytes, tileRowBytes);
  }

  /** Adds `count` spans from column `start` on to the totals of the block's rows. */
  template <int count>
  static void addSpans(Tiles& tiles, const UnitJob& job, const Operands& from, int64_t c, int64_t block,
                       int64_t start) {
    alignas(64) uint8_t sums[count * wholeTileBytes];
    [&]<int... index>(std::integer_sequence<int, index...>) {
      (multiplySpan<index>(tiles, job, from, start + index * from.span, sums), ...);
    }(std::make_integer_sequence<int, count>{});
    const PackedMatrix& w = job.w;
    V16 scale[count];
    V16 minimum[count];
    for (int i = 0; i < count; ++i) {
      const int64_t index = w.scaleIndex(job.tile + c, (start + i * from.span) / w.groupSize);
      scale[i] = loadScales(w.scaleType, w.scales, index);
      minimum[i] = hasMinimums ? loadScales(w.scaleType, w.minimums, index) : zero();
    }
    float* totals = reinterpret_cast<float*>(job.sumsOf(block, c));
    const int64_t row = job.blocks.first(block);
    for (int64_t r = 0; r < job.blocks.rowsOf(block); ++r) {
      const Sides sides = sidesOf(job.x, row + r);
      V16 total = start == 0 ? zero() : load(totals + r * lanesPerTile);
      for (int i = 0; i < count; ++i) {
        const int64_t at = start + i * from.span;
        const Ints sum = loadUnits(sums + i * wholeTileBytes + r * tileRowBytes);
        total = fma(scaledProduct<scaling, tileZeroShift<codes, hasMinimums>>(sum, sides, at, from.span), scale[i], total);
        if constexpr (hasMinimums) {
          total = fma(splat(minimumFactor<scaling>(sides, at, from.span)), minimum[i], total);
        }
      }
      store(totals + r * lanesPerTile, total);
    }
  }

  static void multiplyBlock(Tiles& tiles, const UnitJob& job, const uint8_t* weights, int64_t c, int64_t block) {
    const int64_t span = scaling == Scaling::Block32 ? 32 : job.w.groupSize;
    const Operands from{weights, job.xOf(block), span,
                        block == job.firstBlock ? job.w.tileCodes(job.tile + c + 1) : nullptr};
    const int64_t numSpans = job.w.paddedCols / from.span;
    int64_t i = 0;
    for (; i + spansTogether <= numSpans; i += spansTogether) {
      addSpans<spansTogether>(tiles, job, from, c, block, i * from.span);
    }
    switch (numSpans - i) {
      case 3: return addSpans<3>(tiles, job, from, c, block, i * from.span);
      case 2: return addSpans<2>(tiles, job, from, c, block, i * from.span);
      case 1: return addSpans<1>(tiles, job, from, c, block, i * from.span);
      default: return;
    }
  }

  static void multiply(Tiles& tiles, const UnitJob& job) {
    for (int64_t c = 0; c < job.numTiles; ++c) {
      const uint8_t* weights = tileOperand<codes>(job, c, 0);
      for (int64_t block = job.firstBlock; block < job.endBlock; ++block) multiplyBlock(tiles, job, weights, c, block);
    }
  }

  static void finish(const UnitJob& job, int64_t, int64_t row, const uint8_t* sums, float* to) {
    const V16 total = load(reinterpret_cast<const float*>(sums));
    store(to, scaling == Scaling::Token ? mul(total, splat(sidesOf(job.x, row).scale(0))) : total);
  }

  static constexpr TileKernel kernel{columns, codes == Codes::Int4, multiply, finish};
};

}  // namespace millrace::MILLRACE_ISA
