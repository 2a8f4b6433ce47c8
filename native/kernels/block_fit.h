// Scales of one group of weights. All arithmetic is in f64, without fused operations, and every sum runs over eight lanes,
// so that the bits are those of any instruction set and of src/kernels/reference/block-fit.ts, whose functions these are.
#pragma once

#include <cmath>

namespace millrace::MILLRACE_ISA {

/** Weights and what an error in each counts. */
template <int size>
struct WeightedGroup {
  double x[size];
  double w[size];
};

struct AffineScale {
  double scale;
  double minimum;
};

struct CodeRange {
  double least;
  double most;
};

/** Some integers, rising, in place of all in a range. */
struct LevelRange {
  static constexpr int numLevels = 16;

  explicit LevelRange(const int8_t* from) : least(from[0]), most(from[numLevels - 1]) {
    for (int i = 0; i < numLevels; ++i) {
      levels[i] = from[i];
      bounds[i] = i == 0 ? -INFINITY : from[i - 1] + from[i];
    }
  }

  double least;
  double most;
  double levels[numLevels];
  /** Twice the least that is rounded to each. */
  double bounds[numLevels];
};

struct Ends {
  double low;
  double high;
};

template <int count, class Term>
inline double laneSum(Term&& term) {
  constexpr int lanes = 8;
  double sums[lanes] = {};
  for (int first = 0; first < count; first += lanes) {
    for (int lane = 0; lane < lanes; ++lane) sums[lane] += term(first + lane);
  }
  return sums[0] + sums[4] + (sums[2] + sums[6]) + (sums[1] + sums[5] + (sums[3] + sums[7]));
}

/** To the nearest integer, ties to even, for |x| < 2^51. */
inline double roundHalfEven(double x) {
  constexpr double shift = 1.5 * 4503599627370496.0;
  return x + shift - shift;
}

inline double codeOf(double x, double inverse, double offset, CodeRange range) {
  const double code = roundHalfEven((x + offset) * inverse);
  return code < range.least ? range.least : code > range.most ? range.most : code;
}

/** The integers nearest to (x + offset) / scale. */
template <int size>
inline void codesOf(const WeightedGroup<size>& group, double inverse, double offset, const CodeRange& range,
                    double (&codes)[size]) {
  for (int i = 0; i < size; ++i) codes[i] = codeOf(group.x[i], inverse, offset, range);
}

/** Level by level, so that compilers compare a vector of values with each. */
template <int size>
inline void codesOf(const WeightedGroup<size>& group, double inverse, double offset, const LevelRange& range,
                    double (&codes)[size]) {
  double twice[size];
  for (int i = 0; i < size; ++i) {
    twice[i] = 2 * ((group.x[i] + offset) * inverse);
    codes[i] = range.least;
  }
  for (int level = 1; level < LevelRange::numLevels; ++level) {
    const double bound = range.bounds[level];
    const double value = range.levels[level];
    for (int i = 0; i < size; ++i) codes[i] = twice[i] >= bound ? value : codes[i];
  }
}

template <int size, class Range>
double affineError(const WeightedGroup<size>& group, AffineScale to, const Range& range) {
  const double inverse = to.scale == 0 ? 0 : 1 / to.scale;
  double codes[size];
  codesOf(group, inverse, -to.minimum, range, codes);
  double errors[size];
  for (int i = 0; i < size; ++i) {
    const double error = group.x[i] - to.scale * codes[i] - to.minimum;
    errors[i] = group.w[i] * (error * error);
  }
  return laneSum<size>([&](int i) { return errors[i]; });
}

template <int size>
Ends rangeOf(const WeightedGroup<size>& group, bool reachesZero) {
  Ends ends{reachesZero ? 0 : group.x[0], reachesZero ? 0 : group.x[0]};
  for (double value : group.x) {
    ends.low = value < ends.low ? value : ends.low;
    ends.high = value > ends.high ? value : ends.high;
  }
  return ends;
}

template <int size>
double extremeOf(const WeightedGroup<size>& group) {
  double extreme = 0;
  for (double value : group.x) {
    if (std::fabs(value) > std::fabs(extreme)) extreme = value;
  }
  return extreme;
}

/** One scale after another, each the best for its codes, and the best of them so far. */
template <int size>
class AffineFit {
 public:
  AffineFit(const WeightedGroup<size>& group, double most, bool reachesZero, AffineScale plain)
      : group_(group), range_{0, most}, reachesZero_(reachesZero), best_(plain) {
    sumW_ = laneSum<size>([&](int i) { return group.w[i]; });
    sumX_ = laneSum<size>([&](int i) { return group.w[i] * group.x[i]; });
  }

