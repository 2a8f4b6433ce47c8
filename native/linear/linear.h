// What a linear layer is to the rest of the addon: weights packed once, activations in one of four forms, and one
// table of functions per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "runtime/thread_pool.h"

namespace millrace {

/** Form of activations; the numbers are those of the TypeScript side. */
enum class Form : int { F32 = 0, BF16 = 1, Int8Token = 2, Int8Block32 = 3 };

/** What a paired linear does with its two halves: act(first) * second, or nothing. Numbers of the TypeScript side. */
enum class Gate : int { None = 0, Silu = 1, Gelu = 2 };

/** Formats of GGUF files that are packed from their own blocks; the numbers are those of the TypeScript side. */
enum class BlockType : int { None = 0, Q4_0 = 1, Q4_1 = 2, Q8_0 = 3, Q6K = 4, Q5_0 = 5, Q5_1 = 6 };

/** Whether blocks have an f16 minimum behind their f16 scale. */
constexpr bool hasBlockMinimums(BlockType type) { return type == BlockType::Q4_1 || type == BlockType::Q5_1; }

/** One matrix as it comes from a file, to be packed; pointers are only read during `pack`. */
struct WeightPart {
  /** 0 dense, 1 integer. */
  int kind;
  /** Dense: 0 f32, 1 f16, 2 bf16. */
  int dtype;
  /** Integer: 4 or 8. Without minimums w = scale * q with q = code (8) or code - 8 (4); with minimums
      w = scale * code + minimum, the code signed for 8 bits and 0..15 for 4 bits. */
  int bits;
  /** Columns that share a scale; divides cols. */
  int64_t groupSize;
  int64_t rows;
  int64_t cols;
  /** Dense elements, or codes ([rows, cols] int8; [rows, cols / 2] with element 2i in the low nibble), or blocks with
      codes, scales and minimums in them. May be unaligned. */
  const uint8_t* data;
  /** [rows, cols / groupSize]; null beside blocks. */
  const float* scales;
  /** [rows, cols / groupSize] or null. */
  const float* minimums;
  BlockType blockType;
  /** 0, or the height d of the heads whose rows the blocks have in adjacent pairs: row 2b + a of a head there is row
      a * d / 2 + b of the matrix. */
  int64_t pairedHeadDim;

