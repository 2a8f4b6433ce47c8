// Weights of files as f32 numbers, each operation rounded to f32 as the readers of the formats do.
#include <algorithm>
#include <atomic>

#include "linear/blocks.h"
#include "ops/context.h"
#include "runtime/float_state.h"

namespace millrace {

namespace {

/** Values that a thread looks at before it asks for more. */
constexpr int64_t valuesPerPiece = 1 << 16;

void widenRow(const WeightPart& part, int64_t row, float* to) {
  if (part.dtype == 0) {
    std::memcpy(to, part.data + row * part.cols * 4, static_cast<size_t>(part.cols) * 4);
    return;
  }
  const uint8_t* from = part.data + row * part.cols * 2;
  const bool isF16 = part.dtype == 1;
  for (int64_t i = 0; i < part.cols; ++i) to[i] = isF16 ? widenF16(halfAt(from + 2 * i)) : widenBf16(halfAt(from + 2 * i));
}

/** Integers of a row as bytes. */
void readCodes(const WeightPart& part, int64_t row, int8_t* to) {
  const int64_t rowBytes = part.cols * part.bits / 8;
  std::vector<uint8_t> packed;
  const uint8_t* from = part.data + row * rowBytes;
  if (part.blockType != BlockType::None) {
    packed.resize(static_cast<size_t>(rowBytes));
    readBlockCodes(part.blockType, blockRow(part, row), part.cols, packed.data());
    from = packed.data();
  }
  if (part.bits == 8) {
    std::memcpy(to, from, static_cast<size_t>(part.cols));
    return;
  }
  const int zero = part.hasMinimums() ? 0 : 8;
  for (int64_t i = 0; i < part.cols / 2; ++i) {
    to[2 * i] = static_cast<int8_t>((from[i] & 15) - zero);
    to[2 * i + 1] = static_cast<int8_t>((from[i] >> 4) - zero);
  }
}

void readIntegerRow(const WeightPart& part, int64_t row, float* to) {
  std::vector<int8_t> codes(static_cast<size_t>(part.cols));
  readCodes(part, row, codes.data());
  const int64_t numGroups = part.cols / part.groupSize;
  const uint8_t* block = part.blockType == BlockType::None ? nullptr : blockRow(part, row);
  for (int64_t group = 0; group < numGroups; ++group) {
    const float scale =
        block == nullptr ? part.scales[row * numGroups + group] : blockScale(part.blockType, block, group);
    float minimum = 0.0f;
    if (part.minimums != nullptr) minimum = part.minimums[row * numGroups + group];
    else if (part.hasMinimums()) minimum = widenF16(blockMinimumBits(part.blockType, block, group));
    // Adding 0 makes one of both zeros.
    for (int64_t i = group * part.groupSize; i < (group + 1) * part.groupSize; ++i) {
      to[i] = scale * static_cast<float>(codes[static_cast<size_t>(i)]) + minimum + 0.0f;
    }
  }
}

}  // namespace

void Context::readWeight(const WeightPart& part, float* values) {
  pool_->parallelFor(part.rows, [&](int64_t row, int) {
    // Scales may be denormal numbers, which the readers of the formats give.
    const KeepDenormals keep;
    float* to = values + row * part.cols;
    if (part.kind == 0) widenRow(part, row, to);
    else readIntegerRow(part, row, to);
  });
}

bool Context::areFinite(const float* values, int64_t count) {
  std::atomic<bool> areAll{true};
  pool_->parallelFor((count + valuesPerPiece - 1) / valuesPerPiece, [&](int64_t piece, int) {
    const int64_t end = std::min(count, (piece + 1) * valuesPerPiece);
    uint32_t largest = 0;
    for (int64_t i = piece * valuesPerPiece; i < end; ++i) largest = std::max(largest, bitsOf(values[i]) & 0x7fffffffu);
    if (largest >= 0x7f800000u) areAll = false;
  });
  return areAll;
}

}  // namespace millrace
