// Rope, cache write and attention over a step's ragged batch.
#include <algorithm>

#include "ops/context.h"

namespace millrace {

namespace {

// Rows (queries times heads of a KV head) of one tile: their scores over a partition stay in the L2 cache.
constexpr int64_t rowsPerTile = 32;
// Columns of scores of one partition of the KV range. Part of the arithmetic: changing it changes bits.
constexpr int64_t partitionColumns = 256;

struct TilePlan {
  AttentionTile tile;
  int64_t firstPartition;
  int64_t numPartitions;
  /** Place of the first partial result, counted in partitions. */
  int64_t firstPartial;
};

/** One partition of one tile. */
struct Part {
  int64_t plan;
  int64_t partition;
};

AttentionState stateAt(float* base, int64_t index, int64_t rows, int64_t dimStride) {
  const int64_t stride = roundUp(rows, 16);
  float* place = base + index * (2 * stride + rows * dimStride);
  return {place, place + stride, place + 2 * stride};
}

int64_t stateFloats(int64_t rows, int64_t dimStride) { return 2 * roundUp(rows, 16) + rows * dimStride; }

std::vector<TilePlan> planTiles(const AttentionJob& job, const Batch& batch) {
  const int64_t group = job.numHeads / job.kv.numKvHeads;
  const int64_t queries = std::max<int64_t>(1, rowsPerTile / group);
  const int64_t span = job.partitionBlocks * job.kv.blockSize;
  std::vector<TilePlan> plans;
  int64_t partials = 0;
  for (int64_t s = 0; s < batch.numSeqs; ++s) {
    const int64_t start = batch.queryStarts[static_cast<size_t>(s)];
    const int64_t end = batch.queryStarts[static_cast<size_t>(s) + 1];
    const int32_t* table = batch.blockTables.data() + s * batch.blockTableStride;
    for (int64_t first = start; first < end; first += queries) {
      const int64_t count = std::min(queries, end - first);
      const int64_t last = (job.ends[first + count - 1] - 1) / span;
      const int64_t oldest = job.slidingWindow > 0 ? job.positions[first] + 1 - job.slidingWindow : 0;
      const int64_t from = std::max<int64_t>(oldest, 0) / span;
      for (int64_t head = 0; head < job.kv.numKvHeads; ++head) {
        plans.push_back({{table, first, count, head}, from, last - from + 1, partials});
        partials += last - from + 1;
      }
    }
  }
  // Long ones first, so that no thread is left alone with one at the end.
  std::stable_sort(plans.begin(), plans.end(),
                   [](const TilePlan& a, const TilePlan& b) { return a.numPartitions > b.numPartitions; });
  return plans;
}

/** The scratch of all threads, and of one running and one next state for each. */
struct Workspace {
  float* base;
  int64_t perThread;
  int64_t rows;
  const AttentionJob& job;

