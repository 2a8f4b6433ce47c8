// Blocks of 256 weights whose groups have scales of their own, in the arithmetic and order of
// src/kernels/reference/search-super-blocks.ts.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/block_fit.h"
#include "kernels/kernel_table.h"

namespace millrace::MILLRACE_ISA {

inline constexpr int superSize = 256;

inline uint16_t halfBits(double value) { return static_cast<uint16_t>(_cvtss_sh(static_cast<float>(value), 0)); }
inline double toHalf(double value) { return _cvtsh_ss(halfBits(value)); }

inline uint8_t* putHalf(uint8_t* to, double value) {
  const uint16_t bits = halfBits(value);
  std::memcpy(to, &bits, sizeof bits);
  return to + sizeof bits;
}

template <int size>
WeightedGroup<size> groupOf(const BlockRow& row, int64_t start) {
  WeightedGroup<size> group;
  for (int i = 0; i < size; ++i) {
    group.x[i] = row.x[start + i];
    group.w[i] = row.importance == nullptr ? 1.0 : row.importance[start + i];
  }
  return group;
}

/** What all integers of a block's groups are multiplied with. */
struct BlockScales {
  double d;
  double dmin;
};

struct GroupChoice {
  double scale;
  double minimum;
  double error;
};

inline double clampTo(double value, double least, double most) {
  return value < least ? least : value > most ? most : value;
}

/** Integers near a number: the nearest, or one on either side. Returns how many. */
inline int triesFor(double value, double least, double most, bool isSearched, double* tries) {
  if (!isSearched) {
    tries[0] = clampTo(roundHalfEven(value), least, most);
    return 1;
  }
  const double below = std::floor(value);
  tries[0] = clampTo(below, least, most);
  tries[1] = clampTo(below + 1, least, most);
  return 2;
}

template <int numGroups>
double totalOf(const GroupChoice (&choices)[numGroups]) {
  double sum = 0;
  for (const GroupChoice& choice : choices) sum += choice.error;
  return sum;
}

/** Q4_K and Q5_K: eight groups of 32, w = d · scale · q − dmin · minimum. */
class AffineSuperBlock {
 public:
  static constexpr int groupSize = 32;
  static constexpr int numGroups = superSize / groupSize;

  AffineSuperBlock(const BlockRow& row, int64_t start)
      : range_{0, static_cast<double>((1 << row.bits) - 1)}, isSearched_(row.isSearched), bits_(row.bits) {
    double largest = 0;
    double largestMinimum = 0;
    for (int j = 0; j < numGroups; ++j) {
      groups_[j] = groupOf<groupSize>(row, start + j * groupSize);
      if (isSearched_) {
        wanted_[j] = fitAffine(groups_[j], range_.most, true);
      } else {
        const Ends ends = rangeOf(groups_[j], true);
        wanted_[j] = {(ends.high - ends.low) / range_.most, ends.low};
      }
      largest = std::max(largest, wanted_[j].scale);
      largestMinimum = std::max(largestMinimum, -wanted_[j].minimum);
    }
    scales_ = {toHalf(largest / 63), toHalf(largestMinimum / 63)};
    chooseAll(scales_, choices_);
    for (int i = 0; isSearched_ && i < 2; ++i) {
      const BlockScales next = refit();
      GroupChoice other[numGroups];
      chooseAll(next, other);
      if (totalOf(other) < totalOf(choices_)) {
        scales_ = next;
        std::copy(other, other + numGroups, choices_);
      }
    }
  }

