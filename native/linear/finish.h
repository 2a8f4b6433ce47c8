// What becomes of the sums of a row: bias, residual or gate, and the form of the result. Compiled once per instruction
// set.
#pragma once

#include <cfloat>

#include "linear/tile_family.h"
#include "vector/gates.h"

namespace millrace::MILLRACE_ISA {

inline V16 withBias(const LinearOutput& output, const float* block, int64_t col, int64_t count) {
  const V16 y = load(block);
  return output.bias == nullptr ? y : add(y, loadFirst(output.bias + col, count));
}

/** The gate of the sums of one tile and of its partner, with their biases. */
inline V16 gated(const PackedMatrix& w, const LinearOutput& output, const float* block, int64_t col, int64_t count) {
  const V16 first = withBias(output, block, col, count);
  const V16 second = withBias(output, block + lanesPerTile, col + w.partRows(), count);
  return mul(output.gate == Gate::Silu ? silu(first) : geluTanh(first), second);
}

/** Outputs from here on leave the near caches before the next operation reads them. */
constexpr int64_t streamedBytes = 1 << 20;

/** Whether results go past the caches. A plain store fetches its line first; where all rows and columns of an output
    exceed the caches, that took up to half of the time of a linear. */
inline bool isStreamed(const LinearOutput& output) {
  const Activations& to = output.to;
  const bool isAligned = to.rowStride % lanesPerTile == 0 && reinterpret_cast<uintptr_t>(to.data) % 64 == 0;
  return to.form == Form::F32 && output.residual == nullptr && isAligned && to.rows * to.rowStride * 4 > streamedBytes;
}

/** One row of a block of tiles, from `tile` on, to memory. */
template <bool streamed>
void finishRow(const PackedMatrix& w, const LinearOutput& output, const float* block, int64_t row, int64_t tile,
               int64_t numTiles) {
  const auto put = [](float* to, V16 y, int64_t count) {
    if (streamed && count == lanesPerTile) storeStreaming(to, y);
    else storeFirst(to, y, count);
  };
  float* out = static_cast<float*>(output.to.data) + row * output.to.rowStride;
  const int64_t partRows = w.partRows();
  const int64_t step = output.gate == Gate::None ? 1 : 2;
  for (int64_t i = 0; i < numTiles; i += step) {
    const int64_t inPart = (w.paired ? (tile + i) / 2 : tile + i) * lanesPerTile;
    const int64_t col = w.paired && (tile + i) % 2 == 1 ? inPart + partRows : inPart;
    const int64_t count = partRows - inPart < lanesPerTile ? partRows - inPart : lanesPerTile;
    const float* sums = block + lanesPerTile * i;
    if (output.gate != Gate::None) {
      put(out + col, gated(w, output, sums, col, count), count);
      continue;
    }
    V16 y = withBias(output, sums, col, count);
    if (output.residual != nullptr) y = add(y, loadFirst(output.residual + row * output.to.rowStride + col, count));
    put(out + col, y, count);
  }
}

/** Largest magnitude of the lanes of `v`, or of `before`. */
inline V16 largerOf(V16 before, V16 v) { return max(before, max(v, sub(zero(), v))); }

/** Scale of codes whose largest magnitude is `largest`. Below the normal numbers a scale would be flushed to zero on
    some threads' settings and not on others, so that it is 0, and so are the codes. */
inline float scaleOfLargest(float largest) {
  const float scale = largest / 127.0f;
  return scale < FLT_MIN ? 0.0f : scale;
}

/** Half to even of v / scale; returns the sum of the codes. */
inline int32_t storeScaled(int8_t* codes, V16 v, float scale) {
  return storeCodes(codes, scale == 0 ? zero() : roundToEven(div(v, splat(scale))));
}

/** Writes block `block` of a row in the form Int8Block32. */
inline void quantizeBlock(V16 first, V16 second, const Activations& to, int64_t row, int64_t block) {
  int8_t* codes = static_cast<int8_t*>(to.data) + row * to.rowStride + block * 32;
  const int64_t side = row * to.sideStride + block;
  const float scale = scaleOfLargest(reduceMax(largerOf(largerOf(zero(), first), second)));
  to.scales[side] = scale;
  to.halfSums[side] = storeScaled(codes, first, scale);
  to.sums[side] = to.halfSums[side] + storeScaled(codes + 16, second, scale);
  to.scaledSums[side] = static_cast<float>(to.sums[side]) * scale;
}

/** Two pairs of tiles of one row, as one block of codes. */
inline void finishBlocks(const PackedMatrix& w, const LinearOutput& output, const float* block, int64_t row,
                         int64_t tile, int64_t numTiles) {
  for (int64_t i = 0; i < numTiles; i += 4) {
    const int64_t col = (tile + i) / 2 * lanesPerTile;
    const float* sums = block + lanesPerTile * i;
    const V16 first = gated(w, output, sums, col, lanesPerTile);
    const V16 second = gated(w, output, sums + 2 * lanesPerTile, col + lanesPerTile, lanesPerTile);
    quantizeBlock(first, second, output.to, row, col / 32);
  }
  if (tile + numTiles < w.numTiles) return;
  int8_t* codes = static_cast<int8_t*>(output.to.data) + row * output.to.rowStride;
  std::memset(codes + w.partRows(), 0, static_cast<size_t>(output.to.rowStride - w.partRows()));
}

/** Sums [numTiles * 16] of one row, from `tile` on, to memory in the form of the output. */
inline void finishTiles(const PackedMatrix& w, const LinearOutput& output, bool streamed, const float* sums, int64_t row,
                        int64_t tile, int64_t numTiles) {
  if (output.to.form != Form::F32) finishBlocks(w, output, sums, row, tile, numTiles);
  else if (streamed) finishRow<true>(w, output, sums, row, tile, numTiles);
  else finishRow<false>(w, output, sums, row, tile, numTiles);
}

/** Tiles that a form of the output takes side by side. */
inline int64_t tilesTogether(const PackedMatrix& w, const LinearOutput& output) {
  return output.to.form != Form::F32 ? 4 : w.paired ? 2 : 1;
}

}  // namespace millrace::MILLRACE_ISA
