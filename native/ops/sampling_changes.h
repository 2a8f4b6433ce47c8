// What a request changes in a row of logits before the draw: biases, bans, penalties.
#pragma once

#include <cstdint>
#include <vector>

namespace millrace {

struct SamplingColumns;

/** A logit as it was before a change. */
struct SavedLogit {
  int32_t id;
  float value;
};

/** One thread's room for the changes of one row. */
struct ChangeScratch {
  std::vector<SavedLogit> saved;
  std::vector<float> drafted;
};

/** Most logits that any row of the batch changes; checks every id and range, so that the loop over rows need not. */
int64_t checkChanges(const SamplingColumns& columns, int64_t vocab);

/** Changes row `row` of the batch in place, few logits of many, and keeps what stood there; false if none changed. */
bool applyChanges(const SamplingColumns& columns, int64_t row, float* logits, ChangeScratch& scratch);

/** Puts back what `applyChanges` kept. */
void revertChanges(float* logits, ChangeScratch& scratch);

}  // namespace millrace
