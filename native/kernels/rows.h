// Declarations of one instruction set's kernels, for its table.
#pragma once

#include "kernels/kernel_table.h"

namespace millrace::MILLRACE_ISA {

void rmsNormRow(const float* x, const float* weight, int64_t cols, float eps, float* out);
void addScaledRow(float* x, const float* y, float scale, int64_t cols);
void addRow(float* x, const float* y, int64_t cols);
void layerNormRow(float* x, const float* weight, const float* bias, int64_t cols, float eps);
void scaleRow(float* x, float factor, int64_t cols);
void softCapRow(float* x, float cap, int64_t cols);
void geluRow(float* x, int64_t cols);
void gateRow(const float* first, const float* second, Gate gate, float* out, int64_t cols);
void ropeAndStoreToken(const RopeJob& job, int64_t token);

void loadQueries(const AttentionJob& job, const AttentionTile& tile, const AttentionScratch& scratch);
void attendPartition(const AttentionJob& job, const AttentionTile& tile, int64_t partition,
                     const AttentionScratch& scratch, const AttentionState& state);
void attendPartitionInBf16(const AttentionJob& job, const AttentionTile& tile, int64_t partition,
                           const AttentionScratch& scratch, const AttentionState& state);
void mergePartition(const AttentionState& into, const AttentionState& next, int64_t rows, int64_t dimStride);
void storeOutputs(const AttentionJob& job, const AttentionTile& tile, const AttentionState& state);

VocabStats vocabStats(const float* x, int64_t count);
Highest findHighest(const float* x, int64_t count);
void maskRow(const float* x, const uint32_t* allowed, float* out, int64_t count);
double weighRow(const float* x, float max, float inverseTemperature, float least, float* w, int64_t count);
int64_t collectAtLeast(const float* w, int64_t count, float least, int32_t* indices);
int64_t countAhead(const float* x, int64_t count, float value, int64_t index);
void topN(const float* x, int64_t count, int64_t n, int32_t* ids, float* values);
DivergenceSums divergenceSums(const float* a, const float* b, float maxA, float maxB, int64_t count);

void subtractRows(float* y, const float* x, int64_t stride, const float* factors, int64_t count, int64_t n);
void addGramTile(const float* a, const float* b, int64_t count, float* h, int64_t stride);
void addSquaresOfPanel(const float* x, int64_t count, int64_t stride, float* sums);

void roundBlockRow(const BlockRow& row);
void roundGroupRow(const GroupRow& row, const GroupGrid& grid);
void readGroupRow(const GroupRow& row, const GroupGrid& grid, float* values);
void squaredErrorOfRow(const float* wanted, const float* written, int64_t cols, double* sums);

void readAll(const uint8_t* from, int64_t bytes);
int64_t multiplyInt8(int64_t loops);
int64_t multiplyInt4(int64_t loops);
int64_t multiplyBf16(int64_t loops);
int64_t multiplyF32(int64_t loops);

}  // namespace millrace::MILLRACE_ISA
