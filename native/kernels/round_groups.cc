// Rows to integers with scales of their groups, in the arithmetic and order of src/kernels/reference: round-to-nearest.ts
// and scale-search.ts. Plain rounding is in f32, the search in f64 without fused operations: the bits are those of any
// instruction set.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/rows.h"

namespace millrace::MILLRACE_ISA {

namespace {

/** Candidates of the search that are judged at a time. */
constexpr int width = 4;
typedef double Four __attribute__((vector_size(width * sizeof(double))));

struct GroupScale {
  uint16_t bits;
  int zero;
};

uint32_t wordOf(float x) {
  uint32_t word;
  std::memcpy(&word, &x, sizeof word);
  return word;
}

float widen(uint16_t bits) {
  const uint32_t word = static_cast<uint32_t>(bits) << 16;
  float x;
  std::memcpy(&x, &word, sizeof x);
  return x;
}

/** Of finite numbers and infinities, half to even. */
uint16_t narrow(float x) {
  const uint32_t word = wordOf(x);
  return static_cast<uint16_t>((word + 0x7fff + ((word >> 16) & 1)) >> 16);
}

float toBf16(float x) { return widen(narrow(x)); }

/** A scale that becomes 0 gets that of a group of zeros, 2^-7. */
uint16_t scaleBits(float scale) {
  const uint16_t bits = narrow(scale);
  return (bits & 0x7fff) == 0 ? 0x3c00 : bits;
}

/** To the nearest integer, ties to even, for |x| < 2^22. */
float nearest(float x) {
  constexpr float shift = 1.5f * 8388608.0f;
  return x + shift - shift;
}

double nearestWhole(double x) {
  constexpr double shift = 1.5 * 4503599627370496.0;
  return x + shift - shift;
}

/** Ties upwards, as JavaScript's Math.round. */
double nearestUpwards(double x) {
  const double below = std::floor(x);
  return x - below >= 0.5 ? below + 1 : below;
}

template <class T>
T clampTo(T x, T least, T most) {
  return x < least ? least : x > most ? most : x;
}

float largestOf(const float* x, int64_t count) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, wordOf(x[i]) & 0x7fffffffu);
  float size;
  std::memcpy(&size, &largest, sizeof size);
  return size;
}

