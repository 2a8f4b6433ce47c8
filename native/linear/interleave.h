// Sixteen rows to the lanes of a tile, four units of each at a time.
#pragma once

#include <cstdint>
#include <cstring>

#include "linear/packed.h"

namespace millrace {

/** Four units of one row, or one unit of four rows. */
using Words = uint32_t __attribute__((vector_size(16)));

inline Words loadWords(const uint8_t* from) {
  Words words;
  std::memcpy(&words, from, 16);
  return words;
}

/** Word i of row r to word r of row i. */
inline void transpose(Words (&rows)[4]) {
  const Words a = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
  const Words b = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
  const Words c = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
  const Words d = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
  rows[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  rows[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  rows[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  rows[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

/** Writes four units [unit][lane], of which `unitsOf(lane)` gives those of one row. */
template <class UnitsOf>
inline void interleaveFour(UnitsOf unitsOf, uint32_t* to) {
  for (int64_t lane = 0; lane < lanesPerTile; lane += 4) {
    Words rows[4] = {unitsOf(lane), unitsOf(lane + 1), unitsOf(lane + 2), unitsOf(lane + 3)};
    transpose(rows);
    for (int64_t unit = 0; unit < 4; ++unit) std::memcpy(to + unit * lanesPerTile + lane, &rows[unit], 16);
  }
}

}  // namespace millrace
