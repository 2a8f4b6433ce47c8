// Blocks of GGUF files (ggml's block_q4_0, block_q4_1, block_q5_0, block_q5_1, block_q8_0, block_q6_K), read where they lie.
#pragma once

#include <cstdint>
#include <cstring>

#include "linear/bits.h"
#include "linear/linear.h"

namespace millrace {

constexpr int64_t valuesPerBlock(BlockType type) { return type == BlockType::Q6K ? 256 : 32; }

constexpr int64_t bytesPerBlock(BlockType type) {
  switch (type) {
    case BlockType::Q4_0: return 18;
    case BlockType::Q4_1: return 20;
    case BlockType::Q5_0: return 22;
    case BlockType::Q5_1: return 24;
    case BlockType::Q8_0: return 34;
    case BlockType::Q6K: return 210;
    case BlockType::None: break;
  }
  return 0;
}

/** Where the codes begin, behind f16 scale and f16 minimum. */
constexpr int64_t blockCodesAt(BlockType type) {
  return hasBlockMinimums(type) ? 4 : type == BlockType::Q6K ? 0 : 2;
}

constexpr int64_t blockRowBytes(BlockType type, int64_t cols) {
  return cols / valuesPerBlock(type) * bytesPerBlock(type);
}

/** Whether a group's scale is an f16 of the file. Those of Q6_K are products of two numbers. */
constexpr bool hasF16Scales(BlockType type) { return type != BlockType::None && type != BlockType::Q6K; }

/** First byte of row `row` of a part in blocks; see WeightPart::pairedHeadDim. */
inline const uint8_t* blockRow(const WeightPart& part, int64_t row) {
  const int64_t d = part.pairedHeadDim;
  if (d > 0) {
    const int64_t at = row % d;
    row += (at < d / 2 ? 2 * at : 2 * (at - d / 2) + 1) - at;
  }
  return part.data + row * blockRowBytes(part.blockType, part.cols);
}

inline uint16_t halfAt(const uint8_t* from) {
  uint16_t half;
  std::memcpy(&half, from, 2);
  return half;
}

/** The f16 bits of a 32-value block's scale. */
inline uint16_t blockScaleBits(BlockType type, const uint8_t* row, int64_t block) {
  return halfAt(row + block * bytesPerBlock(type));
}

/** The f16 bits of a block's minimum, in types that have one. */
inline uint16_t blockMinimumBits(BlockType type, const uint8_t* row, int64_t block) {
  return halfAt(row + block * bytesPerBlock(type) + 2);
}

/** Scale of group `group` of a row: 32 columns, of Q6_K 16. Exact. */
inline float blockScale(BlockType type, const uint8_t* row, int64_t group) {
  if (type != BlockType::Q6K) return widenF16(blockScaleBits(type, row, group));
  const uint8_t* block = row + group / 16 * bytesPerBlock(type);
  return widenF16(halfAt(block + 208)) * static_cast<float>(static_cast<int8_t>(block[192 + group % 16]));
}

inline void readQ4Codes(const uint8_t* row, BlockType type, int64_t cols, uint8_t* to) {
  for (int64_t block = 0; block < cols / 32; ++block, to += 16) {
    const uint8_t* from = row + block * bytesPerBlock(type) + blockCodesAt(type);
    for (int64_t i = 0; i < 8; ++i) {
      to[i] = static_cast<uint8_t>((from[2 * i] & 15) | (from[2 * i + 1] & 15) << 4);
      to[i + 8] = static_cast<uint8_t>(from[2 * i] >> 4 | (from[2 * i + 1] & 0xf0));
    }
  }
}

/** A word of fifth bits, bit i of value i, then nibbles as in Q4_0; without a minimum a code counts from −16. */
inline void readQ5Codes(const uint8_t* row, BlockType type, int64_t cols, uint8_t* to) {
  const uint32_t zero = hasBlockMinimums(type) ? 0 : 16;
  for (int64_t block = 0; block < cols / 32; ++block, to += 32) {
    const uint8_t* from = row + block * bytesPerBlock(type) + blockCodesAt(type);
    uint32_t fifth;
    std::memcpy(&fifth, from, 4);
    for (int64_t i = 0; i < 16; ++i) {
      const uint32_t nibbles = from[4 + i];
      to[i] = static_cast<uint8_t>(((nibbles & 15) | (fifth >> i & 1) << 4) - zero);
      to[i + 16] = static_cast<uint8_t>((nibbles >> 4 | (fifth >> (i + 16) & 1) << 4) - zero);
    }
  }
}

inline void readQ6Codes(const uint8_t* row, int64_t cols, uint8_t* to) {
  for (int64_t half = 0; half < cols / 128; ++half, to += 128) {
    const uint8_t* block = row + half / 2 * bytesPerBlock(BlockType::Q6K);
    const uint8_t* low = block + half % 2 * 64;
    const uint8_t* high = block + 128 + half % 2 * 32;
    for (int64_t i = 0; i < 32; ++i) {
      to[i] = static_cast<uint8_t>(((low[i] & 15) | (high[i] & 3) << 4) - 32);
      to[i + 32] = static_cast<uint8_t>(((low[i + 32] & 15) | (high[i] & 12) << 2) - 32);
      to[i + 64] = static_cast<uint8_t>((low[i] >> 4 | (high[i] & 48)) - 32);
      to[i + 96] = static_cast<uint8_t>((low[i + 32] >> 4 | (high[i] & 192) >> 2) - 32);
    }
  }
}

inline void readQ8Codes(const uint8_t* row, int64_t cols, uint8_t* to) {
  for (int64_t block = 0; block < cols / 32; ++block) {
    std::memcpy(to + block * 32, row + block * bytesPerBlock(BlockType::Q8_0) + blockCodesAt(BlockType::Q8_0), 32);
  }
}

/** Codes of a row as WeightPart::data has them where there are no blocks. */
inline void readBlockCodes(BlockType type, const uint8_t* row, int64_t cols, uint8_t* to) {
  switch (type) {
    case BlockType::Q4_0:
    case BlockType::Q4_1: return readQ4Codes(row, type, cols, to);
    case BlockType::Q5_0:
    case BlockType::Q5_1: return readQ5Codes(row, type, cols, to);
    case BlockType::Q6K: return readQ6Codes(row, cols, to);
    case BlockType::Q8_0: return readQ8Codes(row, cols, to);
    case BlockType::None: break;
  }
}

}  // namespace millrace
