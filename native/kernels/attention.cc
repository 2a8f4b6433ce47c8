// Attention of one tile of queries over one fixed partition of the KV range.
//
// Bits of a row never depend on the other rows of its tile: q.k adds over dimensions in order, p.v adds over
// positions in order, the row maximum is exact, and masked positions contribute exact zeros.
#include <algorithm>

#include "kernels/attention_rows.h"

namespace millrace::MILLRACE_ISA {

namespace {

// Rows held in registers at a time, and vectors beside each: `few` rows read the cache as it is, more rows read a block
// that was widened to f32 once. 32 vector registers against 16 of half the width.
#if defined(__AVX512F__)
constexpr int fewRows = 8;
constexpr int manyRows = 8;
constexpr int vectorsBeside(int rows) { return rows <= 6 ? 4 : 2; }
#else
constexpr int fewRows = 4;
constexpr int manyRows = 6;
constexpr int vectorsBeside(int rows) { return rows <= 1 ? 4 : rows <= 3 ? 2 : 1; }
#endif

/** A matrix of vectors of one block: K [headDim][tokens], or V [tokens][dims]. */
template <KvDtype dtype>
struct BlockMatrix {
  const typename Cache<dtype>::Element* data;
  int64_t stride;
};

/** Memory that is read soon: asked for line by line between products, as many at once would hold up the reads of now. */
struct Ahead {
  const char* first;
  const char* second;
  /** Bytes from one question to the next; 0 for none. */
  int64_t step;

