// Operands of many rows: activations of a block of rows side by side, and tiles of weights unpacked once.
//
// A panel holds, for each 32 columns: the codes of its rows, [step][row], where a step is 32 bits of one row that one
// instruction multiplies by a vector of weights; then, for Int8Block32, [row] scales and [row] numbers that the kernel
// adds. So every operand of a row block lies at a fixed distance from one pointer.
//
// An unpacked tile has 64 bytes for each step, [lane] 32 bits; then scales and minimums, [group][lane] f32. Codes of
// int4 have a byte each, a step being four columns. Codes of int8 have 16 bits beside activations in 16 bits; a step is
// columns 0 and 2, or 1 and 3, of four.
//
// Dense weights stay packed, and their panels are [column][row] f32; or, where registers hold enough tiles, tiles are
// widened to [column][lane] f32 and panels are the rows themselves in f32 (widened_tile.h).
#pragma once

#include "linear/bits.h"
#include "linear/tile_family.h"

namespace millrace::MILLRACE_ISA {

/** Bytes that a code takes in panels and unpacked tiles. */
constexpr int64_t panelCodeBytes(Codes codes) { return codes == Codes::Int8 ? 2 : 1; }

/** Bytes that each row of a panel takes for 32 columns. */
constexpr int64_t panelBlockBytes(Codes codes, Form form) {
  if (codes < Codes::Int8) return 128;
  return 32 * panelCodeBytes(codes) + (form == Form::Int8Block32 ? 8 : 0);
}

constexpr int64_t unpackedCodeBytes(const PackedMatrix& w) {
  return w.paddedCols * lanesPerTile * panelCodeBytes(w.codes);
}

inline const float* unpackedScales(const PackedMatrix& w, const uint8_t* unpacked) {
  return reinterpret_cast<const float*>(unpacked + unpackedCodeBytes(w));
}

inline int64_t unpackedBytes(const PackedMatrix& w) {
  if (!w.isInteger()) return w.cols * lanesPerTile * 4;
  return unpackedCodeBytes(w) + w.numGroups() * lanesPerTile * 4 * (w.hasMinimums ? 2 : 1);
}

/** Bytes of a panel for each of its rows. Codes behind the last column are zero. */
inline int64_t panelRowBytes(const PackedMatrix& w) {
  return blocksPerRow(w.paddedCols) * panelBlockBytes(w.codes, w.inputForm);
}

struct CodePair {
  __m256i first;
  __m256i second;
};

/** Each pair of bytes in 16 bits: those of even places, those of odd ones. */
MILLRACE_INLINE CodePair widenCodes(__m256i codes) {
  return {_mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 8), _mm256_srai_epi16(codes, 8)};
}

/** The steps of one row in one block of 32 columns. */
template <Codes codes>
MILLRACE_INLINE void layCodes(const int8_t* from, int64_t rows, uint8_t* to) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  alignas(32) uint32_t steps[16];
  __m256i* place = reinterpret_cast<__m256i*>(steps);
  if constexpr (codes == Codes::Int4) {
    _mm256_store_si256(place, bytes);
  } else {
    const CodePair wide = widenCodes(bytes);
    const __m256i low = _mm256_unpacklo_epi32(wide.first, wide.second);
    const __m256i high = _mm256_unpackhi_epi32(wide.first, wide.second);
    _mm256_store_si256(place, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_store_si256(place + 1, _mm256_permute2x128_si256(low, high, 0x31));
  }
  for (int step = 0; step < 8 * panelCodeBytes(codes); ++step) {
    std::memcpy(to + step * rows * 4, steps + step, 4);
  }
}

/** Writes rows [row, row + rows) of x as one panel. */
template <Codes codes, bool hasMinimums>
void layPanel(const Activations& x, int64_t row, int64_t rows, int64_t cols, uint8_t* to) {
  const int64_t blockBytes = rows * panelBlockBytes(codes, x.form);
  for (int64_t r = 0; r < rows; ++r) {
    const int8_t* from = static_cast<const int8_t*>(x.data) + (row + r) * x.rowStride;
    const int64_t side = (row + r) * x.sideStride;
    for (int64_t block = 0; block < blocksPerRow(cols); ++block) {
      uint8_t* place = to + block * blockBytes;
      layCodes<codes>(from + 32 * block, rows, place + 4 * r);
      if (x.form != Form::Int8Block32) continue;
      float* sides = reinterpret_cast<float*>(place + rows * 32 * panelCodeBytes(codes)) + r;
      sides[0] = x.scales[side + block];
      // What takes the 8 off that a stored 4-bit code is too high; or what minimums are multiplied by.
      const int32_t correction = -8 * x.sums[side + block];
      if (hasMinimums) sides[rows] = x.scaledSums[side + block];
      else std::memcpy(sides + rows, &correction, 4);
    }
  }
}

/** Writes rows [row, row + rows) of f32 or bf16 activations as one panel. */
inline void layFloatPanel(const Activations& x, int64_t row, int64_t rows, int64_t cols, uint8_t* to) {
  float* place = reinterpret_cast<float*>(to);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t first = (row + r) * x.rowStride;
    for (int64_t col = 0; col < cols; ++col) {
      if (x.form == Form::F32) place[col * rows + r] = static_cast<const float*>(x.data)[first + col];
      else place[col * rows + r] = widenBf16(static_cast<const uint16_t*>(x.data)[first + col]);
    }
  }
}

/** Writes the codes of a tile of an integer matrix in the order above, and returns their end. */
template <Codes codes>
uint8_t* unpackCodes(const PackedMatrix& w, int64_t tile, uint8_t* to) {
  const uint8_t* from = w.tileCodes(tile);
  const uint8_t* end = to + unpackedCodeBytes(w);
  for (; to < end; from += 64, to += 128) {
#pragma GCC unroll 2
    for (int half = 0; half < 64; half += 32) {
      const __m256i stored = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + half));
      CodePair pair;
      if constexpr (codes == Codes::Int4) {
        const __m256i nibble = _mm256_set1_epi8(15);
        pair = {_mm256_and_si256(stored, nibble), _mm256_and_si256(_mm256_srli_epi16(stored, 4), nibble)};
      } else {
        pair = widenCodes(_mm256_xor_si256(stored, _mm256_set1_epi8(-128)));
      }
      _mm256_store_si256(reinterpret_cast<__m256i*>(to + half), pair.first);
      _mm256_store_si256(reinterpret_cast<__m256i*>(to + 64 + half), pair.second);
    }
  }
  return to;
}

/** Writes a tile of an integer matrix in the order above. */
template <Codes codes>
void unpackTile(const PackedMatrix& w, int64_t tile, uint8_t* to) {
  float* scales = reinterpret_cast<float*>(unpackCodes<codes>(w, tile, to));
  float* minimums = scales + w.numGroups() * lanesPerTile;
  for (int64_t group = 0; group < w.numGroups(); ++group) {
    const int64_t index = w.scaleIndex(tile, group);
    store(scales + group * lanesPerTile, loadScales(w.scaleType, w.scales, index));
    if (w.hasMinimums) store(minimums + group * lanesPerTile, loadScales(w.scaleType, w.minimums, index));
  }
}

}  // namespace millrace::MILLRACE_ISA
