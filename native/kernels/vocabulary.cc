// Kernels over a row of logits.
#include <algorithm>
#include <limits>

#include "kernels/rows.h"
#include "vector/v16.h"

namespace millrace::MILLRACE_ISA {

namespace {

constexpr float minusInfinity = -std::numeric_limits<float>::infinity();

MILLRACE_INLINE V16 loadOr(const float* from, int64_t count, V16 fill) {
  return count >= 16 ? load(from) : keepRange(loadFirst(from, count), 0, static_cast<int>(count), fill);
}

/** Lowest index of an element equal to `value`; 0 if there is none (a row of NaN). */
int64_t findFirst(const float* x, int64_t count, float value) {
  for (int64_t i = 0; i < count; i += 16) {
    uint32_t bits = bitsEqual(loadFirst(x + i, count - i), splat(value));
    if (count - i < 16) bits &= (1u << (count - i)) - 1u;
    if (bits != 0) return i + __builtin_ctz(bits);
  }
  return 0;
}

/** NaN is passed over. */
float maximum(const float* x, int64_t count) {
  const V16 least = splat(minusInfinity);
  // Independent maxima, since one would wait for its own result.
  V16 top[4] = {least, least, least, least};
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) {
    for (int part = 0; part < 4; ++part) top[part] = max(load(x + i + 16 * part), top[part]);
  }
  for (; i < count; i += 16) top[0] = max(loadOr(x + i, count - i, least), top[0]);
  return reduceMax(max(max(top[0], top[1]), max(top[2], top[3])));
}

}  // namespace

Highest findHighest(const float* x, int64_t count) {
  const float highest = maximum(x, count);
  return {highest, highest == minusInfinity ? 0 : static_cast<int32_t>(findFirst(x, count, highest))};
}

VocabStats vocabStats(const float* x, int64_t count) {
  const V16 least = splat(minusInfinity);
  const float highest = maximum(x, count);
  if (highest == minusInfinity) return {highest, 0, 0.0f};
  V16 sums[2] = {zero(), zero()};
  const V16 shift = splat(highest);
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    sums[0] = add(sums[0], exp(sub(load(x + i), shift)));
    sums[1] = add(sums[1], exp(sub(load(x + i + 16), shift)));
  }
  for (; i < count; i += 16) sums[0] = add(sums[0], exp(sub(loadOr(x + i, count - i, least), shift)));
  return {highest, static_cast<int32_t>(findFirst(x, count, highest)), reduceAdd(add(sums[0], sums[1]))};
}

void maskRow(const float* x, const uint32_t* allowed, float* out, int64_t count) {
  const V16 least = splat(minusInfinity);
  for (int64_t i = 0; i < count; i += 16) {
    const uint32_t bits = allowed[i / 32] >> (i % 32);
    storeFirst(out + i, selectBits(bits, loadFirst(x + i, count - i), least), count - i);
  }
}

double weighRow(const float* x, float max, float inverseTemperature, float least, float* w, int64_t count) {
  // Partial sums of 4,096 elements in f32 lanes, then f64: the order depends on the vocabulary only.
  constexpr int64_t chunk = 4096;
  const V16 shift = splat(max);
  const V16 factor = splat(inverseTemperature);
  const V16 floor = splat(least);
  double total = 0;
  for (int64_t start = 0; start < count; start += chunk) {
    const int64_t end = std::min(start + chunk, count);
    V16 sum = zero();
    for (int64_t i = start; i < end; i += 16) {
      const V16 logit = loadOr(x + i, end - i, splat(minusInfinity));
      V16 weight = exp(mul(sub(logit, shift), factor));
      weight = selectLess(weight, floor, zero(), weight);
      storeFirst(w + i, weight, end - i);
      sum = add(sum, weight);
    }
    total += static_cast<double>(reduceAdd(sum));
  }
  return total;
}

int64_t collectAtLeast(const float* w, int64_t count, float least, int32_t* indices) {
  const V16 limit = splat(least);
  int64_t found = 0;
  for (int64_t i = 0; i < count; i += 16) {
    const V16 lanes = loadOr(w + i, count - i, splat(minusInfinity));
    for (uint32_t bits = bitsGreater(lanes, limit) | bitsEqual(lanes, limit); bits != 0; bits &= bits - 1) {
      indices[found++] = static_cast<int32_t>(i + __builtin_ctz(bits));
    }
  }
  return found;
}

int64_t countAhead(const float* x, int64_t count, float value, int64_t index) {
  const V16 limit = splat(value);
  int64_t ahead = 0;
  for (int64_t i = 0; i < count; i += 16) {
    const V16 lanes = loadOr(x + i, count - i, splat(minusInfinity));
    ahead += __builtin_popcount(bitsGreater(lanes, limit));
    const uint32_t equal = bitsEqual(lanes, limit);
    if (equal == 0 || i >= index) continue;
    const int64_t before = index - i;
    ahead += __builtin_popcount(before >= 16 ? equal : equal & ((1u << before) - 1u));
  }
  return ahead;
}

void topN(const float* x, int64_t count, int64_t n, int32_t* ids, float* values) {
  // Sorted insertion: n is small, and after the first vectors few elements pass the threshold.
  int64_t held = 0;
  for (int64_t i = 0; i < count; i += 16) {
    const int64_t left = std::min<int64_t>(count - i, 16);
    uint32_t bits = (1u << left) - 1u;
    if (held == n) bits &= bitsGreater(loadFirst(x + i, left), splat(values[n - 1]));
    for (; bits != 0; bits &= bits - 1) {
      const int64_t index = i + __builtin_ctz(bits);
      const float value = x[index] == x[index] ? x[index] : minusInfinity;
      if (held == n && !(value > values[n - 1])) continue;
      int64_t at = held < n ? held++ : n - 1;
      for (; at > 0 && value > values[at - 1]; --at) {
        values[at] = values[at - 1];
        ids[at] = ids[at - 1];
      }
      values[at] = value;
      ids[at] = static_cast<int32_t>(index);
    }
  }
}

}  // namespace millrace::MILLRACE_ISA