GroupScale plainScale(const float* x, const GroupGrid& grid) {
  const float most = static_cast<float>((1 << (grid.bits - 1)) - 1);
  const float least = -most - 1;
  if (grid.isSymmetric) return {scaleBits(largestOf(x, grid.groupSize) / (most + 0.5f)), 0};
  float low = 0;
  float high = 0;
  for (int64_t i = 0; i < grid.groupSize; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  const auto step = [&](float value) { return grid.roundsSteps ? toBf16(value) : value; };
  const uint16_t bits = scaleBits(step(step(high - low) / (most - least)));
  const float zero = step(least - step(low / widen(bits)));
  return {bits, static_cast<int>(nearest(clampTo(zero, least, most)))};
}

template <bool roundsSteps>
void writePlainCodes(const float* x, const GroupGrid& grid, GroupScale to, int8_t* codes) {
  const float most = static_cast<float>((1 << (grid.bits - 1)) - 1);
  const float least = -most - 1;
  const float scale = widen(to.bits);
  const float zero = static_cast<float>(to.zero);
  for (int64_t i = 0; i < grid.groupSize; ++i) {
    float quotient = x[i] / scale;
    if (roundsSteps) quotient = toBf16(quotient);
    quotient += zero;
    if (roundsSteps) quotient = toBf16(quotient);
    codes[i] = static_cast<int8_t>(static_cast<int>(nearest(clampTo(quotient, least, most))));
  }
}

/** A scale to try and the zero point that goes with it. */
struct Candidate {
  double scale;
  double zero;
};

/** What the best scale for a candidate's codes is, and what it takes away from the sum of squares. */
struct Fit {
  double fitted;
  double gain;
};

/** The search within one group; its memory is used for all groups of a thread. */
class GroupSearch {
 public:
  void begin(const float* x, const float* importance, const GroupGrid& grid) {
    const size_t size = static_cast<size_t>(grid.groupSize);
    x_.resize(size);
    weights_.resize(size);
    for (size_t i = 0; i < size; ++i) x_[i] = x[i];
    for (size_t i = 0; i < size; ++i) weights_[i] = importance == nullptr ? 1.0 : importance[i];
    most_ = (1 << (grid.bits - 1)) - 1;
    least_ = -most_ - 1;
    bits_ = grid.bits;
    error_ = INFINITY;
    best_ = {0, 0};
  }

  /** Takes a scale and a zero point if their error is the least so far. */
  void keep(uint16_t scale, double zero) {
    const double step = widen(scale);
    double error = 0;
    for (size_t i = 0; i < x_.size(); ++i) {
      const double code = clampTo(nearestWhole(x_[i] / step), least_ - zero, most_ - zero);
      const double left = x_[i] - code * step;
      error += weights_[i] * left * left;
    }
    if (error >= error_) return;
    error_ = error;
    best_ = {scale, static_cast<int>(zero)};
  }

  void trySymmetric() {
    double extreme = 0;
    for (double value : x_) {
      if (std::fabs(value) > std::fabs(extreme)) extreme = value;
    }
    if (extreme == 0) return;
    count_ = 0;
    const Shrinks shrinks = shrinksOf(bits_);
    for (int i = 0; i < shrinks.count; ++i) {
      const double shrink = shrinks.at(i);
      add({(extreme / least_) * shrink, 0});
      add({(extreme / most_) * shrink, 0});
    }
    refine(bestCandidate());
  }

  void tryZeroPoints() {
    double low = 0;
    double high = 0;
    for (double value : x_) {
      low = value < low ? value : low;
      high = value > high ? value : high;
    }
    if (low == high) return;
    count_ = 0;
    const Shrinks shrinks = shrinksOf(bits_);
    const double step = (high - low) / (most_ - least_);
    const double middle = nearestUpwards(least_ - low / step);
    for (double zero = middle - 1; zero <= middle + 1; zero += 1) {
      if (zero < least_ || zero > most_) continue;
      for (int i = 0; i < shrinks.count; ++i) add({step * shrinks.at(i), zero});
    }
    refine(bestCandidate());
  }

  GroupScale best() const { return best_; }

  void writeCodes(int8_t* codes) const {
    const double scale = widen(best_.bits);
    for (size_t i = 0; i < x_.size(); ++i) {
      codes[i] = static_cast<int8_t>(clampTo(nearestWhole(x_[i] / scale) + best_.zero, least_, most_));
    }
  }

 private:
  /** Multiples of the scale that maps the largest weight to the end of the range. */
  struct Shrinks {
    double least;
    double most;
    int count;
    double at(int i) const { return least + ((most - least) * i) / (count - 1); }
  };

  static Shrinks shrinksOf(int bits) {
    if (bits == 8) return {0.9, 1.02, 9};
    if (bits == 4) return {0.6, 1.1, 16};
    return bits == 3 ? Shrinks{0.5, 1.2, 18} : Shrinks{0.35, 1.3, 20};
  }

  void add(Candidate candidate) { candidates_[count_++] = candidate; }

  /** The first of the greatest gain, with its scale fitted. */
  Candidate bestCandidate() {
    const int whole = (count_ + width - 1) / width * width;
    for (int i = count_; i < whole; ++i) candidates_[i] = candidates_[count_ - 1];
    Candidate best{0, 0};
    double bestGain = -1;
    for (int first = 0; first < whole; first += width) {
      Fit fits[width];
      fitFour(candidates_ + first, fits);
      for (int i = 0; i < width; ++i) {
        if (fits[i].gain <= bestGain) continue;
        bestGain = fits[i].gain;
        best = {fits[i].fitted, candidates_[first + i].zero};
      }
    }
    return best;
  }

  void fitFour(const Candidate* tried, Fit* fits) const {
    constexpr double shift = 1.5 * 4503599627370496.0;
    Four inverse, least, most;
    for (int lane = 0; lane < width; ++lane) {
      inverse[lane] = 1 / tried[lane].scale;
      least[lane] = least_ - tried[lane].zero;
      most[lane] = most_ - tried[lane].zero;
    }
    Four products{};
    Four squares{};
    for (size_t i = 0; i < x_.size(); ++i) {
      const Four rounded = x_[i] * inverse + shift - shift;
      const Four code = rounded < least ? least : rounded > most ? most : rounded;
      const Four weighted = weights_[i] * code;
      products += weighted * x_[i];
      squares += weighted * code;
    }
    for (int lane = 0; lane < width; ++lane) {
      const double product = products[lane];
      const double square = squares[lane];
      fits[lane] = square == 0 ? Fit{tried[lane].scale, 0} : Fit{product / square, (product * product) / square};
    }
  }

  /** Rounding with the fitted scale moves codes, which moves the fitted scale: twice is enough. */
  void refine(Candidate from) {
    for (int turn = 0; turn < 2; ++turn) {
      const uint16_t bits = scaleBits(static_cast<float>(from.scale));
      keep(bits, from.zero);
      const Candidate tried[width] = {{widen(bits), from.zero}, {1, 0}, {1, 0}, {1, 0}};
      Fit fits[width];
      fitFour(tried, fits);
      from.scale = fits[0].fitted;
    }
  }

  std::vector<double> x_;
  std::vector<double> weights_;
  double least_ = 0;
  double most_ = 0;
  int bits_ = 0;
  double error_ = 0;
  GroupScale best_{0, 0};
  Candidate candidates_[64];
  int count_ = 0;
};

GroupScale searchGroup(GroupSearch& search, const float* x, const float* importance, const GroupGrid& grid) {
  search.begin(x, importance, grid);
  GroupGrid plain = grid;
  plain.roundsSteps = false;
  const GroupScale from = plainScale(x, plain);
  search.keep(from.bits, from.zero);
  if (grid.isSymmetric) {
    search.trySymmetric();
  } else {
    search.tryZeroPoints();
  }
  return search.best();
}

}  // namespace

