// bf16 products of attention in vectors: the instruction for a pair of products, or the pair widened and multiplied twice.
#pragma once

#include "kernels/attention_bf16.h"

namespace millrace::MILLRACE_ISA {

#if defined(__AVX512F__)
constexpr int mostRows = 8;
constexpr int mostVectors = 2;
#else
constexpr int mostRows = 4;
constexpr int mostVectors = 1;
#endif

template <int rows, int vectors>
MILLRACE_INLINE void addPairs(const Bf16Operands& job, int64_t column) {
  V16 sums[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sums[r][v] = load(job.out + r * job.outStride + column + 16 * v);
  for (int64_t i = 0; i < job.count; i += 2) {
    Bf16Pairs pairs[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) pairs[v] = loadBf16Pairs(job.pairs + i * job.columns + 2 * (column + 16 * v));
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sums[r][v] = dotPairs(sums[r][v], pairs[v], job.x + r * job.xStride + i);
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) store(job.out + r * job.outStride + column + 16 * v, sums[r][v]);
}

template <int most>
void addSomeRows(int64_t rows, const Bf16Operands& job) {
  if (rows == most) {
    int64_t column = 0;
    for (; column + 16 * mostVectors <= job.columns; column += 16 * mostVectors) addPairs<most, mostVectors>(job, column);
    for (; column < job.columns; column += 16) addPairs<most, 1>(job, column);
    return;
  }
  if constexpr (most > 1) addSomeRows<most - 1>(rows, job);
}

class VectorProducts {
 public:
  explicit VectorProducts(int64_t rows) : rows_(rows) {}
  int64_t paddedRows() const { return rows_; }

  void add(const Bf16Operands& job) const {
    // Evenly, so that no block is left with few rows.
    const int64_t parts = (rows_ + mostRows - 1) / mostRows;
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t row = rows_ * part / parts;
      const int64_t end = rows_ * (part + 1) / parts;
      addSomeRows<mostRows>(end - row, job.fromRow(row));
    }
  }

 private:
  int64_t rows_;
};

}  // namespace millrace::MILLRACE_ISA
