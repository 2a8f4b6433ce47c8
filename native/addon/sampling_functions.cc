#include "addon/sampling_functions.h"

#include "ops/context.h"

namespace millrace {

namespace {

Context& contextOf(const Args& args) { return args.external<Context>(0); }

}  // namespace

/** (context, logits, numRows, the columns of SamplingBatch in its order, then those of SamplingOutput) */
napi_value sample(const Args& args) {
  Context& context = contextOf(args);
  const int64_t logits = args.integer(1);
  const int64_t rows = args.integer(2);
  if (rows == 0) return nullptr;
  const int64_t words = (context.tensor(logits).cols + 31) / 32;
  SamplingColumns c{};
  c.numRows = rows;
  c.temperature = args.floats(3, rows).data;
  c.topK = args.ints(4, rows).data;
  c.topP = args.floats(5, rows).data;
  c.minP = args.floats(6, rows).data;
  c.seeds = args.words(7, 2 * rows).data;
  c.counters = args.words(8, 2 * rows).data;
  c.biasStarts = args.ints(9, rows + 1).data;
  c.biasIds = args.ints(10, c.biasStarts[rows]).data;
  c.biasValues = args.floats(11, c.biasStarts[rows]).data;
  c.penalties = args.floats(12, 3 * rows).data;
  c.historyRanges = args.ints(13, 3 * rows).data;
  const Span<int32_t> historyIds = args.ints(14);
  c.historyIds = historyIds.data;
  c.numHistory = historyIds.length;
  c.historyCounts = args.ints(15, historyIds.length).data;
  c.maskRows = args.ints(16, rows).data;
  const Span<uint32_t> allowed = args.words(17);
  c.allowed = allowed.data;
  c.numMasks = allowed.length / words;
  c.numLogprobs = args.ints(18, rows).data;
  c.tokenIds = args.ints(19, rows).data;
  c.logprobs = args.floats(20, rows).data;
  c.ranks = args.ints(21, rows).data;
  c.maxLogprobs = args.integer(22);
  c.topIds = args.ints(23, rows * c.maxLogprobs).data;
  c.topLogprobs = args.floats(24, rows * c.maxLogprobs).data;
  context.sample(logits, c);
  return nullptr;
}

/** (context, hidden, head, targets, logprobs, argmax, topK, topIds, topLogprobs, softCap) */
napi_value scoreTargets(const Args& args) {
  ScoreColumns c{};
  const Span<int32_t> targets = args.ints(3);
  c.numTargets = targets.length;
  if (c.numTargets == 0) return nullptr;
  c.targets = targets.data;
  c.logprobs = args.floats(4, c.numTargets).data;
  c.argmax = args.ints(5, c.numTargets).data;
  c.topK = args.integer(6);
  c.topIds = args.ints(7, c.numTargets * c.topK).data;
  c.topLogprobs = args.floats(8, c.numTargets * c.topK).data;
  contextOf(args).scoreTargets(args.integer(1), args.integer(2), args.number(9), c);
  return nullptr;
}

/** (context, logitsB, logitsA, targets, the columns of RowDivergences in its order) */
napi_value diverge(const Args& args) {
  Context& context = contextOf(args);
  const int64_t logits = args.integer(1);
  const Activations& b = context.tensor(logits);
  DivergenceColumns c{};
  c.logitsA = args.floats(2, b.rows * b.cols).data;
  c.targets = args.ints(3, b.rows).data;
  c.kl = args.doubles(4, b.rows).data;
  c.isSameTop = args.bytes(5, b.rows).data;
  c.lossA = args.doubles(6, b.rows).data;
  c.lossB = args.doubles(7, b.rows).data;
  context.diverge(logits, c);
  return nullptr;
}

}  // namespace millrace
