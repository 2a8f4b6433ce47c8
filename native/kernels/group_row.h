// Rows of weights as integers in groups of columns; shared by the kernels of all instruction sets.
#pragma once

#include <cstdint>

namespace millrace {

/** What the grid of a row is: see src/kernels/grid.ts. */
struct GroupGrid {
  int64_t cols;
  int64_t groupSize;
  int bits;
  bool isSymmetric;
  /** Every step is rounded to bf16. */
  bool roundsSteps;
  /** Scales are searched for, from those of the range on. */
  bool isSearched;
};

/** A row of weights to put on a grid. */
struct GroupRow {
  const float* x;
  /** [cols] what an error in a column counts, or null for 1. */
  const float* importance;
  int8_t* codes;
  /** [cols / groupSize] bf16 bits */
  uint16_t* scales;
  /** [cols / groupSize], or null for a symmetric grid. */
  int8_t* zeros;
};

}  // namespace millrace
