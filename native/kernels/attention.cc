// Attention of one tile of queries over one fixed partition of the KV range.
//
// Bits of a row never depend on the other rows of its tile: q.k adds over dimensions in order, p.v adds over
// positions in order, the row maximum is exact, and masked positions contribute exact zeros.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/rows.h"
#include "vector/v16.h"

namespace millrace::MILLRACE_ISA {

namespace {

constexpr float minusInfinity = -std::numeric_limits<float>::infinity();

// Rows held in registers at a time; 32 vector registers against 16 of half the width.
#if defined(__AVX512F__)
constexpr int scoreRows = 8;
constexpr int outputRows = 6;
constexpr int outputVectors = 4;
#else
constexpr int scoreRows = 2;
constexpr int outputRows = 2;
constexpr int outputVectors = 2;
#endif

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

int64_t lowestVisible(const AttentionJob& job, int64_t token) {
  const int64_t oldest = job.positions[token] + 1 - job.slidingWindow;
  return job.slidingWindow > 0 ? std::max<int64_t>(oldest, 0) : 0;
}

Range rangeOf(const AttentionJob& job, const AttentionTile& tile, int64_t partition) {
  const int64_t span = job.partitionBlocks * job.kv.blockSize;
  const int64_t start = partition * span;
  const int64_t last = tile.firstToken + tile.numQueries - 1;
  const int64_t from = std::max<int64_t>(lowestVisible(job, tile.firstToken) - start, 0);
  const int64_t to = std::min<int64_t>(job.ends[last] - start, span);
  return {start, from, to, partition * job.partitionBlocks};
}

/** scores[r][16 v ..] = q[r] . k for `rows` rows and `vectors` vectors of tokens of one block. */
template <KvDtype dtype, int rows, int vectors>
MILLRACE_INLINE void scoreBlock(const float* q, int64_t headDim, const typename Cache<dtype>::Element* k,
                                int64_t tokenStride, float* scores, int64_t scoreStride) {
  V16 sums[rows][vectors];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) sums[r][v] = zero();
  for (int64_t d = 0; d < headDim; ++d) {
    V16 keys[vectors];
    for (int v = 0; v < vectors; ++v) keys[v] = Cache<dtype>::lanes(k + d * tokenStride + 16 * v);
    for (int r = 0; r < rows; ++r) {
      const V16 query = splat(q[r * headDim + d]);
      for (int v = 0; v < vectors; ++v) sums[r][v] = fma(query, keys[v], sums[r][v]);
    }
  }
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) store(scores + r * scoreStride + 16 * v, sums[r][v]);
}

/** As above for a number of rows known at run time, at most scoreRows. */
template <KvDtype dtype, int vectors, int rows = scoreRows>
void scoreSomeRows(int64_t count, const float* q, int64_t headDim, const typename Cache<dtype>::Element* k,
                   int64_t tokenStride, float* scores, int64_t scoreStride) {
  if (count == rows) return scoreBlock<dtype, rows, vectors>(q, headDim, k, tokenStride, scores, scoreStride);
  if constexpr (rows > 1) {
    scoreSomeRows<dtype, vectors, rows - 1>(count, q, headDim, k, tokenStride, scores, scoreStride);
  }
}

/** Asks for memory that is read soon; the hardware's own prefetch stops at the end of each 4 KiB tile. */
void prefetch(const void* from, int64_t bytes) {
  const char* lines = static_cast<const char*>(from);
  for (int64_t i = 0; i < bytes; i += 64) _mm_prefetch(lines + i, _MM_HINT_T1);
}

void prefetchScales(const KvLayer& kv, const float* scales, int64_t slab) {
  prefetch(scales + slab * kv.tokenStride, kv.tokenStride * static_cast<int64_t>(sizeof(float)));
}

/** Multiplies rows of a block's columns by the scales of its tokens. */
void scaleColumns(const float* scales, int64_t tokenStride, float* columns, int64_t rows, int64_t rowStride) {
  for (int64_t v = 0; v < tokenStride; v += 16) {
    const V16 scale = load(scales + v);
    for (int64_t row = 0; row < rows; ++row) {
      float* place = columns + row * rowStride + v;
      store(place, mul(load(place), scale));
    }
  }
}