  void pack(uint8_t* out) const {
    out = putHalf(putHalf(out, scales_.d), scales_.dmin);
    for (int j = 0; j < 4; ++j) {
      const int scale = static_cast<int>(choices_[j + 4].scale);
      const int minimum = static_cast<int>(choices_[j + 4].minimum);
      out[j] = static_cast<uint8_t>(static_cast<int>(choices_[j].scale) | ((scale >> 4) << 6));
      out[4 + j] = static_cast<uint8_t>(static_cast<int>(choices_[j].minimum) | ((minimum >> 4) << 6));
      out[8 + j] = static_cast<uint8_t>((scale & 15) | ((minimum & 15) << 4));
    }
    out += 12;
    int codes[superSize];
    for (int j = 0; j < numGroups; ++j) {
      double own[groupSize];
      codesOf(j, scales_, choices_[j], own);
      for (int i = 0; i < groupSize; ++i) codes[j * groupSize + i] = static_cast<int>(own[i]);
    }
    if (bits_ == 5) {
      for (int i = 0; i < groupSize; ++i) {
        int high = 0;
        for (int j = 0; j < numGroups; ++j) high |= (codes[j * groupSize + i] >> 4) << j;
        out[i] = static_cast<uint8_t>(high);
      }
      out += groupSize;
    }
    for (int run = 0; run < 4; ++run) {
      for (int i = 0; i < groupSize; ++i) {
        const int* from = codes + run * 64 + i;
        out[run * groupSize + i] = static_cast<uint8_t>((from[0] & 15) | ((from[groupSize] & 15) << 4));
      }
    }
  }

 private:
  void chooseAll(BlockScales scales, GroupChoice (&choices)[numGroups]) const {
    for (int j = 0; j < numGroups; ++j) choices[j] = choose(j, scales);
  }

  GroupChoice choose(int j, BlockScales scales) const {
    double scaleTries[2];
    double minimumTries[2];
    const double idealScale = scales.d == 0 ? 0 : wanted_[j].scale / scales.d;
    const double idealMinimum = scales.dmin == 0 ? 0 : -wanted_[j].minimum / scales.dmin;
    const int numScales = triesFor(idealScale, 0, 63, isSearched_, scaleTries);
    const int numMinimums = triesFor(idealMinimum, 0, 63, isSearched_, minimumTries);
    GroupChoice best{0, 0, INFINITY};
    for (int s = 0; s < numScales; ++s) {
      for (int m = 0; m < numMinimums; ++m) {
        const AffineScale scale{scales.d * scaleTries[s], -(scales.dmin * minimumTries[m])};
        const double error = affineError(groups_[j], scale, range_);
        if ((s == 0 && m == 0) || error < best.error) best = {scaleTries[s], minimumTries[m], error};
      }
    }
    return best;
  }

  void codesOf(int j, BlockScales scales, const GroupChoice& choice, double* codes) const {
    const double step = scales.d * choice.scale;
    const double inverse = step == 0 ? 0 : 1 / step;
    for (int i = 0; i < groupSize; ++i) {
      codes[i] = codeOf(groups_[j].x[i], inverse, scales.dmin * choice.minimum, range_);
    }
  }

  BlockScales refit() const {
    double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
    for (int j = 0; j < numGroups; ++j) {
      double codes[groupSize];
      codesOf(j, scales_, choices_[j], codes);
      const double minimum = choices_[j].minimum;
      for (int i = 0; i < groupSize; ++i) {
        const double a = choices_[j].scale * codes[i];
        const double x = groups_[j].x[i];
        const double w = groups_[j].w[i];
        aa += w * a * a;
        ab += w * a * minimum;
        bb += w * minimum * minimum;
        xa += w * x * a;
        xb += w * x * minimum;
      }
    }
    const double determinant = aa * bb - ab * ab;
    if (determinant > 0) {
      const double d = (xa * bb - xb * ab) / determinant;
      const double dmin = (xa * ab - xb * aa) / determinant;
      if (d > 0 && dmin >= 0) return {toHalf(d), toHalf(dmin)};
    }
    if (aa > 0 && bb == 0 && xa > 0) return {toHalf(xa / aa), scales_.dmin};
    return scales_;
  }