  static int64_t blockFloats(const KvLayer& kv) {
    const int64_t pairedFloats =
        std::max(roundUpToStep(kv.headDim) * kv.tokenStride, roundUpToStep(kv.blockSize) * kv.dimStride) / 2;
    return std::max({kv.headDim * kv.tokenStride, kv.blockSize * kv.dimStride, pairedFloats});
  }
  static int64_t roundedFloats(const KvLayer& kv, int64_t rows) {
    return rows * roundUpToStep(std::max(kv.headDim, kv.blockSize)) / 2;
  }
  static int64_t floatsPerThread(const AttentionJob& job, int64_t rows) {
    return roundUp(rows * job.kv.headDim, 16) + blockFloats(job.kv) + roundedFloats(job.kv, rows) +
           rows * (job.partitionColumns + 16) + 2 * stateFloats(rows, job.kv.dimStride);
  }
  AttentionScratch scratch(int thread) const {
    float* place = base + thread * perThread;
    float* block = place + roundUp(rows * job.kv.headDim, 16);
    float* rounded = block + blockFloats(job.kv);
    return {place, rounded + roundedFloats(job.kv, rows), block, reinterpret_cast<uint16_t*>(rounded)};
  }
  AttentionState state(int thread, int64_t which) const {
    float* place = base + (thread + 1) * perThread - 2 * stateFloats(rows, job.kv.dimStride);
    return stateAt(place, which, rows, job.kv.dimStride);
  }
};

/** Checks what attention reads; `isCausal` false: every token sees its whole sequence. */
void checkBatch(const Batch& batch, const KvCache& cache, bool isCausal) {
  const KvLayer& kv = cache.shape;
  for (int64_t s = 0; s < batch.numSeqs; ++s) {
    const int64_t start = batch.queryStarts[static_cast<size_t>(s)];
    const int64_t end = batch.queryStarts[static_cast<size_t>(s) + 1];
    check(start >= 0 && start <= end && end <= batch.numTokens, "query starts do not ascend within the tokens");
    if (start == end) continue;
    for (int64_t t = start; t < end; ++t) {
      const bool follows = t == start || batch.positions[static_cast<size_t>(t)] > batch.positions[static_cast<size_t>(t) - 1];
      check(follows && batch.positions[static_cast<size_t>(t)] >= 0, "positions of a sequence do not ascend");
    }
    const int64_t last = batch.positions[static_cast<size_t>(end) - 1];
    const int64_t length = isCausal ? last + 1 : batch.contextLengths[static_cast<size_t>(s)];
    check(length > last, "a sequence is shorter than its positions");
    const int64_t numBlocks = (length + kv.blockSize - 1) / kv.blockSize;
    check(numBlocks <= batch.blockTableStride, "a block table is too short for its sequence");
    for (int64_t b = 0; b < numBlocks; ++b) {
      const int32_t block = batch.blockTables[static_cast<size_t>(s * batch.blockTableStride + b)];
      check(block >= 0 && block < kv.numBlocks, "a block table names a block outside the cache");
    }
  }
}

}  // namespace

void Context::ropeAndCache(int64_t qkv, int64_t cacheId, int64_t layer, const RopeRequest& request) {
  const int64_t numHeads = request.numHeads;
  float* values = floats(qkv, "rotation takes f32");
  const KvCache& kv = cache(cacheId, layer);
  const bool rotates = request.rope >= 0;
  static const RopeTable noRope{};
  const RopeTable& rope = rotates ? ropes_.at(static_cast<size_t>(request.rope)) : noRope;
  const int64_t numTokens = tensor(qkv).rows;
  check(numTokens == batch_.numTokens, "qkv has a row for each token of the batch");
  check(tensor(qkv).cols == (numHeads + 2 * kv.shape.numKvHeads) * kv.shape.headDim, "qkv has q, k and v");
  check(rope.rotaryDim <= kv.shape.headDim, "a rotation is wider than the head");
  const int64_t numSlots = kv.shape.numBlocks * kv.shape.blockSize;
  for (int64_t t = 0; t < numTokens; ++t) {
    const int32_t position = batch_.positions[static_cast<size_t>(t)];
    const int32_t slot = batch_.slots[static_cast<size_t>(t)];
    check(position >= 0 && (!rotates || position < rope.maxPositions), "a position is outside the rotation table");
    check(slot >= 0 && slot < numSlots, "a slot is outside the KV cache");
  }
  RopeJob job{};
  job.qkv = values;
  job.qkvStride = tensor(qkv).cols;
  job.numHeads = numHeads;
  job.cos = rope.cos.data();
  job.sin = rope.sin.data();
  job.rotaryDim = rope.rotaryDim;
  job.positions = batch_.positions.data();
  job.slots = batch_.slots.data();
  job.kv = kv.layer(layer);
  if (request.qNorm >= 0) setNorms(job, request);
  // K of a block's tokens lies side by side in lines of memory; two threads in one block would pass them back and forth.
  const int64_t blockSize = kv.shape.blockSize;
  const int64_t tokensPerTile = numTokens >= 2 * blockSize * pool_->size() ? blockSize : 8;
  pool_->parallelFor((numTokens + tokensPerTile - 1) / tokensPerTile, [&](int64_t tile, int) {
    const int64_t end = std::min(numTokens, (tile + 1) * tokensPerTile);
    for (int64_t t = tile * tokensPerTile; t < end; ++t) kernels_.ropeAndStoreToken(job, t);
  });
}

void Context::setNorms(RopeJob& job, const RopeRequest& request) const {
  const std::vector<float>& q = vectors_.at(static_cast<size_t>(request.qNorm));
  const std::vector<float>& k = vectors_.at(static_cast<size_t>(request.kNorm));
  const auto divides = [](const std::vector<float>& norm, int64_t cols) {
    return !norm.empty() && cols % static_cast<int64_t>(norm.size()) == 0;
  };
  check(divides(q, job.numHeads * job.kv.headDim) && divides(k, job.kv.numKvHeads * job.kv.headDim),
        "the norms of q and k do not divide their columns");
  job.qNorm = q.data();
  job.kNorm = k.data();
  job.qNormWidth = static_cast<int64_t>(q.size());
  job.kNormWidth = static_cast<int64_t>(k.size());
  job.normEps = request.normEps;
}

void Context::attend(const AttentionJob& job) {
  const std::vector<TilePlan> plans = planTiles(job, batch_);
  const int64_t group = job.numHeads / job.kv.numKvHeads;
  const int64_t rows = roundUp(std::max(rowsPerTile, group), 16);
  const int64_t perThread = Workspace::floatsPerThread(job, rows);
  const Workspace work{arena_.allocateArray<float>(perThread * pool_->size()), perThread, rows, job};
  const int64_t dimStride = job.kv.dimStride;
  int64_t numPartials = 0;
  for (const TilePlan& plan : plans) numPartials += plan.numPartitions;

  // With few tiles the partitions are shared out instead; the same partial results are merged in the same order.
  const bool share = pool_->size() > 1 && static_cast<int64_t>(plans.size()) < 4 * pool_->size() &&
                     numPartials > static_cast<int64_t>(plans.size());
  if (!share) {
    pool_->parallelFor(static_cast<int64_t>(plans.size()), [&](int64_t index, int thread) {
      const TilePlan& plan = plans[static_cast<size_t>(index)];
      const AttentionScratch scratch = work.scratch(thread);
      const AttentionState total = work.state(thread, 0);
      const AttentionState next = work.state(thread, 1);
      kernels_.loadQueries(job, plan.tile, scratch);
      attendPartition_(job, plan.tile, plan.firstPartition, scratch, total);
      for (int64_t p = 1; p < plan.numPartitions; ++p) {
        attendPartition_(job, plan.tile, plan.firstPartition + p, scratch, next);
        kernels_.mergePartition(total, next, plan.tile.numQueries * group, dimStride);
      }
      kernels_.storeOutputs(job, plan.tile, total);
    });
    return;
  }
  std::vector<Part> parts;
  for (size_t i = 0; i < plans.size(); ++i)
    for (int64_t p = 0; p < plans[i].numPartitions; ++p) parts.push_back({static_cast<int64_t>(i), p});
  float* partials = arena_.allocateArray<float>(numPartials * stateFloats(rows, dimStride));
  pool_->parallelFor(numPartials, [&](int64_t index, int thread) {
    const Part part = parts[static_cast<size_t>(index)];
    const TilePlan& plan = plans[static_cast<size_t>(part.plan)];
    kernels_.loadQueries(job, plan.tile, work.scratch(thread));
    attendPartition_(job, plan.tile, plan.firstPartition + part.partition, work.scratch(thread),
                     stateAt(partials, plan.firstPartial + part.partition, rows, dimStride));
  });
  pool_->parallelFor(static_cast<int64_t>(plans.size()), [&](int64_t index, int) {
    const TilePlan& plan = plans[static_cast<size_t>(index)];
    const AttentionState total = stateAt(partials, plan.firstPartial, rows, dimStride);
    for (int64_t p = 1; p < plan.numPartitions; ++p) {
      kernels_.mergePartition(total, stateAt(partials, plan.firstPartial + p, rows, dimStride),
                              plan.tile.numQueries * group, dimStride);
    }
    kernels_.storeOutputs(job, plan.tile, total);
  });
}

int64_t Context::pagedAttention(int64_t qkv, int64_t cacheId, int64_t layer, const AttentionRequest& request) {
  const float* values = floats(qkv, "attention takes f32");
  const KvCache& kv = cache(cacheId, layer);
  const int64_t rows = tensor(qkv).rows;
  check(rows == batch_.numTokens, "qkv has a row for each token of the batch");
  checkBatch(batch_, kv, request.isCausal);
  check(batch_.numSeqs == 0 || batch_.queryStarts[static_cast<size_t>(batch_.numSeqs)] == rows, "query starts do not cover the tokens");
  const int64_t width = request.numHeads * kv.shape.headDim;
  const int64_t result = create(request.form, rows, width);
  Activations to = tensor(result);
  const Arena::Mark mark = arena_.mark();
  int32_t* ends = arena_.allocateArray<int32_t>(rows);
  for (int64_t s = 0; s < batch_.numSeqs; ++s) {
    const size_t seq = static_cast<size_t>(s);
    for (int64_t t = batch_.queryStarts[seq]; t < batch_.queryStarts[seq + 1]; ++t) {
      ends[t] = request.isCausal ? batch_.positions[static_cast<size_t>(t)] + 1 : batch_.contextLengths[seq];
    }
  }
  float* out = request.form == Form::F32 ? static_cast<float*>(to.data) : arena_.allocateArray<float>(rows * width);
  const int64_t blocks = std::max<int64_t>(1, partitionColumns / kv.shape.tokenStride);
  AttentionJob job{values, tensor(qkv).cols, out, width, request.numHeads, request.scale, request.slidingWindow,
                   request.softCap, batch_.positions.data(), ends, kv.layer(layer), blocks, blocks * kv.shape.tokenStride};
  attend(job);
  if (request.form != Form::F32) {
    pool_->parallelFor((rows + 7) / 8, [&](int64_t tile, int) {
      for (int64_t row = tile * 8; row < std::min(rows, tile * 8 + 8); ++row)
        kernels_.linear->quantizeRow(out + row * width, width, to, row);
    });
  }
  arena_.release(mark);
  return result;
}

}  // namespace millrace
