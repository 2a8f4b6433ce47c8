// Rows to blocks of GGUF files (ggml's formats of the same names), in the arithmetic and order of src/kernels/reference:
// round-to-blocks.ts, search-blocks.ts and pack-blocks.ts.
#include "kernels/rows.h"
#include "kernels/super_blocks.h"

namespace millrace::MILLRACE_ISA {

namespace {

constexpr int smallSize = 32;

struct SmallBlock {
  AffineScale scale;
  /** Signed for 8 bits, else from 0. */
  int codes[smallSize];
};

void packSmall(const SmallBlock& block, const BlockRow& row, uint8_t* out) {
  out = putHalf(out, block.scale.scale);
  if (row.hasMinimums) out = putHalf(out, block.scale.minimum);
  if (row.bits == 8) {
    for (int i = 0; i < smallSize; ++i) out[i] = static_cast<uint8_t>(block.codes[i]);
    return;
  }
  if (row.bits == 5) {
    uint32_t fifths = 0;
    for (int i = 0; i < smallSize; ++i) fifths |= static_cast<uint32_t>(block.codes[i] >> 4) << i;
    std::memcpy(out, &fifths, sizeof fifths);
    out += sizeof fifths;
  }
  for (int i = 0; i < smallSize / 2; ++i) {
    out[i] = static_cast<uint8_t>((block.codes[i] & 15) | ((block.codes[i + smallSize / 2] & 15) << 4));
  }
}

/** 0 where d is so small that it has none, and becomes 0 as f16. */
float inverseOf(float d) {
  const float inverse = 1.0f / d;
  return std::isfinite(inverse) ? inverse : 0;
}

/** d = max|x| / 127, codes rounded half away from zero; in f32 (ggml, quantize_row_q8_0_ref). */
SmallBlock plainBytes(const float* x) {
  SmallBlock block{};
  float largest = 0;
  for (int i = 0; i < smallSize; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float d = largest / 127.0f;
  const float inverse = inverseOf(d);
  block.scale.scale = d;
  for (int i = 0; i < smallSize; ++i) {
    const double scaled = x[i] * inverse;
    block.codes[i] = static_cast<int>(scaled < 0 ? -std::floor(0.5 - scaled) : std::floor(scaled + 0.5));
  }
  return block;
}

/** In f32 (ggml, quantize_row_q4_0_ref, _q4_1_ref, _q5_0_ref and _q5_1_ref). */
SmallBlock plainNibbles(const float* x, const BlockRow& row) {
  SmallBlock block{};
  float d;
  float minimum = 0;
  const int most = (1 << row.bits) - 1;
  if (row.hasMinimums) {
    float high = x[0];
    minimum = x[0];
    for (int i = 0; i < smallSize; ++i) {
      minimum = std::min(minimum, x[i]);
      high = std::max(high, x[i]);
    }
    d = (high - minimum) / static_cast<float>(most);
  } else {
    float extreme = 0;
    for (int i = 0; i < smallSize; ++i) {
      if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
    }
    d = extreme / static_cast<float>(-(1 << (row.bits - 1)));
  }
  block.scale = {d, minimum};
  const float inverse = inverseOf(d);
  const float shift = row.hasMinimums ? 0.5f : static_cast<float>(1 << (row.bits - 1)) + 0.5f;
  for (int i = 0; i < smallSize; ++i) {
    block.codes[i] = std::min(most, static_cast<int>((x[i] - minimum) * inverse + shift));
  }
  return block;
}

/** What a scale makes of a group, `offset` added to the integers. */
template <class Range>
SmallBlock blockOf(const WeightedGroup<smallSize>& group, AffineScale scale, const Range& range, double offset) {
  SmallBlock block{scale, {}};
  const double inverse = scale.scale == 0 ? 0 : 1 / scale.scale;
  double codes[smallSize];
  codesOf(group, inverse, -scale.minimum, range, codes);
  for (int i = 0; i < smallSize; ++i) block.codes[i] = static_cast<int>(codes[i] + offset);
  return block;
}

/** The better of what is fitted and of the plain scale, as f16 holds them. */
template <class Range>
AffineScale betterOf(const WeightedGroup<smallSize>& group, AffineScale fitted, AffineScale plain, const Range& range) {
  fitted = {toHalf(fitted.scale), toHalf(fitted.minimum)};
  plain = {toHalf(plain.scale), toHalf(plain.minimum)};
  return affineError(group, plain, range) < affineError(group, fitted, range) ? plain : fitted;
}

SmallBlock searchSmall(const WeightedGroup<smallSize>& group, const BlockRow& row) {
  if (row.hasMinimums) {
    const CodeRange range{0, static_cast<double>((1 << row.bits) - 1)};
    const Ends ends = rangeOf(group, false);
    const AffineScale plain{(ends.high - ends.low) / range.most, ends.low};
    return blockOf(group, betterOf(group, fitAffine(group, range.most, false), plain, range), range, 0);
  }
  const double most = (1 << (row.bits - 1)) - 1;
  const CodeRange range{row.bits == 8 ? -most : -most - 1, most};
  const AffineScale plain{extremeOf(group) / range.least, 0};
  const AffineScale best = betterOf(group, {fitSymmetric(group, range), 0}, plain, range);
  return blockOf(group, best, range, row.bits == 8 ? 0 : -range.least);
}

/** Blocks whose codes are places in a table, searched for or plain. */
SmallBlock levelBlock(const WeightedGroup<smallSize>& group, const BlockRow& row, const LevelRange& range) {
  const AffineScale plain{extremeOf(group) / range.least, 0};
  const AffineScale fitted = row.isSearched ? AffineScale{fitSymmetric(group, range), 0} : plain;
  SmallBlock block = blockOf(group, betterOf(group, fitted, plain, range), range, 0);
  for (int& code : block.codes) code = static_cast<int>(std::find(row.levels, row.levels + 16, code) - row.levels);
  return block;
}

}  // namespace

void roundBlockRow(const BlockRow& row) {
  uint8_t* out = row.blocks;
  const int64_t size = row.isSuper ? superSize : smallSize;
  if (row.levels != nullptr) {
    const LevelRange range(row.levels);
    for (int64_t start = 0; start < row.cols; start += size, out += row.blockBytes) {
      packSmall(levelBlock(groupOf<smallSize>(row, start), row, range), row, out);
    }
    return;
  }
  for (int64_t start = 0; start < row.cols; start += size, out += row.blockBytes) {
    if (row.isSuper && row.hasMinimums) {
      AffineSuperBlock(row, start).pack(out);
    } else if (row.isSuper) {
      SymmetricSuperBlock(row, start).pack(out);
    } else if (row.isSearched) {
      packSmall(searchSmall(groupOf<smallSize>(row, start), row), row, out);
    } else {
      packSmall(row.bits == 8 ? plainBytes(row.x + start) : plainNibbles(row.x + start, row), row, out);
    }
  }
}

}  // namespace millrace::MILLRACE_ISA
