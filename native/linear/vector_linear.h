// The linear kernels of a set of vector instructions: which family multiplies, which forms it writes, and rows of
// activations in those forms. Compiled once per instruction set.
#pragma once

#include "linear/run.h"

namespace millrace::MILLRACE_ISA {

namespace {

const TileFamily& familyOf(const PackedMatrix& w, int64_t rows) {
  const bool takesCodes = w.inputForm == Form::Int8Token || w.inputForm == Form::Int8Block32;
  return takesCodes ? integerFamily(w) : floatFamily(w, rows);
}

size_t scratchBytes(const PackedLinear& weight, int64_t rows, int threads) {
  const PackedMatrix& w = static_cast<const PackedMatrix&>(weight);
  return tilesScratchBytes(w, familyOf(w, rows), rows, threads);
}

void runLinear(const PackedLinear& weight, const Activations& x, const LinearOutput& output, uint8_t* scratch,
               ThreadPool& pool) {
  const PackedMatrix& w = static_cast<const PackedMatrix&>(weight);
  runTiles(w, familyOf(w, x.rows), x, output, scratch, pool);
}

/** Blocks of codes are made where two pairs of tiles fill each. */
bool takesForm(const PackedLinear& weight, Form form) {
  const PackedMatrix& w = static_cast<const PackedMatrix&>(weight);
  return form == Form::F32 || (form == Form::Int8Block32 && w.paired && w.partRows() % 32 == 0);
}

/** A row as codes under one scale, and their running sums. */
void quantizeWholeRow(const float* x, int64_t cols, const Activations& to, int64_t row) {
  int8_t* codes = static_cast<int8_t*>(to.data) + row * to.rowStride;
  int32_t* sums = to.sums + row * to.sideStride;
  V16 largest = zero();
  for (int64_t col = 0; col < cols; col += 16) largest = largerOf(largest, loadFirst(x + col, cols - col));
  const float scale = scaleOfLargest(reduceMax(largest));
  to.scales[row * to.sideStride] = scale;
  sums[0] = 0;
  const int64_t blocks = blocksPerRow(cols);
  for (int64_t i = 0; i < 2 * blocks; ++i) {
    const int64_t left = cols - 16 * i;
    const V16 v = left > 0 ? loadFirst(x + 16 * i, left) : zero();
    sums[i + 1] = sums[i] + storeScaled(codes + 16 * i, v, scale);
  }
}

void quantizeCodes(const float* x, int64_t cols, const Activations& to, int64_t row) {
  const int64_t blocks = blocksPerRow(cols);
  if (to.form == Form::Int8Token) {
    quantizeWholeRow(x, cols, to, row);
  } else {
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t left = cols - 32 * block;
      const V16 second = left > 16 ? loadFirst(x + 32 * block + 16, left - 16) : zero();
      quantizeBlock(loadFirst(x + 32 * block, left), second, to, row, block);
    }
  }
  int8_t* codes = static_cast<int8_t*>(to.data) + row * to.rowStride;
  std::memset(codes + 32 * blocks, 0, static_cast<size_t>(to.rowStride - 32 * blocks));
}

void quantizeRow(const float* x, int64_t cols, Activations& to, int64_t row) {
  if (to.form == Form::F32) {
    std::memcpy(static_cast<float*>(to.data) + row * to.rowStride, x, static_cast<size_t>(cols) * 4);
    return;
  }
  if (to.form != Form::BF16) return quantizeCodes(x, cols, to, row);
  uint16_t* halves = static_cast<uint16_t*>(to.data) + row * to.rowStride;
  for (int64_t col = 0; col < to.rowStride; col += 16) {
    storeBf16(halves + col, col < cols ? loadFirst(x + col, cols - col) : zero());
  }
}

}  // namespace

}  // namespace millrace::MILLRACE_ISA
