// Register tiles of one kind of kernel, for every number of rows that the driver asks for.
#pragma once

#include "linear/packed.h"
#include "vector/v16.h"

namespace millrace::MILLRACE_ISA {

/** What a kernel prefetches while it multiplies: `step` bytes further for every 8 columns, and `tile` bytes further for
    the next tile where every tile has its own stream. */
struct Ahead {
  const uint8_t* from;
  int64_t step;
  int64_t tile;
};

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
  /** The tile as `Panels::unpack` wrote it and the panel of the rows, for kernels that read them. */
  const uint8_t* unpacked;
  const uint8_t* panel;
};

using TileFunction = void (*)(const TileJob& job);

/** How operands are laid for kernels of many rows (panel.h); null where they read packed tiles and rows. */
struct Panels {
  void (*unpack)(const PackedMatrix& w, int64_t tile, uint8_t* to);
  /** Writes rows [row, row + rows) as one panel, which takes so many bytes for each. */
  void (*lay)(const Activations& x, int64_t row, int64_t rows, int64_t cols, uint8_t* to);
  int64_t (*bytesPerRow)(const PackedMatrix& w);
};

/** The largest block that kernels of any instruction set take; the driver has room for its results. */
constexpr int maxTileRows = 8;
constexpr int maxTiles = 4;

/** Up to `smallRows` rows are one block of `smallTiles` (by number of rows) tiles; more are cut evenly into blocks of at
    most `largeRows`, which share out the prefetching of the next tiles. */
struct TileFamily {
  int smallRows;
  int smallTiles[maxTileRows + 1];
  int largeRows;
  int largeTiles;
  /** What the large functions read. */
  Panels panels;
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

/** Kernels of 1 to `rows` rows. */
template <class Kernel, class Sizes, int rows>
constexpr void fillSmall(TileFamily& family) {
  if constexpr (rows > 0) {
    constexpr int tiles = Sizes::smallTiles(rows);
    static_assert(tiles <= maxTiles);
    family.smallTiles[rows] = tiles;
    family.small[rows] = Kernel::template run<rows, tiles>;
    fillSmall<Kernel, Sizes, rows - 1>(family);
  }
}

template <class Kernel, class Sizes, int rows>
constexpr void fillLarge(TileFamily& family) {
  if constexpr (rows <= Sizes::largeRows) {
    family.large[rows] = Kernel::template run<rows, Sizes::largeTiles>;
    fillLarge<Kernel, Sizes, rows + 1>(family);
  }
}

template <class Small, class Sizes, class Large = Small>
constexpr TileFamily makeFamily() {
  static_assert(Sizes::smallRows <= maxTileRows && Sizes::largeRows <= maxTileRows);
  static_assert(Sizes::largeTiles <= maxTiles);
  TileFamily family{};
  family.smallRows = Sizes::smallRows;
  family.largeRows = Sizes::largeRows;
  family.largeTiles = Sizes::largeTiles;
  if constexpr (requires { Large::panels; }) family.panels = Large::panels;
  fillSmall<Small, Sizes, Sizes::smallRows>(family);
  fillLarge<Large, Sizes, fewestRows(Sizes::smallRows, Sizes::largeRows)>(family);
  return family;
}

/** Prefetches what 8 columns of a tile hold. */
template <Codes codes>
MILLRACE_INLINE void prefetchStep(Ahead ahead, int step, int tile = 0) {
  const char* at = reinterpret_cast<const char*>(ahead.from + tile * ahead.tile + step * ahead.step);
  _mm_prefetch(at, _MM_HINT_T0);
  if constexpr (codes == Codes::Int8) _mm_prefetch(at + 64, _MM_HINT_T0);
}

/** Scale (or minimum) of sixteen rows. */
MILLRACE_INLINE V16 loadScales(ScaleType type, const uint8_t* base, int64_t index) {
  if (type == ScaleType::F16) return loadF16(reinterpret_cast<const uint16_t*>(base) + index);
  if (type == ScaleType::BF16) return loadBf16(reinterpret_cast<const uint16_t*>(base) + index);
  return load(reinterpret_cast<const float*>(base) + index);
}

/** How far ahead scales are fetched where few rows stream weights. */
constexpr int64_t scalesAheadBytes = 512;

MILLRACE_INLINE void prefetchScales(ScaleType type, const uint8_t* base, int64_t index) {
  const int64_t at = index * (type == ScaleType::F32 ? 4 : 2) + scalesAheadBytes;
  _mm_prefetch(reinterpret_cast<const char*>(base + at), _MM_HINT_T0);
}

/** The kernels for a matrix and its input form, which `packLinear` has found to go together. All families of a matrix
    give the same bits. */
const TileFamily& integerFamily(const PackedMatrix& w);
const TileFamily& floatFamily(const PackedMatrix& w, int64_t rows);

}  // namespace millrace::MILLRACE_ISA