  bool hasMinimums() const { return minimums != nullptr || hasBlockMinimums(blockType); }
};

/** A matrix of activations over memory of somebody else. The int8 forms carry numbers beside the codes, a run of words
    for each row; the pointers below are those of row 0, and the next row's are `sideStride` words on. */
struct Activations {
  Form form;
  int64_t rows;
  int64_t cols;
  /** f32, bf16 bits or int8 codes; 64-byte aligned. */
  void* data;
  /** Elements from one row to the next. Elements between cols and rowStride are zero. */
  int64_t rowStride;
  int64_t sideStride;
  /** Int8 forms: one, or [cols / 32]. */
  float* scales;
  /** Int8Token: running sums of the row's codes, entry i being the sum of the columns below 16 i, so that the sum over
      any group of a weight is one difference. Int8Block32: [cols / 32] the sum of each block. */
  int32_t* sums;
  /** Int8Block32: [cols / 32] the sum of the first 16 columns of each block, and the block's sum times its scale. */
  int32_t* halfSums;
  float* scaledSums;
};

constexpr int64_t roundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

constexpr int64_t bytesPerElement(Form form) { return form == Form::F32 ? 4 : form == Form::BF16 ? 2 : 1; }

/** Rows of f32 are contiguous; the narrow forms start each row on a 64-byte line. */
constexpr int64_t activationStride(Form form, int64_t cols) {
  return form == Form::F32 ? cols : roundUp(cols, 64 / bytesPerElement(form));
}

/** Blocks of an Int8Block32 row. */
constexpr int64_t blocksPerRow(int64_t cols) { return (cols + 31) / 32; }

/** Words beside one row's codes; whole lines. */
constexpr int64_t sideWords(Form form, int64_t cols) {
  const int64_t blocks = blocksPerRow(cols);
  return form == Form::Int8Token ? roundUp(2 + 2 * blocks, 16) : form == Form::Int8Block32 ? roundUp(4 * blocks, 16) : 0;
}

/** Bytes that `layActivations` needs, a multiple of 64. */
constexpr size_t activationBytes(Form form, int64_t rows, int64_t cols) {
  const int64_t data = roundUp(rows * activationStride(form, cols) * bytesPerElement(form), 64);
  return static_cast<size_t>(data + rows * sideWords(form, cols) * 4);
}

/** Lays a matrix over `buffer` (64-byte aligned, `activationBytes` long). Contents are not touched. */
inline Activations layActivations(void* buffer, Form form, int64_t rows, int64_t cols) {
  const int64_t stride = activationStride(form, cols);
  uint8_t* side = static_cast<uint8_t*>(buffer) + roundUp(rows * stride * bytesPerElement(form), 64);
  Activations result{form, rows, cols, buffer, stride, sideWords(form, cols), nullptr, nullptr, nullptr, nullptr};
  if (result.sideStride == 0) return result;
  const int64_t blocks = blocksPerRow(cols);
  result.scales = reinterpret_cast<float*>(side);
  result.sums = reinterpret_cast<int32_t*>(side) + (form == Form::Int8Token ? 1 : blocks);
  if (form == Form::Int8Token) return result;
  result.halfSums = result.sums + blocks;
  result.scaledSums = result.scales + 3 * blocks;
  return result;
}

/** Rows [first, first + count) of a matrix. */
inline Activations rowsOf(const Activations& x, int64_t first, int64_t count) {
  Activations view = x;
  view.rows = count;
  view.data = static_cast<uint8_t*>(x.data) + first * x.rowStride * bytesPerElement(x.form);
  if (x.scales == nullptr) return view;
  view.scales += first * x.sideStride;
  view.sums += first * x.sideStride;
  if (x.halfSums == nullptr) return view;
  view.halfSums += first * x.sideStride;
  view.scaledSums += first * x.sideStride;
  return view;
}

/** A weight matrix [rows, cols] in the order that one instruction set's kernels read. */
class PackedLinear {
 public:
  virtual ~PackedLinear() = default;
  /** For people: "int4 g32 + min", "bf16" ... Lives as long as the object. */
  virtual const char* description() const = 0;

  int64_t rows = 0;
  int64_t cols = 0;
  Form inputForm = Form::F32;
  /** Rows of two equal parts interleaved for a gate in the epilogue. */
  bool paired = false;
  /** Memory held. */
  size_t sizeBytes = 0;
};

/** What a linear does with its sums: bias, residual, gate, in that order, then the form of `to`. */
struct LinearOutput {
  /** [x.rows, columns], f32 or, with a gate, a form that `takesForm` knows. */
  Activations to;
  /** [weight.rows] or null. */
  const float* bias;
  /** Null, or the data of `to`, which is then f32. */
  const float* residual;
  /** For paired weights without residual; halves the columns. */
  Gate gate;
};

/** The linear kernels of one instruction set. No function throws, but `pack` may run out of memory (bad_alloc). */
struct LinearKernels {
  /** Repacks parts stacked along the rows; null and a message when there is no kernel for the pair of weight and
      input form. */
  std::unique_ptr<PackedLinear> (*pack)(const WeightPart* parts, int numParts, Form inputForm, bool paired,
                                        ThreadPool& pool, std::string& error);
  /** Memory that `run` needs beside its operands for so many rows; may be 0. */
  size_t (*scratchBytes)(const PackedLinear& weight, int64_t rows, int threads);
  /** to[r, n] = x[r] . w[n]. A row of the result depends on its own row of x only. `scratch` is 64-byte aligned. */
  void (*run)(const PackedLinear& weight, const Activations& x, const LinearOutput& output, uint8_t* scratch,
              ThreadPool& pool);
  /** Whether `run` can write this form itself. */
  bool (*takesForm)(const PackedLinear& weight, Form form);
  /** Row of the matrix as f32 [cols], exactly. Rows count parts in order, also when paired. */
  void (*unpackRow)(const PackedLinear& weight, int64_t row, float* out);
  /** Writes one f32 row [cols] into row `row` of dst in dst's form, padding included. */
  void (*quantizeRow)(const float* x, int64_t cols, Activations& dst, int64_t row);
};

const LinearKernels& linearKernelsAvx2();
const LinearKernels& linearKernelsAvx512();

}  // namespace millrace
