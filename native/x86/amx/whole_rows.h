// Sums over whole rows: int8 or int4 codes with one scale for each row of weights and of activations, and bf16.
//
// Two weight tiles by two row blocks are four sums, so that every tile loaded is multiplied twice. Columns are cut into
// passes whose weights stay in the first-level cache while the row blocks of the band come by from the second; sums wait
// in memory between passes. Where a pass ends changes no bit: integers are exact, and a sum of floats is the same number
// in memory.
#pragma once

#include "x86/amx/unit_job.h"

namespace millrace::MILLRACE_ISA {

/** Steps of a pass: two weight tiles take 24 KiB of a first-level cache of 48 KiB. */
constexpr int64_t stepsPerPass = 12;

/** Weights that the blocks of a pass fetch together for the next: the same number of lines after each of two places. */
struct NextPass {
  const uint8_t* from[2];
  int64_t lines;
  int64_t linesPerStep;

  MILLRACE_INLINE void fetch(int64_t step) const {
    const int64_t first = step * linesPerStep;
    const int64_t end = first + linesPerStep < lines ? first + linesPerStep : lines;
    for (int64_t line = first; line < end; ++line) {
      // Into the second level: the first is full of this pass.
      _mm_prefetch(reinterpret_cast<const char*>(from[0] + line * 64), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(from[1] + line * 64), _MM_HINT_T1);
    }
  }
};

/** Columns [firstStep, endStep) of two weight tiles. */
struct Pass {
  const uint8_t* weights[2];
  int64_t firstStep;
  int64_t endStep;
  NextPass next;
};

template <Codes codes, bool hasMinimums>
struct WholeRowKernel {
  static constexpr bool isFloat = codes == Codes::BF16;

  template <int sums, int x, int weights>
  MILLRACE_INLINE static void dot(Tiles& tiles) {
    if constexpr (isFloat) tiles.template dotBf16<sums, x, weights>();
    else tiles.template dotInt8<sums, x, weights>();
  }

  /** One or two row blocks from `block` on, times the weights of the pass. */
  template <int numBlocks>
  static void multiplyBlocks(Tiles& tiles, const UnitJob& job, int64_t c, int64_t block, const Pass& pass) {
    const int64_t stride = job.xRowBytes();
    const uint8_t* first = job.xOf(block);
    const uint8_t* second = numBlocks == 2 ? job.xOf(block + 1) : first;
    uint8_t* places[4] = {job.sumsOf(block, c), job.sumsOf(block, c + 1), nullptr, nullptr};
    if constexpr (numBlocks == 2) {
      places[2] = job.sumsOf(block + 1, c);
      places[3] = job.sumsOf(block + 1, c + 1);
    }
    moveSums<numBlocks>(tiles, places, pass.firstStep == 0 ? Move::Zero : Move::Load);
    const int64_t numSteps = pass.endStep - pass.firstStep;
    const int64_t firstFetch = (block - job.firstBlock) / 2 * numSteps;
    for (int64_t step = 0; step < numSteps; ++step) {
      const int64_t at = (pass.firstStep + step) * tileRowBytes;
      tiles.template load<4>(first + at, stride);
      if constexpr (numBlocks == 2) tiles.template load<5>(second + at, stride);
      tiles.template load<6>(pass.weights[0] + at * maxTileBlockRows, tileRowBytes);
      dot<0, 4, 6>(tiles);
      if constexpr (numBlocks == 2) dot<2, 5, 6>(tiles);
      tiles.template load<7>(pass.weights[1] + at * maxTileBlockRows, tileRowBytes);
      dot<1, 4, 7>(tiles);
      if constexpr (numBlocks == 2) dot<3, 5, 7>(tiles);
      pass.next.fetch(firstFetch + step);
    }
    moveSums<numBlocks>(tiles, places, Move::Store);
  }

  enum class Move { Zero, Load, Store };

  template <int tile>
  MILLRACE_INLINE static void moveSum(Tiles& tiles, uint8_t* place, Move move) {
    if (move == Move::Zero) tiles.template zero<tile>();
    else if (move == Move::Load) tiles.template load<tile>(place, tileRowBytes);
    else tiles.template store<tile>(place, tileRowBytes);
  }

  template <int numBlocks>
  MILLRACE_INLINE static void moveSums(Tiles& tiles, uint8_t* const (&places)[4], Move move) {
    moveSum<0>(tiles, places[0], move);
    moveSum<1>(tiles, places[1], move);
    if constexpr (numBlocks == 2) {
      moveSum<2>(tiles, places[2], move);
      moveSum<3>(tiles, places[3], move);
    }
  }

  static int64_t numSteps(const PackedMatrix& w) {
    return isFloat ? roundUp(w.cols, 32) / 32 : roundUp(w.paddedCols, 64) / 64;
  }

  /** Tiles c and c + 1 of the unit; where there is one only, it is multiplied twice. */
  static void multiplyPair(Tiles& tiles, const UnitJob& job, int64_t c) {
    const int64_t other = c + 1 < job.numTiles ? c + 1 : c;
    const uint8_t* weights[2] = {tileOperand<codes>(job, c, 0), tileOperand<codes>(job, other, 1)};
    const int64_t steps = numSteps(job.w);
    const int64_t passes = (steps + stepsPerPass - 1) / stepsPerPass;
    const int64_t numPairs = (job.endBlock - job.firstBlock + 1) / 2;
    for (int64_t i = 0; i < passes; ++i) {
      Pass pass{{weights[0], weights[1]}, steps * i / passes, steps * (i + 1) / passes, {}};
      const int64_t after = i + 1 < passes ? steps * (i + 2) / passes - pass.endStep : steps / passes;
      // Behind the last pass, the first of the next two tiles. Unpacked codes are near already.
      const int64_t ahead = i + 1 < passes ? pass.endStep * wholeTileBytes : 2 * job.w.tileBytes;
      pass.next = {{weights[0] + ahead, weights[1] + ahead}, after * maxTileBlockRows,
                   codes == Codes::Int4 ? 0 : (maxTileBlockRows + numPairs - 1) / numPairs};
      int64_t block = job.firstBlock;
      for (; block + 2 <= job.endBlock; block += 2) multiplyBlocks<2>(tiles, job, c, block, pass);
      if (block < job.endBlock) multiplyBlocks<1>(tiles, job, c, block, pass);
    }
  }

  static void multiply(Tiles& tiles, const UnitJob& job) {
    for (int64_t c = 0; c < job.numTiles; c += 2) multiplyPair(tiles, job, c);
  }

  static void finish(const UnitJob& job, int64_t c, int64_t row, const uint8_t* sums, float* to) {
    if constexpr (isFloat) {
      store(to, load(reinterpret_cast<const float*>(sums)));
    } else {
      const PackedMatrix& w = job.w;
      const Sides sides = sidesOf(job.x, row);
      const int64_t index = w.scaleIndex(job.tile + c, 0);
      const V16 product =
          scaledProduct<Scaling::Token, tileZeroShift<codes, hasMinimums>>(loadUnits(sums), sides, 0, w.paddedCols);
      V16 total = fma(product, loadScales(w.scaleType, w.scales, index), zero());
      if constexpr (hasMinimums) {
        const V16 factor = splat(minimumFactor<Scaling::Token>(sides, 0, w.paddedCols));
        total = fma(factor, loadScales(w.scaleType, w.minimums, index), total);
      }
      store(to, mul(total, splat(sides.scale(0))));
    }
  }

  static constexpr TileKernel kernel{64, codes == Codes::Int4, multiply, finish};
};

}  // namespace millrace::MILLRACE_ISA