  MILLRACE_INLINE void ask(int64_t i) const {
    _mm_prefetch(first + i * step, _MM_HINT_T0);
    _mm_prefetch(second + i * step, _MM_HINT_T0);
  }
};

/** out[r][16 v ..] += sum over i of x[r][i] * matrix[i][16 v ..], for i in order. */
template <KvDtype dtype, int rows, int vectors, bool asks>
MILLRACE_INLINE void addProducts(const float* x, int64_t xStride, int64_t count, BlockMatrix<dtype> matrix,
                                 int64_t column, float* out, int64_t outStride, [[maybe_unused]] Ahead ahead) {
  V16 sums[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sums[r][v] = load(out + r * outStride + column + 16 * v);
  for (int64_t i = 0; i < count; ++i) {
    const auto* from = matrix.data + i * matrix.stride + column;
    if constexpr (asks) ahead.ask(i);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      const V16 lanes = Cache<dtype>::lanes(from + 16 * v);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) sums[r][v] = fma(splat(x[r * xStride + i]), lanes, sums[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) store(out + r * outStride + column + 16 * v, sums[r][v]);
}

/** All `columns` columns of `rows` rows, as many vectors at a time as there are registers for. */
template <KvDtype dtype, int rows, bool asks, int vectors = vectorsBeside(rows)>
MILLRACE_INLINE void addColumns(const float* x, int64_t xStride, int64_t count, BlockMatrix<dtype> matrix,
                                int64_t columns, int64_t from, float* out, int64_t outStride, Ahead ahead) {
  int64_t column = from;
  if (asks && column + 16 * vectors <= columns) {
    addProducts<dtype, rows, vectors, true>(x, xStride, count, matrix, column, out, outStride, ahead);
    column += 16 * vectors;
  }
  for (; column + 16 * vectors <= columns; column += 16 * vectors) {
    addProducts<dtype, rows, vectors, false>(x, xStride, count, matrix, column, out, outStride, ahead);
  }
  if constexpr (vectors > 1) {
    addColumns<dtype, rows, false, vectors / 2>(x, xStride, count, matrix, columns, column, out, outStride, ahead);
  }
}

template <KvDtype dtype, int most, bool asks>
void addSomeRows(int64_t rows, const float* x, int64_t xStride, int64_t count, BlockMatrix<dtype> matrix,
                 int64_t columns, float* out, int64_t outStride, Ahead ahead) {
  if (rows == most) return addColumns<dtype, most, asks>(x, xStride, count, matrix, columns, 0, out, outStride, ahead);
  if constexpr (most > 1) {
    addSomeRows<dtype, most - 1, asks>(rows, x, xStride, count, matrix, columns, out, outStride, ahead);
  }
}

/** out[rows][columns] += x[rows][count] . matrix[count][columns]. `room` holds a block as f32. */
template <KvDtype dtype, bool asks>
void addBlock(int64_t rows, const float* x, int64_t xStride, int64_t count, BlockMatrix<dtype> matrix,
              int64_t columns, float* out, int64_t outStride, float* room, Ahead ahead) {
  if (rows <= fewRows) {
    return addSomeRows<dtype, fewRows, asks>(rows, x, xStride, count, matrix, columns, out, outStride, ahead);
  }
  BlockMatrix<KvDtype::F32> wide{room, matrix.stride};
  if constexpr (dtype == KvDtype::F32) {
    wide.data = matrix.data;
  } else {
    for (int64_t i = 0; i < count; ++i) {
      if constexpr (asks) ahead.ask(i);
      const int64_t start = i * matrix.stride;
      for (int64_t c = 0; c < matrix.stride; c += 16) store(room + start + c, Cache<dtype>::lanes(matrix.data + start + c));
    }
  }
  // Evenly, so that no block is left with few rows.
  const int64_t parts = (rows + manyRows - 1) / manyRows;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t row = rows * part / parts;
    const int64_t end = rows * (part + 1) / parts;
    addSomeRows<KvDtype::F32, manyRows, false>(end - row, x + row * xStride, xStride, count, wide, columns,
                                               out + row * outStride, outStride, ahead);
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
    const int64_t next = (b + 1) * kv.blockSize < range.to ? b + 1 : b;
    const int64_t nextSlab = tile.blockTable[range.firstBlock + next] * kv.numKvHeads + tile.kvHead;
    const int64_t valueBytes = kv.blockSize * kv.dimStride * static_cast<int64_t>(sizeof(Element));
    const Ahead ahead{reinterpret_cast<const char*>(kv.k + nextSlab * keyBytes),
                      reinterpret_cast<const char*>(kv.v + slab * valueBytes), keyBytes / kv.headDim};
    float* scores = scratch.scores + b * kv.tokenStride;
    clearRows(scores, rows, kv.tokenStride, scoreStride);
    addBlock<dtype, true>(rows, scratch.queries, kv.headDim, kv.headDim, {keys, kv.tokenStride}, kv.tokenStride, scores,
                          scoreStride, scratch.block, ahead);
    if constexpr (dtype == KvDtype::INT8) {
      scaleColumns(kv.kScales + slab * kv.tokenStride, kv.tokenStride, scores, rows, scoreStride);
    }
  }
}

template <KvDtype dtype>
void weighValues(const AttentionJob& job, const AttentionTile& tile, const Range& range, int64_t rows,
                 const AttentionScratch& scratch, int64_t scoreStride, float* outputs) {
  using Element = typename Cache<dtype>::Element;
  const KvLayer& kv = job.kv;
  clearRows(outputs, rows, kv.dimStride, kv.dimStride);
  for (int64_t b = range.from / kv.blockSize; b * kv.blockSize < range.to; ++b) {
    const int64_t slab = tile.blockTable[range.firstBlock + b] * kv.numKvHeads + tile.kvHead;
    const int64_t first = std::max<int64_t>(range.from - b * kv.blockSize, 0);
    const int64_t end = std::min(range.to - b * kv.blockSize, kv.blockSize);
    const Element* values = reinterpret_cast<const Element*>(kv.v) + (slab * kv.blockSize + first) * kv.dimStride;
    addBlock<dtype, false>(rows, scratch.scores + b * kv.tokenStride + first, scoreStride, end - first,
                           {values, kv.dimStride}, kv.dimStride, outputs, kv.dimStride, scratch.block, {});
  }
}

template <KvDtype dtype>
void attendAs(const AttentionJob& job, const AttentionTile& tile, int64_t partition, const AttentionScratch& scratch,
              const AttentionState& state) {
  const Range range = rangeOf(job, tile, partition);
  const int64_t rows = rowsOf(job, tile);
  const int64_t scoreStride = job.partitionColumns + 16;
  scorePartition<dtype>(job, tile, range, rows, scratch, scoreStride);
  weighTokens<dtype>(job, tile, range, rows, scratch.scores, scoreStride, state);
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
