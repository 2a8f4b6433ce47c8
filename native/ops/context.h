// Everything one Ops instance owns, and its operations. Faults are thrown as std::runtime_error and become
// JavaScript errors at the boundary; nothing throws inside a parallel loop.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/kernel_table.h"
#include "ops/draw.h"
#include "runtime/arena.h"
#include "runtime/thread_pool.h"

namespace millrace {

inline void check(bool condition, const char* message) {
  if (!condition) throw std::runtime_error(message);
}

struct RopeTable {
  std::vector<float> cos;
  std::vector<float> sin;
  int64_t rotaryDim;
  int64_t maxPositions;
};

/** Zeroed memory from the system; pages come into being when they are first written. */
class Slab {
 public:
  explicit Slab(size_t bytes);
  ~Slab();
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  uint8_t* data_;
  size_t size_;
};

struct KvCache {
  std::unique_ptr<Slab> slab;
  int64_t numLayers;
  /** Bytes of K or V of a layer, and of the scales of either; 0 but for INT8. */
  size_t bytesPerPart;
  size_t bytesPerScales;
  KvLayer shape;

  KvLayer layer(int64_t index) const {
    KvLayer result = shape;
    result.k = slab->data() + 2 * static_cast<size_t>(index) * (bytesPerPart + bytesPerScales);
    result.v = result.k + bytesPerPart;
    if (bytesPerScales == 0) return result;
    result.kScales = reinterpret_cast<float*>(result.v + bytesPerPart);
    result.vScales = reinterpret_cast<float*>(result.v + bytesPerPart + bytesPerScales);
    return result;
  }
};

/** Columns of KvMoves; sizes were checked by the caller. */
struct KvMoveColumns {
  int64_t count;
  /** 0 within the cache, 1 from the cache to the host, 2 from the host to the cache. */
  const uint8_t* kinds;
  const int32_t* sources;
  const int32_t* targets;
  const int32_t* numTokens;
};

/** Copies of the arrays of a step's RaggedBatch. */
struct Batch {
  int64_t numTokens = 0;
  int64_t numSeqs = 0;
  std::vector<int32_t> tokenIds;
  std::vector<int32_t> positions;
  std::vector<int32_t> slots;
  std::vector<int32_t> queryStarts;
  std::vector<int32_t> contextLengths;
  std::vector<int32_t> blockTables;
  int64_t blockTableStride = 0;
};

struct AttentionRequest {
  int64_t numHeads;
  float scale;
  int64_t slidingWindow;
  float softCap;
  bool isCausal;
  Form form;
};

/** -1 for no rotation, and for no norms. */
struct RopeRequest {
  int64_t numHeads;
  int64_t rope;
  int64_t qNorm;
  int64_t kNorm;
  float normEps;
};

/** What a linear does with its sums; `bias` and `residual` are -1 for none. */
struct LinearRequest {
  int64_t bias;
  int64_t residual;
  Gate gate;
  Form form;
};

/** Columns of MoeRouting; sizes were checked by the caller. */
struct RoutingColumns {
  int64_t topK;
  bool normalize;
  int32_t* starts;
  int32_t* rows;
  float* weights;
};

/** Columns of SamplingBatch and SamplingOutput; sizes were checked by the caller. */
struct SamplingColumns {
  int64_t numRows;
  const float* temperature;
  const int32_t* topK;
  const float* topP;
  const float* minP;
  const uint32_t* seeds;
  const uint32_t* counters;
  const int32_t* biasStarts;
  const int32_t* biasIds;
  const float* biasValues;
  const float* penalties;
  const int32_t* historyRanges;
  const int32_t* historyIds;
  const int32_t* historyCounts;
  const int32_t* maskRows;
  const uint32_t* allowed;
  const int32_t* numLogprobs;
  /** Entries behind historyIds and historyCounts, and rows of `allowed`. */
  int64_t numHistory;
  int64_t numMasks;
  int32_t* tokenIds;
  float* logprobs;
  int32_t* ranks;
  int64_t maxLogprobs;
  int32_t* topIds;
  float* topLogprobs;
};

struct ScoreColumns {
  int64_t numTargets;
  const int32_t* targets;
  float* logprobs;
  int32_t* argmax;
  int64_t topK;
  int32_t* topIds;
  float* topLogprobs;
};

/** Rows of logits A [rows, vocabulary], the token after each, and the columns of RowDivergences. */
struct DivergenceColumns {
  const float* logitsA;
  const int32_t* targets;
  double* kl;
  uint8_t* isSameTop;
  double* lossA;
  double* lossB;
};

/** Rows to round one column after the other, each column's error passed on to those behind it. */
struct RoundingJob {
  int64_t rows;
  int64_t cols;
  int64_t groupSize;
  /** [rows, cols] */
  const float* values;
  /** [rows, cols] */
  int8_t* codes;
  /** [rows, cols / groupSize]: w = scale * code + minimum; minimums null for 0. */
  const float* scales;
  const float* minimums;
  /** [cols] columns in the order in which they are rounded. */
  const int32_t* order;
  /** [cols, cols] in that order, upper factor of the inverse of the Gram matrix. */
  const float* upper;
  float least;
  float most;
  /** [16] the integers there are, rising; null for all in [least, most]. */
  const int8_t* levels;
};

/** What the threads of a context can do at most, per second. */
struct Ceilings {
  double readBytes;
  double int8Operations;
  double int4Operations;
  double bf16Operations;
  double f32Operations;
};

class Context {
 public:
  /** `attendsInBf16`: products of attention take bf16 operands. */
  Context(const KernelTable& kernels, int numThreads, bool attendsInBf16);