void roundGroupRow(const GroupRow& row, const GroupGrid& grid) {
  thread_local GroupSearch search;
  for (int64_t group = 0; group < grid.cols / grid.groupSize; ++group) {
    const int64_t start = group * grid.groupSize;
    const float* x = row.x + start;
    int8_t* codes = row.codes + start;
    GroupScale scale;
    if (grid.isSearched) {
      scale = searchGroup(search, x, row.importance == nullptr ? nullptr : row.importance + start, grid);
      search.writeCodes(codes);
    } else {
      scale = plainScale(x, grid);
      (grid.roundsSteps ? writePlainCodes<true> : writePlainCodes<false>)(x, grid, scale, codes);
    }
    row.scales[group] = scale.bits;
    if (row.zeros != nullptr) row.zeros[group] = static_cast<int8_t>(scale.zero);
  }
}

/** What the integers of a row stand for; both zeros count as one. */
void readGroupRow(const GroupRow& row, const GroupGrid& grid, float* values) {
  for (int64_t group = 0; group < grid.cols / grid.groupSize; ++group) {
    const float scale = widen(row.scales[group]);
    const int zero = row.zeros == nullptr ? 0 : row.zeros[group];
    const int64_t start = group * grid.groupSize;
    for (int64_t i = start; i < start + grid.groupSize; ++i) {
      values[i] = static_cast<float>(row.codes[i] - zero) * scale + 0.0f;
    }
  }
}

/** Sums of (wanted - written)^2 and of wanted^2 over eight lanes each. */
void squaredErrorOfRow(const float* wanted, const float* written, int64_t cols, double* sums) {
  constexpr int lanes = 8;
  double errors[lanes] = {};
  double squares[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= cols; i += lanes) {
    for (int lane = 0; lane < lanes; ++lane) {
      const double value = wanted[i + lane];
      const double error = value - written[i + lane];
      errors[lane] += error * error;
      squares[lane] += value * value;
    }
  }
  for (int lane = 0; i < cols; ++i, ++lane) {
    const double value = wanted[i];
    const double error = value - written[i];
    errors[lane] += error * error;
    squares[lane] += value * value;
  }
  for (int lane = 1; lane < lanes; ++lane) {
    errors[0] += errors[lane];
    squares[0] += squares[lane];
  }
  sums[0] = errors[0];
  sums[1] = squares[0];
}

}  // namespace millrace::MILLRACE_ISA
