// Sampling and scoring over rows of logits.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/context.h"
#include "ops/draw.h"
#include "ops/philox.h"

namespace millrace {

namespace {

constexpr float minusInfinity = -std::numeric_limits<float>::infinity();
constexpr float notANumber = std::numeric_limits<float>::quiet_NaN();
// Logits of one partial maximum and sum. Part of the arithmetic: changing it changes bits.
constexpr int64_t partLength = 8192;
// Below this the inverse is no useful number, and the highest logit has all the weight.
constexpr float lowestTemperature = 1e-30f;
// Rows of logits that scoring holds at a time.
constexpr int64_t rowsPerSlab = 64;

/** Highest logit, its lowest index, and the logarithm of the sum of e^logit. */
struct RowStats {
  float max;
  int64_t argmax;
  double logTotal;
};

RowStats joinParts(const VocabStats* parts, int64_t numParts) {
  RowStats row{minusInfinity, -1, 0};
  for (int64_t p = 0; p < numParts; ++p) {
    if (parts[p].max > row.max) {
      row.max = parts[p].max;
      row.argmax = p * partLength + parts[p].argmax;
    }
  }
  double sum = 0;
  for (int64_t p = 0; p < numParts; ++p) {
    if (parts[p].max == minusInfinity) continue;
    sum += static_cast<double>(parts[p].sumExp) *
           std::exp(static_cast<double>(parts[p].max) - static_cast<double>(row.max));
  }
  row.logTotal = static_cast<double>(row.max) + std::log(sum);
  return row;
}

int64_t partsOf(int64_t vocab) { return (vocab + partLength - 1) / partLength; }

/** Statistics of rows of logits, over the pool by fixed parts of the vocabulary. */
void statsOfRows(const KernelTable& kernels, ThreadPool& pool, const float* logits, int64_t rows, int64_t vocab,
                 VocabStats* parts, RowStats* out) {
  const int64_t numParts = partsOf(vocab);
  pool.parallelFor(rows * numParts, [&](int64_t tile, int) {
    const int64_t start = tile % numParts * partLength;
    const float* row = logits + tile / numParts * vocab;
    parts[tile] = kernels.vocabStats(row + start, std::min(partLength, vocab - start));
  });
  for (int64_t row = 0; row < rows; ++row) out[row] = joinParts(parts + row * numParts, numParts);
}

float logProbability(float logit, const RowStats& stats) {
  return static_cast<float>(static_cast<double>(logit) - stats.logTotal);
}

void writeTop(const KernelTable& kernels, const float* row, int64_t vocab, int64_t count, const RowStats& stats,
              int32_t* ids, float* logprobs) {
  kernels.topN(row, vocab, count, ids, logprobs);
  for (int64_t i = 0; i < count; ++i) logprobs[i] = logProbability(row[ids[i]], stats);
}

/** The token that the row's own rule draws, after its changes and its mask. -1 where no token is left. */
int64_t chooseToken(const KernelTable& kernels, const SamplingColumns& c, int64_t row, float* logits, int64_t vocab,
                    const RowStats& stats, RowScratch& scratch) {
  Highest top{stats.max, static_cast<int32_t>(stats.argmax)};
  const float* from = logits;
  const bool isChanged = applyChanges(c, row, logits, scratch.changes);
  if (c.maskRows[row] >= 0) {
    const uint32_t* allowed = c.allowed + c.maskRows[row] * ((vocab + 31) / 32);
    kernels.maskRow(logits, allowed, scratch.masked.data(), vocab);
    from = scratch.masked.data();
  }
  if (isChanged || from != logits) top = kernels.findHighest(from, vocab);
  if (top.max == minusInfinity) return -1;
  if (!(c.temperature[row] > lowestTemperature)) return top.argmax;
  const DrawOptions options{c.temperature[row], c.topK[row], c.topP[row], c.minP[row],
                            uniformDraw(c.seeds[2 * row], c.seeds[2 * row + 1], c.counters[2 * row],
                                        c.counters[2 * row + 1])};
  return drawToken(kernels, from, vocab, top.max, options, scratch.draw);
}

void sampleRow(const KernelTable& kernels, const SamplingColumns& c, int64_t row, float* raw, int64_t vocab,
               const RowStats& stats, RowScratch& scratch) {
  const int64_t token = chooseToken(kernels, c, row, raw, vocab, stats, scratch);
  revertChanges(raw, scratch.changes);
  c.tokenIds[row] = static_cast<int32_t>(token);
  if (token < 0) {
    c.logprobs[row] = notANumber;
    c.ranks[row] = stats.max == minusInfinity ? 0 : -1;
  } else {
    c.logprobs[row] = logProbability(raw[token], stats);
    const bool isFirst = token == stats.argmax;
    c.ranks[row] = isFirst ? 1 : static_cast<int32_t>(1 + kernels.countAhead(raw, vocab, raw[token], token));
  }
  const int64_t count = std::min<int64_t>({c.numLogprobs[row], c.maxLogprobs, vocab});
  if (count <= 0) return;
  writeTop(kernels, raw, vocab, count, stats, c.topIds + row * c.maxLogprobs, c.topLogprobs + row * c.maxLogprobs);
}

}  // namespace

void Context::sample(int64_t logitsId, const SamplingColumns& columns) {
  float* logits = floats(logitsId, "sampling takes f32");
  const int64_t vocab = tensor(logitsId).cols;
  const int64_t rows = columns.numRows;
  check(rows <= tensor(logitsId).rows, "each sampled row has logits");
  const int64_t mostChanges = checkChanges(columns, vocab);
  const Arena::Mark mark = arena_.mark();
  RowStats* stats = arena_.allocateArray<RowStats>(rows);
  VocabStats* parts = arena_.allocateArray<VocabStats>(rows * partsOf(vocab));
  statsOfRows(kernels_, *pool_, logits, rows, vocab, parts, stats);
  for (RowScratch& scratch : rowScratch_) scratch.reserve(vocab, mostChanges);
  pool_->parallelFor(rows, [&](int64_t row, int thread) {
    sampleRow(kernels_, columns, row, logits + row * vocab, vocab, stats[row], rowScratch_[static_cast<size_t>(thread)]);
  });
  arena_.release(mark);
}

void Context::scoreTargets(int64_t hidden, int64_t head, float softCap, const ScoreColumns& c) {
  const PackedLinear& packed = weight(head);
  const Activations x = tensor(hidden);
  const int64_t vocab = packed.rows;
  check(x.form == packed.inputForm && x.cols == packed.cols, "the head takes another form or width");
  check(x.rows >= c.numTargets, "each target has a hidden row");
  for (int64_t i = 0; i < c.numTargets; ++i) {
    check(c.targets[i] >= 0 && c.targets[i] < vocab, "a target is outside the vocabulary");
  }
  const Arena::Mark mark = arena_.mark();
  const int64_t slabRows = std::min(rowsPerSlab, c.numTargets);
  float* logits = arena_.allocateArray<float>(slabRows * vocab);
  RowStats* stats = arena_.allocateArray<RowStats>(slabRows);
  VocabStats* parts = arena_.allocateArray<VocabStats>(slabRows * partsOf(vocab));
  const int64_t topK = std::min(c.topK, vocab);
  for (int64_t first = 0; first < c.numTargets; first += rowsPerSlab) {
    const int64_t count = std::min(rowsPerSlab, c.numTargets - first);
    const Activations to = layActivations(logits, Form::F32, count, vocab);
    runLinear(packed, rowsOf(x, first, count), {to, nullptr, nullptr, Gate::None});
    if (softCap > 0) pool_->parallelFor(count, [&](int64_t row, int) { kernels_.softCapRow(logits + row * vocab, softCap, vocab); });
    statsOfRows(kernels_, *pool_, logits, count, vocab, parts, stats);
    pool_->parallelFor(count, [&](int64_t row, int) {
      const float* values = logits + row * vocab;
      const int64_t target = first + row;
      c.logprobs[target] = logProbability(values[c.targets[target]], stats[row]);
      c.argmax[target] = static_cast<int32_t>(stats[row].argmax);
      if (topK <= 0) return;
      writeTop(kernels_, values, vocab, topK, stats[row], c.topIds + target * c.topK, c.topLogprobs + target * c.topK);
    });
  }
  arena_.release(mark);
}

}  // namespace millrace