  int64_t packLinear(const std::vector<WeightPart>& parts, Form inputForm, bool paired);
  /** Its memory is given back, its number never used again. */
  void freeLinear(int64_t id);
  int64_t loadVector(const float* values, int64_t length);
  int64_t loadRope(const float* cos, const float* sin, int64_t count, int64_t rotaryDim);
  int64_t createKvCache(int64_t numLayers, const KvLayer& shape);
  const PackedLinear& weight(int64_t id) const;
  size_t cacheBytes(int64_t id) const { return caches_.at(static_cast<size_t>(id)).slab->size(); }
  /** Blocks outside the cache, laid out like its own. */
  int64_t createKvHost(int64_t cache, int64_t numBlocks);
  size_t hostBytes(int64_t id) const { return hosts_.at(static_cast<size_t>(id)).slab->size(); }
  /** `host` is -1 for none. */
  void moveKv(int64_t cache, int64_t host, const KvMoveColumns& moves);
  bool equalKv(int64_t cache, int64_t blockA, int64_t blockB, int64_t numTokens);

  void beginStep(Batch&& batch);
  void endStep();
  Batch& batch() { return batch_; }

  /** A row of the table for each id: the batch's token ids where `ids` is null. */
  int64_t embed(int64_t table, const int32_t* ids);
  int64_t rmsNorm(int64_t x, int64_t weight, float eps, Form form);
  /** In place. */
  void layerNorm(int64_t x, int64_t weight, int64_t bias, float eps);
  /** Returns the residual where there is one. */
  int64_t linear(int64_t x, int64_t weight, const LinearRequest& request);
  /** From f32 to any form, or from any form to f32. */
  int64_t convert(int64_t x, Form form);
  /** x += scale * y */
  void addScaled(int64_t x, int64_t y, float scale);
  /** x *= factor */
  void scale(int64_t x, float factor);
  void softCap(int64_t x, float cap);
  void gelu(int64_t x);
  /** gate(first half of the columns) * second half. */
  int64_t gate(int64_t x, Gate gate);
  void ropeAndCache(int64_t qkv, int64_t cache, int64_t layer, const RopeRequest& request);
  int64_t pagedAttention(int64_t qkv, int64_t cache, int64_t layer, const AttentionRequest& request);
  int64_t gatherRows(int64_t x, const int32_t* indices, int64_t count);
  /** Column columns[j] of each row of f32 becomes column j, in `form`. */
  int64_t gatherColumns(int64_t x, const int32_t* columns, Form form);
  void moeRoute(int64_t logits, const RoutingColumns& routing);
  /** Row indices[i] of x += weights[i] * row i of y. */
  void addRows(int64_t x, int64_t y, const int32_t* indices, const float* weights, int64_t count);
  void sample(int64_t logits, const SamplingColumns& columns);
  /** `softCap` 0 for none. */
  void scoreTargets(int64_t hidden, int64_t head, float softCap, const ScoreColumns& columns);
  /** How far the distributions of logits B are from those of A. */
  void diverge(int64_t logitsB, const DivergenceColumns& columns);
  /** Forgets the tensors made after `x`. */
  void releaseAfter(int64_t x);

