// The draw of one token from one row of logits.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernel_table.h"
#include "ops/sampling_changes.h"

namespace millrace {

struct DrawOptions {
  float temperature;
  int64_t topK;
  float topP;
  float minP;
  /** In [0, 1). */
  double uniform;
};

/** One thread's room for draws; reused, so that a row allocates nothing once it has grown. */
struct DrawScratch {
  std::vector<float> weights;
  std::vector<double> mass;
  std::vector<int64_t> counts;
  std::vector<int32_t> candidates;
  std::vector<int32_t> sorted;
};

/** One thread's room for sampling rows. */
struct RowScratch {
  std::vector<float> masked;
  ChangeScratch changes;
  DrawScratch draw;

  /** Takes all memory that rows of `vocab` logits may need, so that the loop over rows allocates nothing. */
  void reserve(int64_t vocab, int64_t mostChanges);
};

/**
 * The token that SamplingBatch's rule draws from `logits`, whose highest value is `max` (finite, or infinite).
 *
 * Instead of sorting the vocabulary, tokens are counted into bins of falling logit; only the bins in which top-k,
 * top-p or the draw end are sorted.
 */
int64_t drawToken(const KernelTable& kernels, const float* logits, int64_t count, float max,
                  const DrawOptions& options, DrawScratch& scratch);

}  // namespace millrace
