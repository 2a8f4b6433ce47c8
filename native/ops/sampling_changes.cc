#include "ops/sampling_changes.h"

#include <algorithm>
#include <limits>

#include "ops/context.h"

namespace millrace {

namespace {

constexpr float largest = std::numeric_limits<float>::max();

struct Penalties {
  float repetition;
  float frequency;
  float presence;

  bool changeNothing() const { return repetition == 1.0f && frequency == 0.0f && presence == 0.0f; }

  /** The rule of SamplingBatch: each step is one rounded operation, and a finite logit stays finite. */
  float apply(float logit, int32_t count) const {
    float x = logit;
    if (repetition != 1.0f) x = x > 0.0f ? x / repetition : x * repetition;
    if (count > 0) {
      x = x - frequency * static_cast<float>(count);
      x = x - presence;
    }
    return logit >= -largest && logit <= largest ? std::min(std::max(x, -largest), largest) : x;
  }
};

struct HistoryRange {
  int32_t begin;
  int32_t end;
  int32_t draftEnd;
};

HistoryRange rangeOf(const SamplingColumns& c, int64_t row) {
  const int32_t* range = c.historyRanges + 3 * row;
  return {range[0], range[1], range[2]};
}

void keep(const float* logits, int32_t id, ChangeScratch& scratch) { scratch.saved.push_back({id, logits[id]}); }

/** Drafts first, from logits that no penalty has touched, then the history, then the drafts in their place. */
void penalise(const SamplingColumns& c, const Penalties& penalties, const HistoryRange& range, float* logits,
              ChangeScratch& scratch) {
  scratch.drafted.clear();
  for (int32_t i = range.end; i < range.draftEnd; ++i) {
    scratch.drafted.push_back(penalties.apply(logits[c.historyIds[i]], c.historyCounts[i]));
  }
  for (int32_t i = range.begin; i < range.end; ++i) {
    const int32_t id = c.historyIds[i];
    keep(logits, id, scratch);
    logits[id] = penalties.apply(logits[id], c.historyCounts[i]);
  }
  for (int32_t i = range.end; i < range.draftEnd; ++i) {
    const int32_t id = c.historyIds[i];
    keep(logits, id, scratch);
    logits[id] = scratch.drafted[static_cast<size_t>(i - range.end)];
  }
}

}  // namespace

int64_t checkChanges(const SamplingColumns& c, int64_t vocab) {
  const auto isToken = [vocab](int32_t id) { return id >= 0 && id < vocab; };
  int64_t most = 0;
  int32_t checked = 0;
  check(c.biasStarts[0] >= 0, "a range of biases begins below 0");
  for (int64_t row = 0; row < c.numRows; ++row) {
    check(c.biasStarts[row] <= c.biasStarts[row + 1], "a range of biases ends before it begins");
    for (int32_t i = c.biasStarts[row]; i < c.biasStarts[row + 1]; ++i) {
      check(isToken(c.biasIds[i]), "a biased token is outside the vocabulary");
    }
    const HistoryRange range = rangeOf(c, row);
    const bool isInside = range.begin >= 0 && range.begin <= range.end && range.end <= range.draftEnd &&
                          range.draftEnd <= c.numHistory;
    check(isInside, "a history lies outside its array");
    // Rows of one sequence share its history.
    for (int32_t i = std::max(checked, range.begin); i < range.draftEnd; ++i) {
      check(isToken(c.historyIds[i]), "a token of a history is outside the vocabulary");
    }
    checked = std::max(checked, range.draftEnd);
    check(c.maskRows[row] >= -1 && c.maskRows[row] < c.numMasks, "a row has no such mask");
    most = std::max<int64_t>(most, c.biasStarts[row + 1] - c.biasStarts[row] + range.draftEnd - range.begin);
  }
  return most;
}

bool applyChanges(const SamplingColumns& c, int64_t row, float* logits, ChangeScratch& scratch) {
  scratch.saved.clear();
  for (int32_t i = c.biasStarts[row]; i < c.biasStarts[row + 1]; ++i) {
    const int32_t id = c.biasIds[i];
    keep(logits, id, scratch);
    logits[id] += c.biasValues[i];
  }
  const Penalties penalties{c.penalties[3 * row], c.penalties[3 * row + 1], c.penalties[3 * row + 2]};
  if (!penalties.changeNothing()) penalise(c, penalties, rangeOf(c, row), logits, scratch);
  return !scratch.saved.empty();
}

void revertChanges(float* logits, ChangeScratch& scratch) {
  for (size_t i = scratch.saved.size(); i > 0; --i) logits[scratch.saved[i - 1].id] = scratch.saved[i - 1].value;
  scratch.saved.clear();
}

}  // namespace millrace