  const CodeRange range_;
  const bool isSearched_;
  const int bits_;
  WeightedGroup<groupSize> groups_[numGroups];
  AffineScale wanted_[numGroups];
  BlockScales scales_;
  GroupChoice choices_[numGroups];
};

/** Q6_K: sixteen groups of 16, w = d · scale · (code − 32). */
class SymmetricSuperBlock {
 public:
  static constexpr int groupSize = 16;
  static constexpr int numGroups = superSize / groupSize;

  SymmetricSuperBlock(const BlockRow& row, int64_t start) : isSearched_(row.isSearched) {
    double extreme = 0;
    for (int j = 0; j < numGroups; ++j) {
      groups_[j] = groupOf<groupSize>(row, start + j * groupSize);
      wanted_[j] = isSearched_ ? fitSymmetric(groups_[j], range) : extremeOf(groups_[j]) / range.least;
      if (std::fabs(wanted_[j]) > std::fabs(extreme)) extreme = wanted_[j];
    }
    d_ = toHalf(extreme / -128);
    chooseAll(d_, choices_);
    for (int i = 0; isSearched_ && i < 2; ++i) {
      const double next = refit();
      GroupChoice other[numGroups];
      chooseAll(next, other);
      if (totalOf(other) < totalOf(choices_)) {
        d_ = next;
        std::copy(other, other + numGroups, choices_);
      }
    }
  }

  void pack(uint8_t* out) const {
    int codes[superSize];
    for (int j = 0; j < numGroups; ++j) {
      double own[groupSize];
      codesOf(j, own);
      for (int i = 0; i < groupSize; ++i) codes[j * groupSize + i] = static_cast<int>(own[i]) + 32;
    }
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 32; ++i) {
        const int* from = codes + half * 128 + i;
        const int at[4] = {from[0], from[32], from[64], from[96]};
        out[half * 64 + i] = static_cast<uint8_t>((at[0] & 15) | ((at[2] & 15) << 4));
        out[half * 64 + 32 + i] = static_cast<uint8_t>((at[1] & 15) | ((at[3] & 15) << 4));
        out[128 + half * 32 + i] =
            static_cast<uint8_t>((at[0] >> 4) | ((at[1] >> 4) << 2) | ((at[2] >> 4) << 4) | ((at[3] >> 4) << 6));
      }
    }
    for (int j = 0; j < numGroups; ++j) out[192 + j] = static_cast<uint8_t>(static_cast<int>(choices_[j].scale));
    putHalf(out + 208, d_);
  }

 private:
  static constexpr CodeRange range{-32, 31};

  void chooseAll(double d, GroupChoice (&choices)[numGroups]) const {
    for (int j = 0; j < numGroups; ++j) {
      double tries[2];
      const int count = triesFor(d == 0 ? 0 : wanted_[j] / d, -128, 127, isSearched_, tries);
      choices[j] = {0, 0, INFINITY};
      for (int s = 0; s < count; ++s) {
        const double error = affineError(groups_[j], {d * tries[s], 0}, range);
        if (s == 0 || error < choices[j].error) choices[j] = {tries[s], 0, error};
      }
    }
  }

  void codesOf(int j, double* codes) const {
    const double step = d_ * choices_[j].scale;
    const double inverse = step == 0 ? 0 : 1 / step;
    for (int i = 0; i < groupSize; ++i) codes[i] = codeOf(groups_[j].x[i], inverse, 0, range);
  }

  double refit() const {
    double aa = 0, xa = 0;
    for (int j = 0; j < numGroups; ++j) {
      double codes[groupSize];
      codesOf(j, codes);
      for (int i = 0; i < groupSize; ++i) {
        const double a = choices_[j].scale * codes[i];
        aa += groups_[j].w[i] * a * a;
        xa += groups_[j].w[i] * groups_[j].x[i] * a;
      }
    }
    return aa > 0 && xa != 0 ? toHalf(xa / aa) : d_;
  }

  const bool isSearched_;
  WeightedGroup<groupSize> groups_[numGroups];
  double wanted_[numGroups];
  double d_;
  GroupChoice choices_[numGroups];
};

}  // namespace millrace::MILLRACE_ISA
