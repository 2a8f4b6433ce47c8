// Drives the tiles over a whole linear.
#pragma once

#include "linear/finish.h"
#include "x86/amx/unit_job.h"

namespace millrace::MILLRACE_ISA {

/** Activations of a band: half of a second-level cache of 2 MiB, the other half being for weights and sums. */
constexpr int64_t bandBytes = int64_t{1} << 20;
/** Rows of a band, so that its sums stay small too. */
constexpr int64_t maxBandRows = 512;

/** How a linear is cut: bands of row blocks, one after the other, by units of weight tiles. */
struct TileCut {
  RowBlocks blocks;
  int64_t bandBlocks;
  int64_t numBands;
  int64_t unitTiles;
  int64_t numUnits;
  /** Units of a task. */
  int64_t taskUnits;
};

constexpr int64_t divideUp(int64_t value, int64_t by) { return (value + by - 1) / by; }

/** Row blocks of a band whose activations stay in the cache; even, as blocks are multiplied by twos. */
inline int64_t largestBand(const PackedMatrix& w, const RowBlocks& blocks) {
  const int64_t rowBytes = activationStride(w.inputForm, w.cols) * bytesPerElement(w.inputForm);
  const int64_t rows = bandBytes / rowBytes < maxBandRows ? bandBytes / rowBytes : maxBandRows;
  const int64_t most = rows < 2 * maxTileBlockRows ? 2 : rows / (2 * maxTileBlockRows) * 2;
  return roundUp(divideUp(blocks.count, divideUp(blocks.count, most)), 2);
}

inline TileCut cutTiles(const PackedMatrix& w, const LinearOutput& output, int threads) {
  TileCut cut{RowBlocks(output.to.rows), 0, 0, 0, 0, 0};
  const int64_t together = tilesTogether(w, output);
  cut.unitTiles = together < 2 ? 2 : together;
  cut.numUnits = divideUp(w.numTiles, cut.unitTiles);
  cut.bandBlocks = largestBand(w, cut.blocks);
  // About four tasks a thread: few enough for long runs of memory, enough to even out the end.
  const int64_t tasks = threads == 1 ? 1 : 4 * static_cast<int64_t>(threads);
  const int64_t bandsWanted = divideUp(tasks, 2 * cut.numUnits);
  const int64_t share = roundUp(divideUp(cut.blocks.count, bandsWanted), 2);
  if (share < cut.bandBlocks) cut.bandBlocks = share;
  cut.numBands = divideUp(cut.blocks.count, cut.bandBlocks);
  const int64_t tasksOfBand = divideUp(tasks, cut.numBands);
  cut.taskUnits = cut.numUnits < tasksOfBand ? 1 : cut.numUnits / tasksOfBand;
  return cut;
}

/** Room that one thread needs: the sums of a band and a unit, and two unpacked tiles. */
inline int64_t threadScratchBytes(const PackedMatrix& w, const TileKernel& kernel, int64_t rows) {
  const int64_t sums = largestBand(w, RowBlocks(rows)) * maxUnitTiles * wholeTileBytes;
  return sums + (kernel.unpacks ? 2 * unpackedTileBytes(w) : 0);
}

/** All rows of the band: sums to results, and on as the output wants them. */
inline void finishUnit(const UnitJob& job, const TileKernel& kernel, const LinearOutput& output, bool streamed) {
  alignas(64) float results[maxUnitTiles * lanesPerTile];
  for (int64_t block = job.firstBlock; block < job.endBlock; ++block) {
    const int64_t first = job.blocks.first(block);
    for (int64_t r = 0; r < job.blocks.rowsOf(block); ++r) {
      for (int64_t c = 0; c < job.numTiles; ++c) {
        kernel.finish(job, c, first + r, job.sumsOf(block, c) + r * tileRowBytes, results + c * lanesPerTile);
      }
      finishTiles(job.w, output, streamed, results, first + r, job.tile, job.numTiles);
    }
  }
}

inline void runTiles(const PackedMatrix& w, const TileKernel& kernel, const Activations& x, const LinearOutput& output,
                     uint8_t* scratch, ThreadPool& pool) {
  const TileCut cut = cutTiles(w, output, pool.size());
  const int64_t threadBytes = threadScratchBytes(w, kernel, x.rows);
  const int64_t tasksOfBand = divideUp(cut.numUnits, cut.taskUnits);
  const bool streamed = isStreamed(output);
  pool.parallelFor(cut.numBands * tasksOfBand, [&](int64_t task, int thread) {
    Tiles tiles(cut.blocks.height(), kernel.stepBytes);
    uint8_t* sums = scratch + thread * threadBytes;
    uint8_t* unpacked = sums + largestBand(w, cut.blocks) * maxUnitTiles * wholeTileBytes;
    const int64_t firstBlock = task / tasksOfBand * cut.bandBlocks;
    const int64_t lastBlock = firstBlock + cut.bandBlocks;
    const int64_t endBlock = lastBlock < cut.blocks.count ? lastBlock : cut.blocks.count;
    const int64_t firstUnit = task % tasksOfBand * cut.taskUnits;
    for (int64_t unit = firstUnit; unit < firstUnit + cut.taskUnits && unit < cut.numUnits; ++unit) {
      const int64_t tile = unit * cut.unitTiles;
      const int64_t numTiles = w.numTiles - tile < cut.unitTiles ? w.numTiles - tile : cut.unitTiles;
      const UnitJob job{w, x, cut.blocks, firstBlock, endBlock, tile, numTiles, cut.unitTiles, sums, unpacked};
      kernel.multiply(tiles, job);
      finishUnit(job, kernel, output, streamed);
    }
    if (streamed) fenceStreaming();
  });
}

}  // namespace millrace::MILLRACE_ISA
