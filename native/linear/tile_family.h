// Register tiles of one kind of kernel, for every number of rows that the driver asks for.
#pragma once

#include "linear/packed.h"
#include "vector/v16.h"

namespace millrace::MILLRACE_ISA {

/** What a kernel prefetches while it multiplies: `step` bytes further for every 8 columns. */
struct Ahead {
  const uint8_t* from;
  int64_t step;
};

/** How a kernel finds the codes of a tile: as packed, or one to a byte with scales as f32, unpacked once for many rows. */
enum class Storage { Packed, Unpacked };

/** A block of results: rows of x from `row`, tiles of w from `tile`, of which `numTiles` exist; the kernel writes
    all of its tiles to out[r * outStride + 16 * c], repeating the last one. */
struct TileJob {
  const PackedMatrix& w;
  const Activations& x;
  int64_t row;
  int64_t tile;
  int64_t numTiles;
  float* out;
  int64_t outStride;
  Ahead ahead;
  /** The tile as `TileFamily::unpack` wrote it, for kernels that read unpacked tiles. */
  const uint8_t* unpacked;
};

using TileFunction = void (*)(const TileJob& job);
using UnpackFunction = void (*)(const PackedMatrix& w, int64_t tile, uint8_t* to);

constexpr int maxTileRows = 8;
constexpr int maxTiles = 4;

inline void unpackTile(const PackedMatrix& w, int64_t tile, uint8_t* to);

/** Up to `smallRows` rows are one block of `smallTiles` tiles; more are cut evenly into blocks of at most `largeRows`.
    Few rows stream one tile at a time; with more, the blocks share out the prefetching of the next tiles. */
struct TileFamily {
  int smallRows;
  int smallTiles;
  int largeRows;
  int largeTiles;
  /** Null where the large functions read packed tiles. */
  UnpackFunction unpack;
  /** By number of rows. */
  TileFunction small[maxTileRows + 1];
  TileFunction large[maxTileRows + 1];
};

/** Fewest rows of a block when more than `smallRows` rows are cut evenly. */
constexpr int fewestRows(int smallRows, int largeRows) {
  int fewest = largeRows;
  for (int rows = smallRows + 1; rows <= 8 * largeRows; ++rows) {
    const int blocks = (rows + largeRows - 1) / largeRows;
    if (rows / blocks < fewest) fewest = rows / blocks;
  }
  return fewest;
}

template <class Kernel, int tiles, int from, int to>
constexpr void fillFunctions(TileFunction* functions) {
  if constexpr (from <= to) {
    functions[from] = Kernel::template run<from, tiles>;
    fillFunctions<Kernel, tiles, from + 1, to>(functions);
  }
}

template <class Small, class Sizes, class Large = Small>
constexpr TileFamily makeFamily() {
  static_assert(Sizes::smallRows <= maxTileRows && Sizes::largeRows <= maxTileRows);
  static_assert(Sizes::smallTiles <= maxTiles && Sizes::largeTiles <= maxTiles);
  TileFamily family{};
  family.smallRows = Sizes::smallRows;
  family.smallTiles = Sizes::smallTiles;
  family.largeRows = Sizes::largeRows;
  family.largeTiles = Sizes::largeTiles;
  if constexpr (Sizes::largeStorage == Storage::Unpacked) family.unpack = unpackTile;
  fillFunctions<Small, Sizes::smallTiles, 1, Sizes::smallRows>(family.small);
  constexpr int fewest = fewestRows(Sizes::smallRows, Sizes::largeRows);
  fillFunctions<Large, Sizes::largeTiles, fewest, Sizes::largeRows>(family.large);
  return family;
}

/** Prefetches what 8 columns of one tile hold: with two tiles side by side there are two passes or more. */
template <Codes codes>
MILLRACE_INLINE void prefetchStep(Ahead ahead, int step) {
  const char* at = reinterpret_cast<const char*>(ahead.from + step * ahead.step);
  _mm_prefetch(at, _MM_HINT_T0);
  if constexpr (codes == Codes::Int8) _mm_prefetch(at + 64, _MM_HINT_T0);
}

/** Scale (or minimum) of sixteen rows. */
MILLRACE_INLINE V16 loadScales(ScaleType type, const uint8_t* base, int64_t index) {
  if (type == ScaleType::F16) return loadF16(reinterpret_cast<const uint16_t*>(base) + index);
  if (type == ScaleType::BF16) return loadBf16(reinterpret_cast<const uint16_t*>(base) + index);
  return load(reinterpret_cast<const float*>(base) + index);
}

/** An unpacked tile of an integer matrix: codes a byte each in the order of `PackedMatrix`, but four columns of all
    lanes after four columns of all lanes; then scales, then minimums, [groups][lane] f32. */
constexpr int64_t unpackedCodeBytes(const PackedMatrix& w) { return w.paddedCols * lanesPerTile; }

inline const float* unpackedScales(const PackedMatrix& w, const uint8_t* unpacked) {
  return reinterpret_cast<const float*>(unpacked + unpackedCodeBytes(w));
}

inline int64_t unpackedBytes(const PackedMatrix& w) {
  return unpackedCodeBytes(w) + w.numGroups() * lanesPerTile * 4 * (w.hasMinimums ? 2 : 1);
}

/** Writes a tile of an int4 matrix in the order above. */
inline void unpackTile(const PackedMatrix& w, int64_t tile, uint8_t* to) {
  const uint8_t* from = w.tileCodes(tile);
  for (int64_t at = 0; at < w.tileBytes; at += 64, from += 64, to += 128) {
#pragma GCC unroll 2
    for (int half = 0; half < 64; half += 32) {
      const __m256i nibble = _mm256_set1_epi8(15);
      const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + half));
      const __m256i high = _mm256_srli_epi16(both, 4);
      _mm256_store_si256(reinterpret_cast<__m256i*>(to + half), _mm256_and_si256(both, nibble));
      _mm256_store_si256(reinterpret_cast<__m256i*>(to + 64 + half), _mm256_and_si256(high, nibble));
    }
  }
  float* scales = reinterpret_cast<float*>(to);
  const int64_t first = tile * w.numGroups() * lanesPerTile;
  const int64_t count = w.numGroups() * lanesPerTile;
  for (int64_t i = 0; i < count; i += lanesPerTile) store(scales + i, loadScales(w.scaleType, w.scales, first + i));
  if (!w.hasMinimums) return;
  scales += count;
  for (int64_t i = 0; i < count; i += lanesPerTile) store(scales + i, loadScales(w.scaleType, w.minimums, first + i));
}

/** The kernels for a matrix and its input form, which `packLinear` has found to go together. */
const TileFamily& integerFamily(const PackedMatrix& w);
const TileFamily& floatFamily(const PackedMatrix& w);

}  // namespace millrace::MILLRACE_ISA
