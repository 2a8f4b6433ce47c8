#include "ops/draw.h"

#include <algorithm>

namespace millrace {

namespace {

// Bins of 1/32 nat below the highest logit; the last one takes the rest.
constexpr int64_t numBins = 4096;
constexpr float binsPerNat = 32.0f;
// Tokens are binned down to the first of these weights, and further only when the draw reaches further: most of a
// vocabulary weighs next to nothing. The last one stands for every token that weighs anything.
constexpr float leastWeights[] = {0x1p-6f, 0x1p-10f, 0x1p-16f, 0x1p-126f};

/** How far candidates reach: whole bins before `bin`, then the first `place` of its sorted tokens. */
struct Limit {
  int64_t bin = numBins;
  int64_t place = 0;
  double mass = 0;
};

class Row {
 public:
  Row(const KernelTable& kernels, const float* logits, int64_t count, float max, float inverse, DrawScratch& scratch)
      : kernels_(kernels), logits_(logits), count_(count), max_(max), inverse_(inverse), scratch_(scratch) {}

  /** Counts and weighs the tokens of at least `least`. */
  void fill(float least) {
    sortedBin_ = -1;
    scratch_.mass.assign(numBins, 0.0);
    scratch_.counts.assign(numBins, 0);
    numCandidates_ = kernels_.collectAtLeast(scratch_.weights.data(), count_, least, scratch_.candidates.data());
    for (int64_t i = 0; i < numCandidates_; ++i) {
      const int32_t token = scratch_.candidates[static_cast<size_t>(i)];
      const size_t bin = static_cast<size_t>(binOf(token));
      scratch_.mass[bin] += weight(token);
      ++scratch_.counts[bin];
    }
  }

  /** Tokens of a bin by falling logit, ties to the lowest id. */
  const std::vector<int32_t>& sortedBin(int64_t bin) {
    if (bin == sortedBin_) return scratch_.sorted;
    scratch_.sorted.clear();
    for (int64_t i = 0; i < numCandidates_; ++i) {
      const int32_t token = scratch_.candidates[static_cast<size_t>(i)];
      if (binOf(token) == bin) scratch_.sorted.push_back(token);
    }
    std::sort(scratch_.sorted.begin(), scratch_.sorted.end(), [this](int32_t a, int32_t b) {
      return logits_[a] > logits_[b] || (logits_[a] == logits_[b] && a < b);
    });
    sortedBin_ = bin;
    return scratch_.sorted;
  }

  double weight(int64_t token) const { return static_cast<double>(scratch_.weights[static_cast<size_t>(token)]); }
  double binMass(int64_t bin) const { return scratch_.mass[static_cast<size_t>(bin)]; }
  int64_t binCount(int64_t bin) const { return scratch_.counts[static_cast<size_t>(bin)]; }

  /** The first `topK` candidates; false if fewer are binned. */
  bool limitCount(int64_t topK, Limit& limit) {
    int64_t seen = 0;
    double mass = 0;
    for (int64_t bin = 0; bin < numBins; ++bin) {
      if (seen + binCount(bin) >= topK) {
        const std::vector<int32_t>& tokens = sortedBin(bin);
        limit = {bin, topK - seen, mass};
        for (int64_t i = 0; i < limit.place; ++i) limit.mass += weight(tokens[static_cast<size_t>(i)]);
        return true;
      }
      seen += binCount(bin);
      mass += binMass(bin);
    }
    return false;
  }

  /** First place within `bound` at which the mass reaches (or with `beyond` exceeds) `target`; -1 if none does. */
  int64_t reach(double target, bool beyond, const Limit& bound, Limit& found) {
    const auto passes = [&](double mass) { return beyond ? mass > target : mass >= target; };
    double mass = 0;
    int64_t last = -1;
    for (int64_t bin = 0; bin < numBins && bin <= bound.bin; ++bin) {
      if (binCount(bin) == 0) continue;
      if (bin < bound.bin && !passes(mass + binMass(bin))) {
        mass += binMass(bin);
        continue;
      }
      const std::vector<int32_t>& tokens = sortedBin(bin);
      const int64_t end = bin < bound.bin ? static_cast<int64_t>(tokens.size()) : bound.place;
      for (int64_t i = 0; i < end; ++i) {
        last = tokens[static_cast<size_t>(i)];
        mass += weight(last);
        found = {bin, i + 1, mass};
        if (passes(mass)) return last;
      }
    }
    return -1;
  }

  /** The lightest candidate within the bound: where rounding left the target just above the whole mass. */
  int64_t lightest(const Limit& bound) {
    for (int64_t bin = std::min(bound.bin, numBins - 1); bin >= 0; --bin) {
      if (binCount(bin) == 0) continue;
      const std::vector<int32_t>& tokens = sortedBin(bin);
      const int64_t end = bin < bound.bin ? static_cast<int64_t>(tokens.size()) : bound.place;
      if (end > 0) return tokens[static_cast<size_t>(end - 1)];
    }
    return -1;
  }

 private:
  int64_t binOf(int64_t token) const {
    const float distance = (max_ - logits_[token]) * inverse_ * binsPerNat;
    return distance < static_cast<float>(numBins - 1) ? static_cast<int64_t>(distance) : numBins - 1;
  }

  const KernelTable& kernels_;
  const float* logits_;
  int64_t count_;
  float max_;
  float inverse_;
  DrawScratch& scratch_;
  int64_t numCandidates_ = 0;
  int64_t sortedBin_ = -1;
};

/** The token, or -1 where the binned tokens do not decide it. `total` is the mass of all candidates before top-k. */
int64_t decide(Row& row, const DrawOptions& options, double total, bool allBinned) {
  Limit bound;
  bound.mass = total;
  if (options.topK > 0 && !row.limitCount(options.topK, bound) && !allBinned) return -1;
  if (options.topP < 1.0f) {
    Limit nucleus;
    const double target = static_cast<double>(options.topP) * bound.mass;
    if (row.reach(target, false, bound, nucleus) >= 0) bound = nucleus;
    else if (!allBinned) return -1;
  }
  Limit found;
  const int64_t token = row.reach(options.uniform * bound.mass, true, bound, found);
  return token >= 0 || !allBinned ? token : row.lightest(bound);
}

}  // namespace

void RowScratch::reserve(int64_t vocab, int64_t mostChanges) {
  changes.saved.reserve(static_cast<size_t>(mostChanges));
  changes.drafted.reserve(static_cast<size_t>(mostChanges));
  const size_t size = static_cast<size_t>(vocab);
  if (draw.weights.size() >= size) return;
  masked.resize(size);
  draw.weights.resize(size);
  draw.mass.reserve(numBins);
  draw.counts.reserve(numBins);
  draw.candidates.resize(size);
  draw.sorted.reserve(size);
}

int64_t drawToken(const KernelTable& kernels, const float* logits, int64_t count, float max,
                  const DrawOptions& options, DrawScratch& scratch) {
  const float inverse = 1.0f / options.temperature;
  const double total = kernels.weighRow(logits, max, inverse, options.minP, scratch.weights.data(), count);
  Row row(kernels, logits, count, max, inverse, scratch);
  for (const float least : leastWeights) {
    const bool isAll = options.minP >= least || least == leastWeights[3];
    row.fill(std::max(options.minP, least));
    const int64_t token = decide(row, options, total, isAll);
    if (token >= 0 || isAll) return token;
  }
  return -1;
}

}  // namespace millrace
