// What a tile kernel gets to do at once: a unit of weight tiles by a band of row blocks.
#pragma once

#include "linear/panel.h"
#include "linear/span_scaling.h"
#include "x86/amx/tiles.h"

namespace millrace::MILLRACE_ISA {

/** Weight tiles that a unit has at most. */
constexpr int64_t maxUnitTiles = 4;

/**
 * Rows of x cut evenly into blocks of at most 16, one tile each. All tiles have the height of the highest block, so that
 * one configuration serves them all: a block that is one row lower takes in the first row of the next, unused.
 */
struct RowBlocks {
  int64_t rows;
  int64_t count;

  explicit RowBlocks(int64_t numRows) : rows(numRows), count((numRows + maxTileBlockRows - 1) / maxTileBlockRows) {}
  int64_t first(int64_t block) const { return rows * block / count; }
  int64_t rowsOf(int64_t block) const { return first(block + 1) - first(block); }
  int height() const { return static_cast<int>((rows + count - 1) / count); }
};

struct UnitJob {
  const PackedMatrix& w;
  const Activations& x;
  const RowBlocks& blocks;
  /** The band: row blocks [firstBlock, endBlock). */
  int64_t firstBlock;
  int64_t endBlock;
  /** Weight tiles [tile, tile + numTiles), and how many the sums have room for. */
  int64_t tile;
  int64_t numTiles;
  int64_t unitTiles;
  /** [endBlock - firstBlock][unitTiles] blocks of [16][16] int32 or f32. */
  uint8_t* sums;
  /** Room for two tiles with a byte for each code. */
  uint8_t* unpacked;

  uint8_t* sumsOf(int64_t block, int64_t c) const {
    return sums + ((block - firstBlock) * unitTiles + c) * wholeTileBytes;
  }
  int64_t xRowBytes() const { return x.rowStride * bytesPerElement(x.form); }
  const uint8_t* xOf(int64_t block) const {
    return static_cast<const uint8_t*>(x.data) + blocks.first(block) * xRowBytes();
  }
};

/** Bytes of an unpacked int4 tile: whole steps of 64 columns. */
inline int64_t unpackedTileBytes(const PackedMatrix& w) { return roundUp(w.paddedCols, 64) * lanesPerTile; }

/** The codes of weight tile `c` of the unit in the order of the tile registers: where they are, or unpacked into place
    `slot`. */
template <Codes codes>
const uint8_t* tileOperand(const UnitJob& job, int64_t c, int64_t slot) {
  if constexpr (codes != Codes::Int4) {
    return job.w.tileCodes(job.tile + c);
  } else {
    uint8_t* to = job.unpacked + slot * unpackedTileBytes(job.w);
    uint8_t* end = unpackCodes<codes>(job.w, job.tile + c, to);
    std::memset(end, 0, static_cast<size_t>(to + unpackedTileBytes(job.w) - end));
    return to;
  }
}

/** How much higher than its weight a code is as the tiles multiply it: 2 to this power; 0 for not at all. */
template <Codes codes, bool hasMinimums>
constexpr int tileZeroShift = codes == Codes::Int8 ? 7 : hasMinimums ? 0 : 3;

/** A kind of weights and activations that the tiles multiply. */
struct TileKernel {
  /** Bytes of a row of x that one tile takes. */
  int stepBytes;
  bool unpacks;
  /** Fills the sums of the unit. */
  void (*multiply)(Tiles& tiles, const UnitJob& job);
  /** The sixteen results of a row of x and weight tile `c` from their sums, to `to`. */
  void (*finish)(const UnitJob& job, int64_t c, int64_t row, const uint8_t* sums, float* to);
};

}  // namespace millrace::MILLRACE_ISA