  AffineScale tryCodes(double inverse, double minimum) {
    double weighted[size];
    double squares[size];
    double products[size];
    for (int i = 0; i < size; ++i) {
      const double code = codeOf(group_.x[i], inverse, -minimum, range_);
      weighted[i] = group_.w[i] * code;
      squares[i] = weighted[i] * code;
      products[i] = weighted[i] * group_.x[i];
    }
    const double sumQ = laneSum<size>([&](int i) { return weighted[i]; });
    const double sumQq = laneSum<size>([&](int i) { return squares[i]; });
    const double sumXq = laneSum<size>([&](int i) { return products[i]; });
    const double determinant = sumW_ * sumQq - sumQ * sumQ;
    if (!(determinant > 0)) return {1 / inverse, minimum};
    AffineScale fitted{(sumW_ * sumXq - sumX_ * sumQ) / determinant, (sumQq * sumX_ - sumQ * sumXq) / determinant};
    if (reachesZero_ && fitted.minimum > 0) fitted = {sumXq / sumQq, 0};
    const double gain = fitted.scale * sumXq + fitted.minimum * sumX_;
    if (gain > bestGain_ && fitted.scale > 0) {
      bestGain_ = gain;
      best_ = fitted;
    }
    return fitted;
  }

  AffineScale best() const { return best_; }

 private:
  const WeightedGroup<size>& group_;
  const CodeRange range_;
  const bool reachesZero_;
  AffineScale best_;
  double bestGain_ = -INFINITY;
  double sumW_;
  double sumX_;
};

inline constexpr int numRefinements = 2;

template <int size>
AffineScale fitAffine(const WeightedGroup<size>& group, double most, bool reachesZero) {
  constexpr int numTries = 21;
  const Ends ends = rangeOf(group, reachesZero);
  if (ends.low == ends.high) return {0, ends.low};
  AffineFit<size> fit(group, most, reachesZero, {(ends.high - ends.low) / most, ends.low});
  for (int i = 0; i < numTries; ++i) fit.tryCodes((most + -1.0 + 0.1 * i) / (ends.high - ends.low), ends.low);
  AffineScale from = fit.best();
  for (int i = 0; i < numRefinements; ++i) {
    from = fit.tryCodes(1 / from.scale, from.minimum);
    if (!(from.scale > 0)) break;
  }
  return fit.best();
}

template <int size, class Range>
class SymmetricFit {
 public:
  SymmetricFit(const WeightedGroup<size>& group, const Range& range, double plain)
      : group_(group), range_(range), best_(plain) {}

  double tryCodes(double inverse) {
    double codes[size];
    codesOf(group_, inverse, 0, range_, codes);
    double squares[size];
    double products[size];
    for (int i = 0; i < size; ++i) {
      const double weighted = group_.w[i] * codes[i];
      squares[i] = weighted * codes[i];
      products[i] = weighted * group_.x[i];
    }
    const double sumQq = laneSum<size>([&](int i) { return squares[i]; });
    const double sumXq = laneSum<size>([&](int i) { return products[i]; });
    if (!(sumQq > 0)) return 1 / inverse;
    const double fitted = sumXq / sumQq;
    const double gain = fitted * sumXq;
    if (gain > bestGain_) {
      bestGain_ = gain;
      best_ = fitted;
    }
    return fitted;
  }

  double best() const { return best_; }

 private:
  const WeightedGroup<size>& group_;
  const Range& range_;
  double best_;
  double bestGain_ = -INFINITY;
};

/** Factors that a symmetric scale is tried with, from the first on. */
struct Tries {
  double first;
  double step;
};

constexpr Tries symmetricTries(const CodeRange& range) {
  if (range.most > 100) return {0.96, 0.01};
  return range.most > 20 ? Tries{0.91, 0.015} : range.most > 10 ? Tries{0.88, 0.03} : Tries{0.88, 0.05};
}

constexpr Tries symmetricTries(const LevelRange&) { return {0.88, 0.05}; }

template <int size, class Range>
double fitSymmetric(const WeightedGroup<size>& group, const Range& range) {
  constexpr int numTries = 13;
  const double extreme = extremeOf(group);
  if (extreme == 0) return 0;
  SymmetricFit<size, Range> fit(group, range, extreme / range.least);
  const auto [first, step] = symmetricTries(range);
  for (int i = 0; i < numTries; ++i) {
    const double factor = first + step * i;
    fit.tryCodes((range.least / extreme) * factor);
    fit.tryCodes((range.most / extreme) * factor);
  }
  double from = fit.best();
  for (int i = 0; i < numRefinements && from != 0; ++i) from = fit.tryCodes(1 / from);
  return fit.best();
}

}  // namespace millrace::MILLRACE_ISA