  const Activations& tensor(int64_t id) const;
  size_t weightBytes() const;
  size_t kvBytes() const { return totalBytes(caches_); }
  size_t kvHostBytes() const { return totalBytes(hosts_); }
  size_t arenaBytes() const { return arena_.sizeBytes(); }
  /** Takes about half a second and `readBytes` of memory; outside a step. A round reads all of them; fewer than a cache
      holds come from there in all rounds but the first. */
  Ceilings measureCeilings();

  /** gram += x^T x in its upper half, of x [count, cols]. */
  void addGram(const float* x, int64_t count, int64_t cols, float* gram);
  /** sums[j] += sum of squares of column j of x [count, cols]. */
  void addSquares(const float* x, int64_t count, int64_t cols, float* sums);
  /** The upper half of r [n, n] becomes R of r = R^T R, and `inverse` its inverse; false where r is not positive definite. */
  bool factorize(float* r, int64_t n, float* inverse);
  void roundRows(const RoundingJob& job);
  /** `first` is the first of `rows` rows that are alike but for their places. */
  void roundBlocks(const BlockRow& first, int64_t rows);
  void roundGroups(const GroupRow& first, const GroupGrid& grid, int64_t rows);
  void readGroups(const GroupRow& first, const GroupGrid& grid, int64_t rows, float* values);
  /** Codes [rows, cols] to rows of 32-bit words: element i at bit i * bits, offset to begin at 0. */
  void packCodes(const int8_t* codes, int64_t rows, int64_t cols, int bits, uint8_t* out);
  /** Values of a matrix [part.rows, part.cols]. */
  void readWeight(const WeightPart& part, float* values);
  bool areFinite(const float* values, int64_t count);
  /** sums [rows, 2] */
  void squaredErrors(const float* wanted, const float* written, int64_t rows, int64_t cols, double* sums);
  /** sums [rows, 16]: of each row's 32-bit words w the sums of w and of (i + 1) w, as little-endian 64-bit integers. */
  void checksumRows(const float* values, int64_t rows, int64_t cols, uint8_t* sums);
  /** d gram d^T of each row of d = x - y, or of x where y is null, for a whole symmetric matrix. */
  void quadraticForms(const float* x, const float* y, int64_t rows, int64_t n, const float* gram, double* forms);
  /** Frees weights, caches and arena; only destruction is allowed after. */
  void close();

 private:
  struct Tensor {
    Activations data;
    Arena::Mark end;
  };

  int64_t create(Form form, int64_t rows, int64_t cols);
  float* floats(int64_t id, const char* message) const;
  const KvCache& cache(int64_t id, int64_t layer) const;
  static size_t totalBytes(const std::vector<KvCache>& caches);
  void attend(const AttentionJob& job);
  void setNorms(RopeJob& job, const RopeRequest& request) const;
  void runLinear(const PackedLinear& packed, const Activations& x, const LinearOutput& output);

  const KernelTable& kernels_;
  decltype(KernelTable::attendPartition) attendPartition_;
  std::unique_ptr<ThreadPool> pool_;
  Arena arena_;
  Batch batch_;
  std::vector<Tensor> tensors_;
  std::vector<std::unique_ptr<PackedLinear>> weights_;
  std::vector<std::vector<float>> vectors_;
  std::vector<RopeTable> ropes_;
  std::vector<KvCache> caches_;
  std::vector<KvCache> hosts_;
  /** One per thread. */
  std::vector<RowScratch> rowScratch_;
};

}  // namespace millrace
