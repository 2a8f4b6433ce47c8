// Eight tiles of at most 16 rows of 64 bytes, and products of two tiles added to a third: the instructions of AMX, or the
// same in plain C++ where the compiler does not target AMX (the twin, on which packing and loops are tested anywhere).
//
//   tiles 0..3  sums: [rows of x][16] int32 or f32
//   tiles 4..5  rows of x: [rows of x][stepBytes]
//   tiles 6..7  weights: [stepBytes / 4][16 outputs][4 bytes], as packed.h has them
//
// An object of the class is the state of the calling thread's tiles, from its construction to its end: the constructor
// gives them their shapes, the destructor frees them, so that an idle thread has none that the system must save.
#pragma once

#include "vector/v16.h"

namespace millrace::MILLRACE_ISA {

constexpr int maxTileBlockRows = 16;
constexpr int64_t tileRowBytes = 64;
constexpr int64_t wholeTileBytes = maxTileBlockRows * tileRowBytes;

}  // namespace millrace::MILLRACE_ISA

#if defined(__AMX_TILE__)
#include "x86/amx/tile_registers.h"
#else
#include "x86/amx/tile_twin.h"
#endif
