// Drives the register tiles over a whole linear, and quantises rows. Compiled once per instruction set.
#pragma once

#include <cfloat>

#include "linear/tile_family.h"
#include "vector/gates.h"

namespace millrace::MILLRACE_ISA {

namespace {

struct Epilogue {
  float* out;
  int64_t outStride;
  const float* bias;
  const float* residual;
  Gate gate;
};

V16 withBias(const Epilogue& epilogue, const float* block, int64_t col, int64_t count) {
  const V16 y = load(block);
  return epilogue.bias == nullptr ? y : add(y, loadFirst(epilogue.bias + col, count));
}

/** One row of a block of tiles, from `tile` on: bias, residual, gate, then to memory. */
void finishRow(const PackedMatrix& w, const Epilogue& epilogue, const float* block, int64_t row, int64_t tile,
               int64_t numTiles) {
  float* out = epilogue.out + row * epilogue.outStride;
  const int64_t partRows = w.partRows();
  const int64_t step = epilogue.gate == Gate::None ? 1 : 2;
  for (int64_t i = 0; i < numTiles; i += step) {
    const int64_t inPart = (w.paired ? (tile + i) / 2 : tile + i) * lanesPerTile;
    const int64_t col = w.paired && (tile + i) % 2 == 1 ? inPart + partRows : inPart;
    const int64_t count = partRows - inPart < lanesPerTile ? partRows - inPart : lanesPerTile;
    V16 y = withBias(epilogue, block + 16 * i, col, count);
    if (epilogue.residual != nullptr) {
      y = add(y, loadFirst(epilogue.residual + row * epilogue.outStride + col, count));
    }
    if (epilogue.gate != Gate::None) {
      const V16 second = withBias(epilogue, block + 16 * (i + 1), col + partRows, count);
      y = mul(epilogue.gate == Gate::Silu ? silu(y) : geluTanh(y), second);
    }
    storeFirst(out + col, y, count);
  }
}

/** Bytes of weights in flight that cover the latency of memory at its full rate. */
constexpr int64_t streamAheadBytes = 2048;

/** How a linear is cut: `unitTiles` tiles of weights by blocks of rows. */
struct Cut {
  const TileFunction* functions;
  /** How far ahead of its first tile a block of rows begins to prefetch, by how much the next block's begins later,
      and how fast it goes on. */
  int64_t aheadBytes;
  int64_t aheadBlockBytes;
  int64_t aheadStep;
  int64_t kernelTiles;
  int64_t unitTiles;
  int64_t numUnits;
  int64_t numRowBlocks;
  /** Shape of a task in units and row blocks. */
  int64_t taskUnits;
  int64_t taskBlocks;
};

Cut cutLinear(const PackedMatrix& w, const TileFamily& family, int64_t rows, int threads) {
  Cut cut;
  const bool isSmall = rows <= family.smallRows;
  cut.functions = isSmall ? family.small : family.large;
  cut.kernelTiles = isSmall ? family.smallTiles : family.largeTiles;
  cut.unitTiles = w.paired && cut.kernelTiles < 2 ? 2 : cut.kernelTiles;
  cut.numUnits = (w.numTiles + cut.unitTiles - 1) / cut.unitTiles;
  cut.numRowBlocks = isSmall ? 1 : (rows + family.largeRows - 1) / family.largeRows;
  // A few rows read straight on; more rows make several passes over a unit, each with its share of the next one.
  const int64_t unitBytes = cut.unitTiles * w.tileBytes;
  cut.aheadBytes = isSmall ? streamAheadBytes : unitBytes;
  cut.aheadBlockBytes = unitBytes / cut.numRowBlocks;
  cut.aheadStep = cut.kernelTiles * w.tileBytes / cut.numRowBlocks * 8 / w.cols;
  cut.taskBlocks = cut.numRowBlocks;
  cut.taskUnits = cut.numUnits;
  if (threads == 1) return cut;
  // About four tasks a thread: few enough for long runs of memory, enough to even out the end.
  const int64_t tasks = 4 * static_cast<int64_t>(threads);
  cut.taskUnits = cut.numUnits < tasks ? 1 : cut.numUnits / tasks;
  if (cut.numUnits < tasks / 2) {
    const int64_t rowTasks = tasks / (cut.numUnits > 0 ? cut.numUnits : 1);
    cut.taskBlocks = cut.numRowBlocks < rowTasks ? 1 : (cut.numRowBlocks + rowTasks - 1) / rowTasks;
  }
  return cut;
}

void runBlock(const PackedMatrix& w, const Activations& x, const Epilogue& epilogue, const Cut& cut, int64_t unit,
              int64_t block) {
  alignas(64) float results[maxTileRows * maxTiles * lanesPerTile];
  const int64_t outStride = cut.unitTiles * lanesPerTile;
  const int64_t row = x.rows * block / cut.numRowBlocks;
  const int64_t numRows = x.rows * (block + 1) / cut.numRowBlocks - row;
  const int64_t tile = unit * cut.unitTiles;
  const int64_t numTiles = w.numTiles - tile < cut.unitTiles ? w.numTiles - tile : cut.unitTiles;
  for (int64_t i = 0; i < numTiles; i += cut.kernelTiles) {
    const uint8_t* next = w.tileCodes(tile) + cut.aheadBytes + cut.aheadBlockBytes * block;
    const Ahead ahead{next + i * w.tileBytes / cut.numRowBlocks, cut.aheadStep};
    cut.functions[numRows]({w, x, row, tile + i, numTiles - i, results + i * lanesPerTile, outStride, ahead});
  }
  for (int64_t r = 0; r < numRows; ++r) {
    finishRow(w, epilogue, results + r * outStride, row + r, tile, numTiles);
  }
}

void runLinear(const PackedLinear& weight, const Activations& x, float* out, int64_t outStride, const float* bias,
               const float* residual, Gate gate, ThreadPool& pool) {
  const PackedMatrix& w = static_cast<const PackedMatrix&>(weight);
  if (x.rows == 0 || w.rows == 0) return;
  const bool codes = x.form == Form::Int8Token || x.form == Form::Int8Block32;
  const Cut cut = cutLinear(w, codes ? integerFamily(w) : floatFamily(w), x.rows, pool.size());
  const Epilogue epilogue{out, outStride, bias, residual, gate};
  const int64_t unitTasks = (cut.numUnits + cut.taskUnits - 1) / cut.taskUnits;
  const int64_t rowTasks = (cut.numRowBlocks + cut.taskBlocks - 1) / cut.taskBlocks;
  pool.parallelFor(unitTasks * rowTasks, [&](int64_t task, int) {
    const int64_t unitStart = task / rowTasks * cut.taskUnits;
    const int64_t blockStart = task % rowTasks * cut.taskBlocks;
    const int64_t unitEnd = unitStart + cut.taskUnits < cut.numUnits ? unitStart + cut.taskUnits : cut.numUnits;
    const int64_t blockEnd =
        blockStart + cut.taskBlocks < cut.numRowBlocks ? blockStart + cut.taskBlocks : cut.numRowBlocks;
    // Weights outside, rows inside: a unit's weights stay in the cache while all rows pass.
    for (int64_t unit = unitStart; unit < unitEnd; ++unit) {
      for (int64_t block = blockStart; block < blockEnd; ++block) runBlock(w, x, epilogue, cut, unit, block);
    }
  });
}

/** Codes of columns [start, end) under one scale, half to even of x / scale, and their running sums. */
float quantizeSpan(const float* x, int64_t start, int64_t end, int8_t* codes, int32_t* sums) {
  V16 largest = zero();
  for (int64_t col = start; col < end; col += 16) {
    const V16 v = loadFirst(x + col, end - col);
    largest = max(largest, max(v, sub(zero(), v)));
  }
  const float scale = reduceMax(largest) / 127.0f;
  // Below the normal numbers a scale would be flushed to zero on some threads' settings and not on others.
  const bool isZero = scale < FLT_MIN;
  const V16 divisor = splat(isZero ? 1.0f : scale);
  for (int64_t col = start; col < end; col += 16) {
    const V16 v = isZero ? zero() : loadFirst(x + col, end - col);
    sums[col / 16 + 1] = sums[col / 16] + storeCodes(codes + col, roundToEven(div(v, divisor)));
  }
  return isZero ? 0.0f : scale;
}

void quantizeCodes(const float* x, int64_t cols, const Activations& to, int64_t row) {
  int8_t* codes = static_cast<int8_t*>(to.data) + row * to.rowStride;
  float* scales = to.scales + row * scalesPerRow(to.form, cols);
  int32_t* sums = to.sums + row * sumsPerRow(to.form, cols);
  sums[0] = 0;
  const int64_t width = to.form == Form::Int8Token ? cols : 32;
  for (int64_t start = 0; start < cols; start += width) {
    const int64_t end = start + width < cols ? start + width : cols;
    *scales++ = quantizeSpan(x, start, end, codes, sums);
  }
  const int64_t written = roundUp(cols, 16);
  std::memset(codes + written, 0, static_cast<size_t>(to.rowStride - written));
  const int64_t last = sumsPerRow(to.form, cols) - 1;
  if (written / 16 < last) sums[last] = sums[last - 1];
}

void quantizeRow(const float* x, int64_t cols, Activations& to, int64_t row) {
  if (to.form == Form::F32) {
    std::memcpy(static_cast<float*>(to.data) + row * to.rowStride, x, static_cast<size_t>(cols) * 4);
    return;
  }
  if (to.form != Form::BF16) return quantizeCodes(x, cols, to, row);
  uint16_t* halves = static_cast<uint16_t*>(to.data) + row * to.rowStride;
  for (int64_t col = 0; col < to.rowStride; col += 16) {
    storeBf16(halves + col, col < cols ? loadFirst(x + col, cols - col) : zero());
  }
}

}  // namespace

}  // namespace millrace::MILLRACE_ISA
