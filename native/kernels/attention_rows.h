// What attention does to the rows of a tile apart from its two products: which positions each sees, softmax, and the
// scales of int8 tokens.
#pragma once

#include <algorithm>
#include <limits>

#include "kernels/rows.h"
#include "vector/v16.h"

namespace millrace::MILLRACE_ISA {

constexpr float minusInfinity = -std::numeric_limits<float>::infinity();

template <KvDtype dtype>
struct Cache;
template <>
struct Cache<KvDtype::F32> {
  using Element = float;
  static MILLRACE_INLINE V16 lanes(const float* from) { return load(from); }
};
template <>
struct Cache<KvDtype::F16> {
  using Element = uint16_t;
  static MILLRACE_INLINE V16 lanes(const uint16_t* from) { return loadF16(from); }
};
template <>
struct Cache<KvDtype::BF16> {
  using Element = uint16_t;
  static MILLRACE_INLINE V16 lanes(const uint16_t* from) { return loadBf16(from); }
};
template <>
struct Cache<KvDtype::INT8> {
  using Element = int8_t;
  static MILLRACE_INLINE V16 lanes(const int8_t* from) { return loadI8(from); }
};

/** What a partition means for a tile. */
struct Range {
  /** First position of the partition. */
  int64_t start;
  /** Positions that some row of the tile may see, relative to `start`. */
  int64_t from;
  int64_t to;
  int64_t firstBlock;
};

inline int64_t lowestVisible(const AttentionJob& job, int64_t token) {
  const int64_t oldest = job.positions[token] + 1 - job.slidingWindow;
  return job.slidingWindow > 0 ? std::max<int64_t>(oldest, 0) : 0;
}

inline Range rangeOf(const AttentionJob& job, const AttentionTile& tile, int64_t partition) {
  const int64_t span = job.partitionBlocks * job.kv.blockSize;
  const int64_t start = partition * span;
  const int64_t last = tile.firstToken + tile.numQueries - 1;
  const int64_t from = std::max<int64_t>(lowestVisible(job, tile.firstToken) - start, 0);
  const int64_t to = std::min<int64_t>(job.ends[last] - start, span);
  return {start, from, to, partition * job.partitionBlocks};
}

inline int64_t rowsOf(const AttentionJob& job, const AttentionTile& tile) {
  return tile.numQueries * (job.numHeads / job.kv.numKvHeads);
}

inline void clearRows(float* rows, int64_t count, int64_t width, int64_t stride) {
  for (int64_t row = 0; row < count; ++row) std::fill_n(rows + row * stride, width, 0.0f);
}

/** Multiplies rows of a block's columns by the scales of its tokens. */
inline void scaleColumns(const float* scales, int64_t tokenStride, float* columns, int64_t rows, int64_t rowStride) {
  for (int64_t v = 0; v < tokenStride; v += 16) {
    const V16 scale = load(scales + v);
    for (int64_t row = 0; row < rows; ++row) {
      float* place = columns + row * rowStride + v;
      store(place, mul(load(place), scale));
    }
  }
}

/** Calls body(column, from, to) for each vector of scores of blocks in range: lanes [from, to) are visible. */
template <class Body>
MILLRACE_INLINE void eachVector(const KvLayer& kv, const Range& range, int64_t low, int64_t high, Body&& body) {
  for (int64_t b = range.from / kv.blockSize; b * kv.blockSize < range.to; ++b) {
    for (int64_t v = 0; v < kv.tokenStride; v += 16) {
      const int64_t position = b * kv.blockSize + v;
      const int64_t end = std::min(high, (b + 1) * kv.blockSize) - position;
      body(b * kv.tokenStride + v, static_cast<int>(std::clamp<int64_t>(low - position, 0, 16)),
           static_cast<int>(std::clamp<int64_t>(end, 0, 16)));
    }
  }
}

/** Turns a row's scores into e^(score - maximum), 0 where masked; `low` and `high` bound what it may see. */
inline void softmaxRow(const AttentionJob& job, const Range& range, int64_t low, int64_t high, float* scores,
                       float& maximum, float& sum) {
  V16 top = splat(minusInfinity);
  eachVector(job.kv, range, low, high, [&](int64_t column, int from, int to) {
    V16 s = load(scores + column);
    if (job.softCap > 0) s = mul(splat(job.softCap), tanh(div(s, splat(job.softCap))));
    if (from > 0 || to < 16) s = keepRange(s, from, to, splat(minusInfinity));
    store(scores + column, s);
    top = max(s, top);
  });
  maximum = reduceMax(top);
  const V16 shift = splat(maximum == minusInfinity ? 0.0f : maximum);
  V16 total = zero();
  eachVector(job.kv, range, low, high, [&](int64_t column, int, int) {
    const V16 p = exp(sub(load(scores + column), shift));
    store(scores + column, p);
    total = add(total, p);
  });
  sum = reduceAdd(total);
}

/** Takes the scales of V into the weights, so that p.v may add codes. */
inline void scaleWeights(const AttentionTile& tile, const KvLayer& kv, const Range& range, float* scores,
                         int64_t rows, int64_t scoreStride) {
  for (int64_t b = range.from / kv.blockSize; b * kv.blockSize < range.to; ++b) {
    const int64_t slab = tile.blockTable[range.firstBlock + b] * kv.numKvHeads + tile.kvHead;
    float* columns = scores + b * kv.tokenStride;
    scaleColumns(kv.vScales + slab * kv.tokenStride, kv.tokenStride, columns, rows, scoreStride);
  }
}

/**
 * Scores [rows, scoreStride] of a partition become e^(score - maximum) times the scale of the token's V, 0 where a row
 * does not see it; the state takes each row's maximum and its sum without these scales.
 */
template <KvDtype dtype>
inline void weighTokens(const AttentionJob& job, const AttentionTile& tile, const Range& range, int64_t rows,
                        float* scores, int64_t scoreStride, const AttentionState& state) {
  const int64_t group = job.numHeads / job.kv.numKvHeads;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t token = tile.firstToken + row / group;
    const int64_t low = lowestVisible(job, token) - range.start;
    const int64_t high = job.ends[token] - range.start;
    softmaxRow(job, range, low, high, scores + row * scoreStride, state.maxima[row], state.sums[row]);
  }
  if constexpr (dtype == KvDtype::INT8) scaleWeights(tile, job.kv, range, scores, rows, scoreStride);
}

}  // namespace millrace::MILLRACE_ISA
