// The packed form of a weight matrix: tiles of 16 rows (lanes are outputs), columns interleaved in 32-bit units.
#pragma once

#include <string>

#include "linear/linear.h"
#include "runtime/aligned_bytes.h"

namespace millrace {

enum class Codes : int { F32 = 0, F16 = 1, BF16 = 2, Int8 = 3, Int4 = 4 };

enum class ScaleType : int { F32 = 0, F16 = 1, BF16 = 2 };

constexpr int64_t lanesPerTile = 16;

/**
 * Codes are [tile][unit][lane], a unit being 32 bits of one row: one f32; two bf16; four int8 (stored as code + 128);
 * or eight int4, where byte j holds column j in its low nibble and column j + 4 in its high one. So 64 bytes are what
 * one 512-bit load takes. f16 is [tile][column][lane]. Scales are
 * [tile][group][lane]; with minimums [tile][group][scale, minimum][lane], so that one stream of memory holds both.
 *
 * Sixteen such lines in a row, 64 columns of int8 or 32 of bf16, are also one tile of AMX. So that none is cut, tiles of
 * int8 with one scale for each row and int8 activations for a row, and of bf16 with bf16 activations, are a whole number
 * of those long. Behind the last column are zeros, or codes that zero activations multiply.
 */
class PackedMatrix : public PackedLinear {
 public:
  const char* description() const override { return text.c_str(); }

  bool isInteger() const { return codes >= Codes::Int8; }
  int64_t numGroups() const { return cols / groupSize; }
  /** From the scales of a tile's group to those of its next one. */
  int64_t scaleStride() const { return hasMinimums ? 2 * lanesPerTile : lanesPerTile; }
  /** Index of a group's scale of lane 0, from `scales`; that of its minimum is the same from `minimums`. */
  int64_t scaleIndex(int64_t tile, int64_t group) const { return (tile * numGroups() + group) * scaleStride(); }
  /** Rows that one part of a paired matrix has, or all. */
  int64_t partRows() const { return paired ? rows / 2 : rows; }
  /** One scale for each row of weights and of activations. */
  bool isPerRow() const { return isInteger() && groupSize == cols && inputForm == Form::Int8Token; }
  const uint8_t* tileCodes(int64_t tile) const { return codeBytes.data() + tile * tileBytes; }

  /** Source row of a lane, or -1 where the tile is padded. Tiles 2i and 2i + 1 of a paired matrix are row block i of
      the first and second part. */
  int64_t sourceRow(int64_t tile, int64_t lane) const {
    const int64_t block = paired ? tile / 2 : tile;
    const int64_t row = block * lanesPerTile + lane;
    if (row >= partRows()) return -1;
    return paired && tile % 2 == 1 ? row + partRows() : row;
  }

  Codes codes = Codes::F32;
  /** Equal to cols for one scale per row, and for dense matrices. */
  int64_t groupSize = 0;
  bool hasMinimums = false;
  ScaleType scaleType = ScaleType::F32;
  /** Columns held: padded to 32 where one scale covers the row; groups are multiples of 16 and need no padding. */
  int64_t paddedCols = 0;
  int64_t numTiles = 0;
  int64_t tileBytes = 0;
  AlignedBytes codeBytes;
  /** Scales and minimums, if any, in `scaleType`. */
  AlignedBytes scaleBytes;
  const uint8_t* scales = nullptr;
  const uint8_t* minimums = nullptr;
  std::string text;
};

std::unique_ptr<PackedLinear> packLinear(const WeightPart* parts, int numParts, Form inputForm, bool paired,
                                         ThreadPool& pool, std::string& error);

/** Row of the matrix as f32 [cols]. */
void unpackRow(const PackedLinear& weight, int64_t row, float* out);

}  // namespace millrace
