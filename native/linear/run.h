// Drives the register tiles over a whole linear. Compiled once per instruction set.
#pragma once

#include "linear/finish.h"
#include "linear/panel.h"

namespace millrace::MILLRACE_ISA {

namespace {

/** Bytes of weights in flight that cover the latency of memory at its full rate, shared by the streams of a core. On AMD
    EPYC (Zen 3, AVX2) one row of int8 weights read at 66 to 81 % of the ceiling with one stream and at 90 to 102 % with four
    (`npm run perf -- --parts linears --form "int8 channel" --rows 1`). */
constexpr int64_t streamAheadBytes = 2048;
/** Tiles side by side that are no longer than a usual first-level cache fetch the next ones whole: streams so short end
    before fetching ahead in them has an effect. */
constexpr int64_t nearBytes = 32 * 1024;
constexpr int64_t lineBytes = 64;
/** Columns after which kernels count a step of prefetching. */
constexpr int64_t columnsOfStep = 8;

/** What is prefetched while a unit is multiplied, in bytes. */
struct Prefetch {
  /** From the unit's first tile for its first block of rows, and how much later every further block begins. */
  int64_t ahead;
  int64_t block;
  /** Further for every step, and for every tile that is a stream of its own. */
  int64_t step;
  int64_t tile;
};

/** How a linear is cut: units of `unitTiles` tiles of weights, which are finished together, by blocks of rows. */
struct Cut {
  const TileFunction* functions;
  Panels panels;
  Prefetch prefetch;
  /** Tiles side by side are streams that are longer than what is fetched ahead in them. */
  bool hasStreams;
  /** Tiles that a kernel multiplies side by side. */
  int64_t kernelTiles;
  int64_t unitTiles;
  int64_t numUnits;
  int64_t numRowBlocks;
  /** Shape of a task in units and row blocks. */
  int64_t taskUnits;
  int64_t taskBlocks;
};

/** A few rows read straight on; more rows make several passes over a unit, each with its share of the next one. */
Prefetch choosePrefetch(const PackedMatrix& w, const Cut& cut, bool isSmall) {
  const int64_t kernelBytes = cut.kernelTiles * w.tileBytes;
  if (isSmall) {
    const bool isNear = cut.kernelTiles > 1 && kernelBytes <= nearBytes;
    const int64_t ahead = isNear ? kernelBytes : streamAheadBytes / cut.kernelTiles;
    return {ahead, 0, w.tileBytes * columnsOfStep / w.cols, w.tileBytes};
  }
  const int64_t unitBytes = cut.unitTiles * w.tileBytes;
  return {unitBytes, unitBytes / cut.numRowBlocks, kernelBytes / cut.numRowBlocks * columnsOfStep / w.cols, 0};
}

/** About four tasks a thread: few enough for long runs of memory, enough to even out the end. */
void chooseTasks(Cut& cut, int threads) {
  cut.taskBlocks = cut.numRowBlocks;
  cut.taskUnits = cut.numUnits;
  if (threads == 1) return;
  const int64_t tasks = 4 * static_cast<int64_t>(threads);
  cut.taskUnits = cut.numUnits < tasks ? 1 : cut.numUnits / tasks;
  if (cut.numUnits >= tasks / 2) return;
  const int64_t rowTasks = tasks / (cut.numUnits > 0 ? cut.numUnits : 1);
  cut.taskBlocks = cut.numRowBlocks < rowTasks ? 1 : (cut.numRowBlocks + rowTasks - 1) / rowTasks;
}

Cut cutLinear(const PackedMatrix& w, const TileFamily& family, const LinearOutput& output, int threads) {
  Cut cut;
  const int64_t rows = output.to.rows;
  const bool isSmall = rows <= family.smallRows;
  cut.functions = isSmall ? family.small : family.large;
  cut.panels = isSmall ? Panels{} : family.panels;
  cut.kernelTiles = isSmall ? family.smallTiles[rows] : family.largeTiles;
  const int64_t outputTiles = tilesTogether(w, output);
  cut.unitTiles = cut.kernelTiles < outputTiles ? outputTiles : cut.kernelTiles;
  cut.numUnits = (w.numTiles + cut.unitTiles - 1) / cut.unitTiles;
  cut.numRowBlocks = isSmall ? 1 : (rows + family.largeRows - 1) / family.largeRows;
  cut.prefetch = choosePrefetch(w, cut, isSmall);
  cut.hasStreams = isSmall && cut.kernelTiles > 1 && cut.prefetch.ahead < w.tileBytes;
  chooseTasks(cut, threads);
  return cut;
}

/** One linear while it runs. */
struct LinearRun {
  const PackedMatrix& w;
  const Activations& x;
  const LinearOutput& output;
  Cut cut;
  bool isStreamed;
  uint8_t* panels;

  void unpackUnit(int64_t unit, uint8_t* scratch) const {
    const int64_t bytes = unpackedBytes(w);
    const int64_t first = unit * cut.unitTiles;
    for (int64_t i = 0; i < cut.unitTiles && first + i < w.numTiles; ++i) cut.panels.unpack(w, first + i, scratch + i * bytes);
  }

  int64_t firstRow(int64_t block) const { return x.rows * block / cut.numRowBlocks; }

  uint8_t* panelOf(int64_t row) const {
    return cut.panels.lay == nullptr ? nullptr : panels + row * cut.panels.bytesPerRow(w);
  }

  void layBlock(int64_t block) const {
    const int64_t row = firstRow(block);
    cut.panels.lay(x, row, firstRow(block + 1) - row, w.paddedCols, panelOf(row));
  }

