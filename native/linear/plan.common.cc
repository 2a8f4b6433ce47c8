#include "linear/plan.h"

#include <numeric>

#include "linear/bits.h"
#include "linear/blocks.h"

namespace millrace {

namespace {

/** Sums of products of two codes stay exact in 32 bits: 128 · 127 · 131,072 < 2^31. */
constexpr int64_t maxIntegerCols = 131072;

const char* formName(Form form) {
  switch (form) {
    case Form::F32: return "f32";
    case Form::BF16: return "bf16";
    case Form::Int8Token: return "int8-token";
    case Form::Int8Block32: return "int8-block32";
  }
  return "unknown";
}

bool checkPart(const WeightPart& part, const WeightPart& first, std::string& error) {
  const auto say = [&](const std::string& text) {
    error = text;
    return false;
  };
  if (part.cols != first.cols) {
    return say("Parts of a stacked linear have " + std::to_string(first.cols) + " and " + std::to_string(part.cols) +
               " columns. They need the same number. Pack them one by one.");
  }
  if (part.kind != first.kind) {
    return say("A stacked linear mixes float and integer parts. All parts must be one or the other. "
               "Pack them one by one.");
  }
  if (part.kind == 0) return true;
  if (part.bits != 4 && part.bits != 8) {
    return say("An integer weight has " + std::to_string(part.bits) + " bits. Kernels exist for 4 and 8 bits.");
  }
  const bool divides = part.groupSize > 0 && part.cols % part.groupSize == 0;
  const bool fits = divides && (part.groupSize == part.cols || part.groupSize % 16 == 0);
  if (!fits || (part.bits == 4 && part.cols % 2 != 0)) {
    return say("An integer weight of " + std::to_string(part.bits) + " bits has groups of " +
               std::to_string(part.groupSize) + " over " + std::to_string(part.cols) +
               " columns. Groups must be multiples of 16 that divide the columns, or the whole row.");
  }
  if (part.cols > maxIntegerCols) {
    return say("An integer weight has " + std::to_string(part.cols) + " columns. Integer kernels take at most " +
               std::to_string(maxIntegerCols) + ".");
  }
  return true;
}

/** One form for all parts. Stacking widens where parts differ; every step is exact. */
bool joinParts(const WeightPart* parts, int numParts, PackedMatrix& matrix, std::string& error) {
  const WeightPart& first = parts[0];
  matrix.codes = partCodes(first);
  matrix.groupSize = first.kind == 0 ? first.cols : first.groupSize;
  matrix.hasMinimums = false;
  for (int i = 0; i < numParts; ++i) {
    const WeightPart& part = parts[i];
    if (!checkPart(part, first, error)) return false;
    matrix.rows += part.rows;
    if (part.kind == 0) {
      if (partCodes(part) != matrix.codes) matrix.codes = Codes::F32;
      continue;
    }
    matrix.hasMinimums = matrix.hasMinimums || part.hasMinimums();
    // 4-bit codes mean code - 8 or code; a mixture needs 8 bits to hold both.
    const bool sameZero = part.bits == 8 || part.hasMinimums() == first.hasMinimums();
    if (partCodes(part) != matrix.codes || !sameZero) matrix.codes = Codes::Int8;
    matrix.groupSize = std::gcd(matrix.groupSize, part.groupSize);
  }
  if (matrix.isInteger() && matrix.groupSize != first.cols && matrix.groupSize % 16 != 0) {
    error = "Parts of a stacked linear have groups that share no multiple of 16 columns. Pack them one by one.";
    return false;
  }
  return true;
}

ScaleType narrowestScales(const WeightPart* parts, int numParts) {
  bool f16 = true;
  bool bf16 = true;
  uint16_t ignored;
  for (int i = 0; i < numParts && (f16 || bf16); ++i) {
    if (parts[i].blockType != BlockType::None) {
      // What a file calls f16 need not be looked at; a product fits neither.
      f16 = f16 && hasF16Scales(parts[i].blockType);
      bf16 = false;
      continue;
    }
    const int64_t count = parts[i].rows * (parts[i].cols / parts[i].groupSize);
    for (const float* values : {parts[i].scales, parts[i].minimums}) {
      for (int64_t j = 0; values != nullptr && j < count && (f16 || bf16); ++j) {
        f16 = f16 && narrowF16(values[j], ignored);
        bf16 = bf16 && narrowBf16(values[j], ignored);
      }
    }
  }
  return f16 ? ScaleType::F16 : bf16 ? ScaleType::BF16 : ScaleType::F32;
}

std::string describe(const PackedMatrix& matrix) {
  static const char* const names[] = {"f32", "f16", "bf16", "int8", "int4"};
  std::string text = names[static_cast<int>(matrix.codes)];
  if (!matrix.isInteger()) return text;
  text += matrix.groupSize == matrix.cols ? " channel" : " g" + std::to_string(matrix.groupSize);
  return matrix.hasMinimums ? text + " + min" : text;
}

int64_t bytesPerTile(const PackedMatrix& matrix) {
  switch (matrix.codes) {
    case Codes::F32: return matrix.cols * 64;
    case Codes::F16: return matrix.cols * 32;
    case Codes::BF16: return roundUp(matrix.cols, matrix.inputForm == Form::BF16 ? 32 : 2) * 32;
    case Codes::Int8: return matrix.isPerRow() ? roundUp(matrix.paddedCols, 64) * 16 : matrix.paddedCols * 16;
    case Codes::Int4: return matrix.paddedCols / 8 * 64;
  }
  return 0;
}

}  // namespace

Codes partCodes(const WeightPart& part) {
  if (part.kind == 0) return part.dtype == 0 ? Codes::F32 : part.dtype == 1 ? Codes::F16 : Codes::BF16;
  return part.bits == 8 ? Codes::Int8 : Codes::Int4;
}

bool planMatrix(const WeightPart* parts, int numParts, Form inputForm, bool paired, PackedMatrix& matrix,
                std::string& error) {
  if (numParts < 1 || parts[0].cols < 1) {
    error = "A linear has no parts or no columns. It needs at least one of each.";
    return false;
  }
  if (!joinParts(parts, numParts, matrix, error)) return false;
  matrix.cols = parts[0].cols;
  matrix.inputForm = inputForm;
  matrix.paired = paired;
  matrix.text = describe(matrix);
  const bool takesCodes = inputForm == Form::Int8Token || inputForm == Form::Int8Block32;
  if ((takesCodes && !matrix.isInteger()) || (inputForm == Form::BF16 && matrix.isInteger())) {
    error = "There is no kernel for " + matrix.text + " weights with " + formName(inputForm) +
            " activations. " +
            (takesCodes ? "Float weights take f32 or bf16 activations."
                        : "Integer weights take f32, int8-token or int8-block32 activations.") +
            " Choose another activation form.";
    return false;
  }
  if (paired && matrix.rows % 2 != 0) {
    error = "A paired linear has " + std::to_string(matrix.rows) + " rows. It needs two parts of equal height.";
    return false;
  }
  matrix.paddedCols =
      matrix.isInteger() && matrix.groupSize == matrix.cols ? roundUp(matrix.cols, 32) : matrix.cols;
  matrix.numTiles = roundUp(matrix.partRows(), lanesPerTile) / lanesPerTile * (paired ? 2 : 1);
  matrix.tileBytes = bytesPerTile(matrix);
  if (matrix.isInteger()) matrix.scaleType = narrowestScales(parts, numParts);
  return true;
}

}  // namespace millrace