template <KvDtype dtype>
void scorePartition(const AttentionJob& job, const AttentionTile& tile, const Range& range, int64_t rows,
                    const AttentionScratch& scratch, int64_t scoreStride) {
  using Element = typename Cache<dtype>::Element;
  const KvLayer& kv = job.kv;
  for (int64_t b = range.from / kv.blockSize; b * kv.blockSize < range.to; ++b) {
    const int64_t slab = tile.blockTable[range.firstBlock + b] * kv.numKvHeads + tile.kvHead;
    const Element* keys = reinterpret_cast<const Element*>(kv.k) + slab * kv.headDim * kv.tokenStride;
    const int64_t keyBytes = kv.headDim * kv.tokenStride * static_cast<int64_t>(sizeof(Element));
    const int64_t valueBytes = kv.blockSize * kv.dimStride * static_cast<int64_t>(sizeof(Element));
    prefetch(kv.v + slab * valueBytes, valueBytes);
    if constexpr (dtype == KvDtype::INT8) prefetchScales(kv, kv.vScales, slab);
    if ((b + 1) * kv.blockSize < range.to) {
      const int64_t next = tile.blockTable[range.firstBlock + b + 1] * kv.numKvHeads + tile.kvHead;
      prefetch(kv.k + next * keyBytes, keyBytes);
      if constexpr (dtype == KvDtype::INT8) prefetchScales(kv, kv.kScales, next);
    }
    for (int64_t row = 0; row < rows; row += scoreRows) {
      const int64_t count = std::min<int64_t>(scoreRows, rows - row);
      const float* q = scratch.queries + row * kv.headDim;
      float* scores = scratch.scores + row * scoreStride + b * kv.tokenStride;
      int64_t v = 0;
      for (; v + 32 <= kv.tokenStride; v += 32) {
        scoreSomeRows<dtype, 2>(count, q, kv.headDim, keys + v, kv.tokenStride, scores + v, scoreStride);
      }
      if (v < kv.tokenStride) {
        scoreSomeRows<dtype, 1>(count, q, kv.headDim, keys + v, kv.tokenStride, scores + v, scoreStride);
      }
    }
    if constexpr (dtype == KvDtype::INT8) {
      float* columns = scratch.scores + b * kv.tokenStride;
      scaleColumns(kv.kScales + slab * kv.tokenStride, kv.tokenStride, columns, rows, scoreStride);
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
void softmaxRow(const AttentionJob& job, const Range& range, int64_t low, int64_t high, float* scores, float& maximum,
                float& sum) {
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
void scaleWeights(const AttentionTile& tile, const KvLayer& kv, const Range& range, float* scores, int64_t rows,
                  int64_t scoreStride) {
  for (int64_t b = range.from / kv.blockSize; b * kv.blockSize < range.to; ++b) {
    const int64_t slab = tile.blockTable[range.firstBlock + b] * kv.numKvHeads + tile.kvHead;
    float* columns = scores + b * kv.tokenStride;
    scaleColumns(kv.vScales + slab * kv.tokenStride, kv.tokenStride, columns, rows, scoreStride);
  }
}

template <KvDtype dtype, int rows, int vectors>
MILLRACE_INLINE void outputRowsOf(const AttentionJob& job, const AttentionTile& tile, const Range& range,
                                  const float* scores, int64_t scoreStride, int64_t dim, float* out) {
  using Element = typename Cache<dtype>::Element;
  const KvLayer& kv = job.kv;
  V16 sums[rows][vectors];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) sums[r][v] = zero();
  for (int64_t b = range.from / kv.blockSize; b * kv.blockSize < range.to; ++b) {
    const int64_t slab = tile.blockTable[range.firstBlock + b] * kv.numKvHeads + tile.kvHead;
    const Element* values = reinterpret_cast<const Element*>(kv.v) + slab * kv.blockSize * kv.dimStride + dim;
    const int64_t first = std::max<int64_t>(range.from - b * kv.blockSize, 0);
    const int64_t end = std::min(range.to - b * kv.blockSize, kv.blockSize);
    for (int64_t t = first; t < end; ++t) {
      V16 lanes[vectors];
      for (int v = 0; v < vectors; ++v) lanes[v] = Cache<dtype>::lanes(values + t * kv.dimStride + 16 * v);
      const float* p = scores + b * kv.tokenStride + t;
      for (int r = 0; r < rows; ++r) {
        const V16 weight = splat(p[r * scoreStride]);
        for (int v = 0; v < vectors; ++v) sums[r][v] = fma(weight, lanes[v], sums[r][v]);
      }
    }
  }
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) store(out + r * kv.dimStride + dim + 16 * v, sums[r][v]);
}

template <KvDtype dtype, int vectors, int rows = outputRows>
void outputSomeRows(int64_t count, const AttentionJob& job, const AttentionTile& tile, const Range& range,
                    const float* scores, int64_t scoreStride, int64_t dim, float* out) {
  if (count == rows) return outputRowsOf<dtype, rows, vectors>(job, tile, range, scores, scoreStride, dim, out);
  if constexpr (rows > 1) {
    outputSomeRows<dtype, vectors, rows - 1>(count, job, tile, range, scores, scoreStride, dim, out);
  }
}

template <KvDtype dtype>
void weighValues(const AttentionJob& job, const AttentionTile& tile, const Range& range, int64_t rows,
                 const AttentionScratch& scratch, int64_t scoreStride, float* outputs) {
  const int64_t dimStride = job.kv.dimStride;
  for (int64_t row = 0; row < rows; row += outputRows) {
    const int64_t count = std::min<int64_t>(outputRows, rows - row);
    const float* scores = scratch.scores + row * scoreStride;
    float* out = outputs + row * dimStride;
    int64_t dim = 0;
    for (; dim + 16 * outputVectors <= dimStride; dim += 16 * outputVectors) {
      outputSomeRows<dtype, outputVectors>(count, job, tile, range, scores, scoreStride, dim, out);
    }
    for (; dim < dimStride; dim += 16) outputSomeRows<dtype, 1>(count, job, tile, range, scores, scoreStride, dim, out);
  }
}

template <KvDtype dtype>
void attendAs(const AttentionJob& job, const AttentionTile& tile, int64_t partition, const AttentionScratch& scratch,
              const AttentionState& state) {
  const Range range = rangeOf(job, tile, partition);
  const int64_t group = job.numHeads / job.kv.numKvHeads;
  const int64_t rows = tile.numQueries * group;
  const int64_t scoreStride = job.partitionColumns + 16;
  scorePartition<dtype>(job, tile, range, rows, scratch, scoreStride);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t token = tile.firstToken + row / group;
    const int64_t low = lowestVisible(job, token) - range.start;
    const int64_t high = job.ends[token] - range.start;
    softmaxRow(job, range, low, high, scratch.scores + row * scoreStride, state.maxima[row], state.sums[row]);
  }
  if constexpr (dtype == KvDtype::INT8) scaleWeights(tile, job.kv, range, scratch.scores, rows, scoreStride);
  weighValues<dtype>(job, tile, range, rows, scratch, scoreStride, state.outputs);
}

float expOf(float x) {
  float lanes[16];
  store(lanes, exp(splat(x)));
  return lanes[0];
}

}  // namespace