  /** Fetches the first bytes of the streams from `tile` on: the ones before end elsewhere, and fetch ahead past their end. */
  void fetchStarts(int64_t tile) const {
    const int64_t numTiles = w.numTiles - tile < cut.kernelTiles ? w.numTiles - tile : cut.kernelTiles;
    for (int64_t c = 0; c < numTiles; ++c) {
      const uint8_t* codes = w.tileCodes(tile + c);
      for (int64_t i = 0; i < cut.prefetch.ahead; i += lineBytes) _mm_prefetch(codes + i, _MM_HINT_T1);
      if (!w.isInteger() || w.isPerRow()) continue;
      for (int64_t i = 0; i < scalesAheadBytes; i += lineBytes) {
        prefetchScales(w.scaleType, w.scales + i - scalesAheadBytes, w.scaleIndex(tile + c, 0));
      }
    }
  }

  /** Fetches what the results of a block of rows are added to. Where there are many rows it has left the near caches. */
  void fetchResidual(int64_t row, int64_t numRows, int64_t tile, int64_t numTiles) const {
    if (output.residual == nullptr || cut.numRowBlocks == 1) return;
    for (int64_t r = 0; r < numRows; ++r) {
      const float* from = output.residual + (row + r) * output.to.rowStride + tile * lanesPerTile;
      for (int64_t i = 0; i < numTiles; ++i) _mm_prefetch(from + i * lanesPerTile, _MM_HINT_T0);
    }
  }

  void runBlock(int64_t unit, int64_t block, const uint8_t* scratch) const {
    alignas(64) float results[maxTileRows * maxTiles * lanesPerTile];
    const int64_t outStride = cut.unitTiles * lanesPerTile;
    const int64_t row = firstRow(block);
    const int64_t numRows = firstRow(block + 1) - row;
    const int64_t tile = unit * cut.unitTiles;
    const int64_t numTiles = w.numTiles - tile < cut.unitTiles ? w.numTiles - tile : cut.unitTiles;
    const int64_t bytes = cut.panels.unpack == nullptr ? 0 : unpackedBytes(w);
    fetchResidual(row, numRows, tile, numTiles);
    for (int64_t i = 0; i < numTiles; i += cut.kernelTiles) {
      if (cut.hasStreams) fetchStarts(tile + i + cut.kernelTiles);
      const Prefetch& prefetch = cut.prefetch;
      const uint8_t* next = w.tileCodes(tile) + prefetch.ahead + prefetch.block * block;
      const Ahead ahead{next + i * w.tileBytes / cut.numRowBlocks, prefetch.step, prefetch.tile};
      cut.functions[numRows]({w, x, row, tile + i, numTiles - i, results + i * lanesPerTile, outStride, ahead,
                              scratch + i * bytes, panelOf(row)});
    }
    for (int64_t r = 0; r < numRows; ++r) {
      finishTiles(w, output, isStreamed, results + r * outStride, row + r, tile, numTiles);
    }
  }
};

/** Room for the tiles that one thread has unpacked. */
size_t tileScratchBytes(const PackedMatrix& w, const Panels& panels) {
  return panels.unpack == nullptr ? 0 : static_cast<size_t>(maxTiles * roundUp(unpackedBytes(w), 64));
}

/** Memory that `runTiles` needs. */
inline size_t tilesScratchBytes(const PackedMatrix& w, const TileFamily& family, int64_t rows, int threads) {
  if (rows <= family.smallRows) return 0;
  const Panels& panels = family.panels;
  const int64_t ofRows = panels.lay == nullptr ? 0 : rows * panels.bytesPerRow(w);
  return tileScratchBytes(w, panels) * static_cast<size_t>(threads) + static_cast<size_t>(ofRows);
}

/** A whole linear by the kernels of one family. */
inline void runTiles(const PackedMatrix& w, const TileFamily& family, const Activations& x, const LinearOutput& output,
                     uint8_t* scratch, ThreadPool& pool) {
  if (x.rows == 0 || w.rows == 0) return;
  const Cut cut = cutLinear(w, family, output, pool.size());
  const size_t tileBytes = tileScratchBytes(w, cut.panels);
  const LinearRun run{w, x, output, cut, isStreamed(output), scratch + tileBytes * static_cast<size_t>(pool.size())};
  if (cut.panels.lay != nullptr) pool.parallelFor(cut.numRowBlocks, [&](int64_t block, int) { run.layBlock(block); });
  const int64_t unitTasks = (cut.numUnits + cut.taskUnits - 1) / cut.taskUnits;
  const int64_t rowTasks = (cut.numRowBlocks + cut.taskBlocks - 1) / cut.taskBlocks;
  pool.parallelFor(unitTasks * rowTasks, [&](int64_t task, int thread) {
    const int64_t unitStart = task / rowTasks * cut.taskUnits;
    const int64_t blockStart = task % rowTasks * cut.taskBlocks;
    const int64_t unitEnd = unitStart + cut.taskUnits < cut.numUnits ? unitStart + cut.taskUnits : cut.numUnits;
    const int64_t blockEnd =
        blockStart + cut.taskBlocks < cut.numRowBlocks ? blockStart + cut.taskBlocks : cut.numRowBlocks;
    uint8_t* own = scratch + static_cast<size_t>(thread) * tileBytes;
    // Weights outside, rows inside: a unit's weights stay in the cache while all rows pass.
    for (int64_t unit = unitStart; unit < unitEnd; ++unit) {
      if (cut.panels.unpack != nullptr) run.unpackUnit(unit, own);
      for (int64_t block = blockStart; block < blockEnd; ++block) run.runBlock(unit, block, own);
    }
    if (run.isStreamed) fenceStreaming();
  });
}

}  // namespace

}  // namespace millrace::MILLRACE_ISA
