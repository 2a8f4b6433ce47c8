// bf16 products of attention in tiles: two row blocks by two column tiles at a time.
#pragma once

#include "kernels/attention_bf16.h"
#include "x86/amx/tiles.h"

namespace millrace::MILLRACE_ISA {

class TileProducts {
 public:
  explicit TileProducts(int64_t rows)
      : blockRows_(rows < maxTileBlockRows ? rows : maxTileBlockRows), numBlocks_((rows + blockRows_ - 1) / blockRows_),
        tiles_(static_cast<int>(blockRows_), static_cast<int>(tileRowBytes)) {}
  int64_t paddedRows() const { return numBlocks_ * blockRows_; }

  void add(const Bf16Operands& all) {
    for (int64_t block = 0; block < numBlocks_; block += 2) {
      const Bf16Operands job = all.fromRow(block * blockRows_);
      if (block + 1 < numBlocks_) addColumns<2>(job);
      else addColumns<1>(job);
    }
  }

 private:
  template <int blocks>
  void addColumns(const Bf16Operands& job) {
    int64_t column = 0;
    for (; column + 32 <= job.columns; column += 32) addTile<blocks, 2>(job, column);
    if (column < job.columns) addTile<blocks, 1>(job, column);
  }

  /** Sums of row block r and column tile c are tile 2 r + c. */
  template <int blocks, int columnTiles>
  void addTile(const Bf16Operands& job, int64_t column) {
    eachSum<blocks, columnTiles>([&]<int r, int c>() { tiles_.load<2 * r + c>(sumsAt(job, column, r, c), job.outStride * 4); });
    for (int64_t i = 0; i < job.count; i += bf16Step) {
      tiles_.load<4>(job.x + i, job.xStride * 2);
      if constexpr (blocks > 1) tiles_.load<5>(job.x + blockRows_ * job.xStride + i, job.xStride * 2);
      const uint16_t* pairs = job.pairs + i * job.columns + 2 * column;
      tiles_.load<6>(pairs, job.columns * 4);
      if constexpr (columnTiles > 1) tiles_.load<7>(pairs + 32, job.columns * 4);
      eachSum<blocks, columnTiles>([&]<int r, int c>() { tiles_.dotBf16<2 * r + c, 4 + r, 6 + c>(); });
    }
    eachSum<blocks, columnTiles>([&]<int r, int c>() { tiles_.store<2 * r + c>(sumsAt(job, column, r, c), job.outStride * 4); });
  }

  float* sumsAt(const Bf16Operands& job, int64_t column, int r, int c) const {
    return job.out + r * blockRows_ * job.outStride + column + 16 * c;
  }

  template <int blocks, int columnTiles, class Body>
  MILLRACE_INLINE static void eachSum(Body&& body) {
    body.template operator()<0, 0>();
    if constexpr (columnTiles > 1) body.template operator()<0, 1>();
    if constexpr (blocks > 1) body.template operator()<1, 0>();
    if constexpr (blocks > 1 && columnTiles > 1) body.template operator()<1, 1>();
  }

  int64_t blockRows_;
  int64_t numBlocks_;
  Tiles tiles_;
};

}  // namespace millrace::MILLRACE_ISA