void loadQueries(const AttentionJob& job, const AttentionTile& tile, const AttentionScratch& scratch) {
  const int64_t headDim = job.kv.headDim;
  const int64_t group = job.numHeads / job.kv.numKvHeads;
  const int64_t width = group * headDim;
  for (int64_t query = 0; query < tile.numQueries; ++query) {
    const float* from = job.qkv + (tile.firstToken + query) * job.qkvStride + tile.kvHead * width;
    for (int64_t i = 0; i < width; ++i) scratch.queries[query * width + i] = from[i] * job.scale;
  }
}

void attendPartition(const AttentionJob& job, const AttentionTile& tile, int64_t partition,
                     const AttentionScratch& scratch, const AttentionState& state) {
  switch (job.kv.dtype) {
    case KvDtype::F32: return attendAs<KvDtype::F32>(job, tile, partition, scratch, state);
    case KvDtype::F16: return attendAs<KvDtype::F16>(job, tile, partition, scratch, state);
    case KvDtype::BF16: return attendAs<KvDtype::BF16>(job, tile, partition, scratch, state);
    case KvDtype::INT8: return attendAs<KvDtype::INT8>(job, tile, partition, scratch, state);
  }
}

void mergePartition(const AttentionState& into, const AttentionState& next, int64_t rows, int64_t dimStride) {
  for (int64_t row = 0; row < rows; ++row) {
    float* out = into.outputs + row * dimStride;
    const float* add16 = next.outputs + row * dimStride;
    if (next.maxima[row] == minusInfinity) continue;
    if (into.maxima[row] == minusInfinity) {
      into.maxima[row] = next.maxima[row];
      into.sums[row] = next.sums[row];
      std::copy(add16, add16 + dimStride, out);
      continue;
    }
    const float top = std::max(into.maxima[row], next.maxima[row]);
    const float before = expOf(into.maxima[row] - top);
    const float after = expOf(next.maxima[row] - top);
    into.maxima[row] = top;
    into.sums[row] = into.sums[row] * before + next.sums[row] * after;
    for (int64_t d = 0; d < dimStride; d += 16) {
      store(out + d, fma(load(add16 + d), splat(after), mul(load(out + d), splat(before))));
    }
  }
}

void storeOutputs(const AttentionJob& job, const AttentionTile& tile, const AttentionState& state) {
  const int64_t headDim = job.kv.headDim;
  const int64_t group = job.numHeads / job.kv.numKvHeads;
  for (int64_t row = 0; row < tile.numQueries * group; ++row) {
    const int64_t token = tile.firstToken + row / group;
    const int64_t head = tile.kvHead * group + row % group;
    float* out = job.out + token * job.outStride + head * headDim;
    const float* from = state.outputs + row * job.kv.dimStride;
    const V16 sum = splat(state.sums[row]);
    for (int64_t d = 0; d < headDim; d += 16) storeFirst(out + d, div(load(from + d), sum), headDim - d);
  }
}

}  // namespace millrace::MILLRACE_ISA
