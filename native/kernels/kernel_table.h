// The float kernels of one instruction set, as functions over rows and tiles. Loops over rows and threads are in
// ops/, which is compiled once without instruction-set flags.
#pragma once

#include <cstdint>

#include "kernels/group_row.h"
#include "linear/linear.h"

namespace millrace {

/** Storage of K and V; the numbers are those of the TypeScript side. */
enum class KvDtype : int { F32 = 0, F16 = 1, BF16 = 2, INT8 = 3 };

/**
 * K and V of one layer. K is held [block, kvHead, headDim, tokenStride] so that lanes are tokens in q.k; V is held
 * [block, kvHead, blockSize, dimStride] so that lanes are dimensions in p.v. Strides are rounded up to 16.
 *
 * INT8 has a scale for K and one for V of each token and head, [block, kvHead, tokenStride] each: amax / 127, and
 * codes round x / scale half to even. Scales are f32, because q.k of sixteen tokens takes sixteen of them as they
 * are, no amax is out of range, and they add 4 bytes to headDim.
 */
struct KvLayer {
  uint8_t* k;
  uint8_t* v;
  /** Null but for INT8. */
  float* kScales;
  float* vScales;
  KvDtype dtype;
  int64_t numBlocks;
  int64_t blockSize;
  int64_t numKvHeads;
  int64_t headDim;
  int64_t tokenStride;
  int64_t dimStride;
};

/** Norm, rotation and cache write of a step's tokens. */
struct RopeJob {
  float* qkv;
  int64_t qkvStride;
  int64_t numHeads;
  /** [maxPositions, rotaryDim / 2]; null, with a width of 0, for no rotation. */
  const float* cos;
  const float* sin;
  int64_t rotaryDim;
  /** RMS norms of q and k before the rotation, over runs of these widths; null for none. */
  const float* qNorm;
  const float* kNorm;
  int64_t qNormWidth;
  int64_t kNormWidth;
  float normEps;
  const int32_t* positions;
  const int32_t* slots;
  KvLayer kv;
};

struct AttentionJob {
  const float* qkv;
  int64_t qkvStride;
  float* out;
  int64_t outStride;
  int64_t numHeads;
  float scale;
  /** 0 for none. */
  int64_t slidingWindow;
  float softCap;
  /** [tokens] */
  const int32_t* positions;
  /** [tokens] how many positions of its sequence each token sees at most: up to its own, or all. */
  const int32_t* ends;
  KvLayer kv;
  /** Blocks of one fixed partition of the KV range, and columns of scores that they make. */
  int64_t partitionBlocks;
  int64_t partitionColumns;
};

/** Queries of one sequence for the heads of one KV head: numQueries * group rows. */
struct AttentionTile {
  const int32_t* blockTable;
  int64_t firstToken;
  int64_t numQueries;
  int64_t kvHead;
};

/** Softmax state of a tile's rows over some KV range: maximum and sum per row, and unnormalised output. */
struct AttentionState {
  /** [rows]; -infinity where the range holds nothing that the row may see. */
  float* maxima;
  /** [rows] */
  float* sums;
  /** [rows, dimStride] */
  float* outputs;
};

/** Columns that bf16 products of attention take at a time; counts are padded to it with zeros. */
constexpr int64_t bf16Step = 32;
constexpr int64_t roundUpToStep(int64_t count) { return (count + bf16Step - 1) / bf16Step * bf16Step; }

/**
 * Room for one thread's tile: scaled queries [rows, headDim], scores [rows, partitionColumns + 16], K or V of one block
 * in f32 or in pairs of bf16, and queries or weights in bf16 [rows, headDim or tokens, in whole steps].
 */
struct AttentionScratch {
  float* queries;
  float* scores;
  float* block;
  uint16_t* rounded;
};

/** Maximum, its lowest index, and sum of e^(x - maximum) over a range of logits. */
struct VocabStats {
  float max;
  int32_t argmax;
  float sumExp;
};

/** Maximum and its lowest index. */
struct Highest {
  float max;
  int32_t argmax;
};

/** Sums over a row of two models' logits: of e^(a - maximum of a), the same of b, and of e^(a - maximum of a) * (a - b). */
struct DivergenceSums {
  double a;
  double b;
  double weighted;
};

/** A row of weights to round to blocks of a GGUF file; the traits are those of src/kernels/block-types.ts. */
struct BlockRow {
  const float* x;
  /** What an error in a column counts, or null for 1. */
  const float* importance;
  int64_t cols;
  uint8_t* blocks;
  int64_t blockBytes;
  /** Blocks of 256 values in place of 32. */
  bool isSuper;
  int bits;
  bool hasMinimums;
  /** [16] what codes stand for, rising; null where they are the integers. */
  const int8_t* levels;
  /** Scales are searched for the least weighted squared error; else they are the range of each group. */
  bool isSearched;
};

struct KernelTable {
  const LinearKernels* linear;

