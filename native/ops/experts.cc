// Mixture of experts: which tokens go to which expert, and their results back.
#include <algorithm>

#include "ops/context.h"

namespace millrace {

void Context::moeRoute(int64_t logits, const RoutingColumns& routing) {
  const float* values = floats(logits, "routing takes f32");
  const int64_t numTokens = tensor(logits).rows;
  const int64_t numExperts = tensor(logits).cols;
  const int64_t topK = routing.topK;
  check(topK >= 1 && topK <= numExperts, "a token goes to more experts than there are");
  const Arena::Mark mark = arena_.mark();
  int32_t* chosen = arena_.allocateArray<int32_t>(numTokens * topK);
  float* weights = arena_.allocateArray<float>(numTokens * topK);
  float* scratch = arena_.allocateArray<float>(pool_->size() * numExperts);
  constexpr int64_t tokensPerTile = 16;
  pool_->parallelFor((numTokens + tokensPerTile - 1) / tokensPerTile, [&](int64_t tile, int thread) {
    const int64_t end = std::min(numTokens, (tile + 1) * tokensPerTile);
    for (int64_t t = tile * tokensPerTile; t < end; ++t) {
      const float* row = values + t * numExperts;
      float* own = weights + t * topK;
      float* shares = scratch + thread * numExperts;
      kernels_.topN(row, numExperts, topK, chosen + t * topK, shares);
      const float highest = shares[0];
      double total = kernels_.weighRow(shares, highest, 1.0f, 0.0f, own, topK);
      if (!routing.normalize) total = kernels_.weighRow(row, highest, 1.0f, 0.0f, shares, numExperts);
      for (int64_t i = 0; i < topK; ++i) own[i] = static_cast<float>(own[i] / total);
    }
  });
  // Sorted by expert, tokens of one in their order.
  std::fill(routing.starts, routing.starts + numExperts + 1, 0);
  for (int64_t i = 0; i < numTokens * topK; ++i) routing.starts[chosen[i] + 1] += 1;
  for (int64_t e = 0; e < numExperts; ++e) routing.starts[e + 1] += routing.starts[e];
  int32_t* next = arena_.allocateArray<int32_t>(numExperts);
  std::copy(routing.starts, routing.starts + numExperts, next);
  for (int64_t i = 0; i < numTokens * topK; ++i) {
    const int32_t place = next[chosen[i]]++;
    routing.rows[place] = static_cast<int32_t>(i / topK);
    routing.weights[place] = weights[i];
  }
  arena_.release(mark);
}

void Context::addRows(int64_t x, int64_t y, const int32_t* indices, const float* weights, int64_t count) {
  float* into = floats(x, "a sum takes f32");
  const float* from = floats(y, "a sum takes f32");
  const int64_t cols = tensor(x).cols;
  check(tensor(y).cols == cols && tensor(y).rows >= count, "tensors that are added have the same width");
  for (int64_t i = 0; i < count; ++i) {
    check(indices[i] >= 0 && indices[i] < tensor(x).rows, "a row that is added to does not exist");
    check(i == 0 || indices[i] > indices[i - 1], "rows that are added to do not ascend");
  }
  constexpr int64_t rowsPerTile = 8;
  pool_->parallelFor((count + rowsPerTile - 1) / rowsPerTile, [&](int64_t tile, int) {
    for (int64_t i = tile * rowsPerTile; i < std::min(count, (tile + 1) * rowsPerTile); ++i) {
      kernels_.addScaledRow(into + indices[i] * cols, from + i * cols, weights[i], cols);
    }
  });
}

}  // namespace millrace
