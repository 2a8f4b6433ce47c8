// What the tiles can do at most: products in registers and nothing else.
#pragma once

#include "x86/amx/tiles.h"

namespace millrace::MILLRACE_ISA {

/** Four sums, as the kernels have them, are enough to hide the latency of a product. */
template <bool isFloat>
int64_t multiplyTiles(int64_t loops) {
  Tiles tiles(maxTileBlockRows, static_cast<int>(tileRowBytes));
  alignas(64) uint8_t operand[wholeTileBytes] = {};
  tiles.load<4>(operand, tileRowBytes);
  tiles.load<5>(operand, tileRowBytes);
  tiles.load<6>(operand, tileRowBytes);
  tiles.load<7>(operand, tileRowBytes);
  tiles.zero<0>();
  tiles.zero<1>();
  tiles.zero<2>();
  tiles.zero<3>();
  for (int64_t loop = 0; loop < loops; ++loop) {
    if constexpr (isFloat) {
      tiles.dotBf16<0, 4, 6>();
      tiles.dotBf16<1, 4, 7>();
      tiles.dotBf16<2, 5, 6>();
      tiles.dotBf16<3, 5, 7>();
    } else {
      tiles.dotInt8<0, 4, 6>();
      tiles.dotInt8<1, 4, 7>();
      tiles.dotInt8<2, 5, 6>();
      tiles.dotInt8<3, 5, 7>();
    }
  }
  const int64_t columns = tileRowBytes / (isFloat ? 2 : 1);
  return 2 * loops * 4 * maxTileBlockRows * maxTileBlockRows * columns;
}

inline int64_t multiplyTilesInt8(int64_t loops) { return multiplyTiles<false>(loops); }
inline int64_t multiplyTilesBf16(int64_t loops) { return multiplyTiles<true>(loops); }

}  // namespace millrace::MILLRACE_ISA