  void (*rmsNormRow)(const float* x, const float* weight, int64_t cols, float eps, float* out);
  /** x += scale * y */
  void (*addScaledRow)(float* x, const float* y, float scale, int64_t cols);
  /** x += y */
  void (*addRow)(float* x, const float* y, int64_t cols);
  /** x = (x - mean) / sqrt(variance + eps) * weight + bias */
  void (*layerNormRow)(float* x, const float* weight, const float* bias, int64_t cols, float eps);
  /** x *= factor */
  void (*scaleRow)(float* x, float factor, int64_t cols);
  /** x = cap * tanh(x / cap) */
  void (*softCapRow)(float* x, float cap, int64_t cols);
  /** x = gelu(x), by the error function */
  void (*geluRow)(float* x, int64_t cols);
  /** out = gate(first) * second */
  void (*gateRow)(const float* first, const float* second, Gate gate, float* out, int64_t cols);

  void (*ropeAndStoreToken)(const RopeJob& job, int64_t token);

  /** Copies the tile's queries, scaled, into scratch. */
  void (*loadQueries)(const AttentionJob& job, const AttentionTile& tile, const AttentionScratch& scratch);
  /** Attends to partition `partition` only, from nothing. */
  void (*attendPartition)(const AttentionJob& job, const AttentionTile& tile, int64_t partition,
                          const AttentionScratch& scratch, const AttentionState& state);
  /** The same with bf16 products. Rows of scratch and state up to the next multiple of 16 are written. */
  void (*attendPartitionInBf16)(const AttentionJob& job, const AttentionTile& tile, int64_t partition,
                                const AttentionScratch& scratch, const AttentionState& state);
  /** into = into merged with the partition after it. */
  void (*mergePartition)(const AttentionState& into, const AttentionState& next, int64_t rows, int64_t dimStride);
  /** Normalises and writes the rows to job.out. */
  void (*storeOutputs)(const AttentionJob& job, const AttentionTile& tile, const AttentionState& state);

  /** Over x[0, count); argmax counts from 0. */
  VocabStats (*vocabStats)(const float* x, int64_t count);
  /** Over x[0, count); argmax is 0 where nothing is above -infinity. */
  Highest (*findHighest)(const float* x, int64_t count);
  /** Copies x to out where bit i of `allowed` is set and -infinity elsewhere. */
  void (*maskRow)(const float* x, const uint32_t* allowed, float* out, int64_t count);
  /** w = e^((x - max) * inverseTemperature), 0 where below `least`; returns the sum in f64, in a fixed order. */
  double (*weighRow)(const float* x, float max, float inverseTemperature, float least, float* w, int64_t count);
  /** Writes the ascending indices of the elements of w that are at least `least`; returns how many. */
  int64_t (*collectAtLeast)(const float* w, int64_t count, float least, int32_t* indices);
  /** How many of x are greater than `value`, or equal with an index below `index`. */
  int64_t (*countAhead)(const float* x, int64_t count, float value, int64_t index);
  /** The n highest, by falling value, ties to the lowest index; n <= count. */
  void (*topN)(const float* x, int64_t count, int64_t n, int32_t* ids, float* values);
  /** In f64, the order a function of `count`. */
  DivergenceSums (*divergenceSums)(const float* a, const float* b, float maxA, float maxB, int64_t count);

  // Linear algebra of the quantiser.
  /** y[j] -= sum over m of factors[m] * x[m * stride + j], m ascending, for j < n. */
  void (*subtractRows)(float* y, const float* x, int64_t stride, const float* factors, int64_t count, int64_t n);
  /** h[i * stride + j] += sum over t < count of a[t * 16 + i] * b[t * 16 + j], t ascending, for i and j < 16. */
  void (*addGramTile)(const float* a, const float* b, int64_t count, float* h, int64_t stride);
  /** sums[j] += sum over t < count of x[t * stride + j]^2, t ascending, for j < 16. */
  void (*addSquaresOfPanel)(const float* x, int64_t count, int64_t stride, float* sums);

  /** f64 and f32 with denormals, which the caller must allow. */
  void (*roundBlockRow)(const BlockRow& row);
  void (*roundGroupRow)(const GroupRow& row, const GroupGrid& grid);
  void (*readGroupRow)(const GroupRow& row, const GroupGrid& grid, float* values);
  /** sums = [sum of (wanted - written)^2, sum of wanted^2] */
  void (*squaredErrorOfRow)(const float* wanted, const float* written, int64_t cols, double* sums);

  // Ceilings of the machine.
  /** Reads memory and nothing else. */
  void (*readAll)(const uint8_t* from, int64_t bytes);
  /** Multiply and add in registers; each returns how many operations that were. */
  int64_t (*multiplyInt8)(int64_t loops);
  int64_t (*multiplyInt4)(int64_t loops);
  int64_t (*multiplyBf16)(int64_t loops);
  int64_t (*multiplyF32)(int64_t loops);
};

const KernelTable& kernelsAvx2();
const KernelTable& kernelsAvx512();
/** As kernelsAvx512, with the instruction for pairs of bf16 products. */
const KernelTable& kernelsAvx512Bf16();
const KernelTable& kernelsAmx();
/** As kernelsAmx, with the tiles in plain C++ beside the kernels of AVX2. */
const KernelTable& kernelsAmxTwin();

}  // namespace millrace
