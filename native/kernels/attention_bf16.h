// Attention with bf16 products: q, k, v and the weights of softmax are rounded to bf16 once, sums stay f32.
//
// The products come from a class, one for each kind of instruction, constructed for the rows of a tile:
//
//   explicit Products(int64_t rows);
//   /** Rows that `add` reads and writes: at least those of the tile, at most its rows rounded up to 16. */
//   int64_t paddedRows() const;
//   /** All rows from the operands' first on. */
//   void add(const Bf16Operands& job);
//
// Steps of zeros add nothing, and a row's sums do not depend on the other rows, so that the law of attention.cc holds.
#pragma once

#include "kernels/attention_rows.h"

namespace millrace::MILLRACE_ISA {

/** out[r][c] += sum over i < count of x[r][i] * pairs[i / 2][c][i % 2]; count is a multiple of bf16Step, columns of 16. */
struct Bf16Operands {
  const uint16_t* x;
  int64_t xStride;
  int64_t count;
  const uint16_t* pairs;
  int64_t columns;
  float* out;
  int64_t outStride;

  Bf16Operands fromRow(int64_t row) const {
    return {x + row * xStride, xStride, count, pairs, columns, out + row * outStride, outStride};
  }
};

/** Rows [0, count) of f32 to bf16, `width` columns each, and zeros up to `stride`. */
inline void roundRows(const float* from, int64_t fromStride, int64_t count, int64_t width, uint16_t* to,
                      int64_t stride) {
  for (int64_t row = 0; row < count; ++row) {
    for (int64_t c = 0; c < stride; c += 16) {
      storeBf16(to + row * stride + c, c < width ? loadFirst(from + row * fromStride + c, width - c) : zero());
    }
  }
}

/** Rows [first, end) of a block's matrix of `columns` columns as bf16 in pairs of rows; the others up to `count` are zero. */
template <KvDtype dtype>
void pairRows(const typename Cache<dtype>::Element* from, int64_t first, int64_t end, int64_t count, int64_t columns,
              uint16_t* pairs) {
  const auto lanesAt = [&](int64_t row, int64_t c) {
    return row >= first && row < end ? Cache<dtype>::lanes(from + row * columns + c) : zero();
  };
  for (int64_t row = 0; row < count; row += 2) {
    for (int64_t c = 0; c < columns; c += 16) {
      storeBf16Pairs(pairs + row * columns + 2 * c, lanesAt(row, c), lanesAt(row + 1, c));
    }
  }
}

template <KvDtype dtype, class Products>
void scoreInBf16(const AttentionJob& job, const AttentionTile& tile, const Range& range, Products& products,
                 const AttentionScratch& scratch, int64_t scoreStride) {
  using Element = typename Cache<dtype>::Element;
  const KvLayer& kv = job.kv;
  const int64_t rows = rowsOf(job, tile);
  const int64_t depth = roundUpToStep(kv.headDim);
  roundRows(scratch.queries, kv.headDim, rows, kv.headDim, scratch.rounded, depth);
  std::fill_n(scratch.rounded + rows * depth, (products.paddedRows() - rows) * depth, uint16_t{0});
  uint16_t* pairs = reinterpret_cast<uint16_t*>(scratch.block);
  for (int64_t b = range.from / kv.blockSize; b * kv.blockSize < range.to; ++b) {
    const int64_t slab = tile.blockTable[range.firstBlock + b] * kv.numKvHeads + tile.kvHead;
    const Element* keys = reinterpret_cast<const Element*>(kv.k) + slab * kv.headDim * kv.tokenStride;
    pairRows<dtype>(keys, 0, kv.headDim, depth, kv.tokenStride, pairs);
    float* scores = scratch.scores + b * kv.tokenStride;
    clearRows(scores, products.paddedRows(), kv.tokenStride, scoreStride);
    products.add({scratch.rounded, depth, depth, pairs, kv.tokenStride, scores, scoreStride});
    if constexpr (dtype == KvDtype::INT8) {
      scaleColumns(kv.kScales + slab * kv.tokenStride, kv.tokenStride, scores, rows, scoreStride);
    }
  }
}

template <KvDtype dtype, class Products>
void weighInBf16(const AttentionJob& job, const AttentionTile& tile, const Range& range, Products& products,
                 const AttentionScratch& scratch, int64_t scoreStride, float* outputs) {
  using Element = typename Cache<dtype>::Element;
  const KvLayer& kv = job.kv;
  const int64_t rows = rowsOf(job, tile);
  const int64_t depth = roundUpToStep(kv.blockSize);
  std::fill_n(scratch.rounded + rows * depth, (products.paddedRows() - rows) * depth, uint16_t{0});
  clearRows(outputs, products.paddedRows(), kv.dimStride, kv.dimStride);
  uint16_t* pairs = reinterpret_cast<uint16_t*>(scratch.block);
  for (int64_t b = range.from / kv.blockSize; b * kv.blockSize < range.to; ++b) {
    const int64_t slab = tile.blockTable[range.firstBlock + b] * kv.numKvHeads + tile.kvHead;
    // What lies outside the range may be anything, infinities too, which zero weights would not take away.
    const int64_t first = std::max<int64_t>(range.from - b * kv.blockSize, 0);
    const int64_t end = std::min(range.to - b * kv.blockSize, kv.blockSize);
    const Element* values = reinterpret_cast<const Element*>(kv.v) + slab * kv.blockSize * kv.dimStride;
    pairRows<dtype>(values, first, end, depth, kv.dimStride, pairs);
    roundRows(scratch.scores + b * kv.tokenStride, scoreStride, rows, kv.blockSize, scratch.rounded, depth);
    products.add({scratch.rounded, depth, depth, pairs, kv.dimStride, outputs, kv.dimStride});
  }
}

template <KvDtype dtype, class Products>
void attendInBf16As(const AttentionJob& job, const AttentionTile& tile, int64_t partition,
                    const AttentionScratch& scratch, const AttentionState& state) {
  const Range range = rangeOf(job, tile, partition);
  const int64_t rows = rowsOf(job, tile);
  const int64_t scoreStride = job.partitionColumns + 16;
  Products products(rows);
  scoreInBf16<dtype>(job, tile, range, products, scratch, scoreStride);
  weighTokens<dtype>(job, tile, range, rows, scratch.scores, scoreStride, state);
  weighInBf16<dtype>(job, tile, range, products, scratch, scoreStride, state.outputs);
}

template <class Products>
void attendInBf16(const AttentionJob& job, const AttentionTile& tile, int64_t partition,
                  const AttentionScratch& scratch, const AttentionState& state) {
  switch (job.kv.dtype) {
    case KvDtype::F32: return attendInBf16As<KvDtype::F32, Products>(job, tile, partition, scratch, state);
    case KvDtype::F16: return attendInBf16As<KvDtype::F16, Products>(job, tile, partition, scratch, state);
    case KvDtype::BF16: return attendInBf16As<KvDtype::BF16, Products>(job, tile, partition, scratch, state);
    case KvDtype::INT8: return attendInBf16As<KvDtype::INT8, Products>(job, tile, partition, scratch, state);
  }
}

}  // namespace millrace::MILLRACE_ISA
