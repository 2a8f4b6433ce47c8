#include <sys/mman.h>

#include <cstring>
#include <new>
#include <vector>

#include "linear/bits.h"
#include "linear/packed.h"
#include "linear/plan.h"

namespace millrace {

namespace {

constexpr size_t hugePageBytes = size_t{2} << 20;

uint32_t loadUnit(const uint8_t* from, int64_t bytes) {
  uint32_t unit = 0;
  std::memcpy(&unit, from, static_cast<size_t>(bytes < 4 ? bytes : 4));
  return unit;
}

/** Nibbles 0…7 of a row to bytes of (0,4), (1,5), (2,6), (3,7). */
uint32_t interleaveNibbles(uint32_t x) {
  x = (x & 0xff0000ff) | (x & 0x00ff0000) >> 8 | (x & 0x0000ff00) << 8;
  return (x & 0xf00ff00f) | (x & 0x0f000f00) >> 4 | (x & 0x00f000f0) << 4;
}

struct SourceRow {
  const WeightPart* part;
  int64_t row;
};

SourceRow findRow(const WeightPart* parts, int64_t row) {
  while (row >= parts->rows) row -= (parts++)->rows;
  return {parts, row};
}

int64_t sourceRowBytes(Codes codes, int64_t cols) {
  switch (codes) {
    case Codes::F32: return cols * 4;
    case Codes::F16:
    case Codes::BF16: return cols * 2;
    case Codes::Int8: return cols;
    case Codes::Int4: return cols / 2;
  }
  return 0;
}

Codes partCodes(const WeightPart& part) {
  if (part.kind == 0) return part.dtype == 0 ? Codes::F32 : part.dtype == 1 ? Codes::F16 : Codes::BF16;
  return part.bits == 8 ? Codes::Int8 : Codes::Int4;
}

/** Bytes of a row in the matrix's codes; widened into `room` where the part holds another. */
const uint8_t* rowBytes(const PackedMatrix& matrix, SourceRow source, std::vector<uint8_t>& room) {
  const WeightPart& part = *source.part;
  const Codes codes = partCodes(part);
  const uint8_t* from = part.data + source.row * sourceRowBytes(codes, part.cols);
  if (codes == matrix.codes) return from;
  room.resize(static_cast<size_t>(sourceRowBytes(matrix.codes, part.cols)));
  for (int64_t col = 0; col < part.cols; ++col) {
    if (codes == Codes::Int4) {
      const int code = from[col / 2] >> (col % 2 * 4) & 15;
      room[static_cast<size_t>(col)] = static_cast<uint8_t>(part.minimums != nullptr ? code : code - 8);
    } else {
      uint16_t half;
      std::memcpy(&half, from + 2 * col, 2);
      const float value = codes == Codes::F16 ? widenF16(half) : widenBf16(half);
      std::memcpy(room.data() + 4 * col, &value, 4);
    }
  }
  return room.data();
}

void interleaveUnits(const PackedMatrix& matrix, const uint8_t* const* rows, int64_t bytes, uint32_t* to) {
  const int64_t units = matrix.tileBytes / 64;
  const int64_t whole = bytes / 4;
  for (int64_t unit = 0; unit < units; ++unit) {
    for (int64_t lane = 0; lane < lanesPerTile; ++lane) {
      uint32_t value = 0;
      if (rows[lane] != nullptr && unit * 4 < bytes) {
        value = loadUnit(rows[lane] + unit * 4, unit < whole ? 4 : bytes - whole * 4);
      }
      if (matrix.codes == Codes::Int8) value ^= 0x80808080;
      if (matrix.codes == Codes::Int4) value = interleaveNibbles(value);
      to[unit * lanesPerTile + lane] = value;
    }
  }
}

void interleaveHalves(const PackedMatrix& matrix, const uint8_t* const* rows, uint8_t* to) {
  for (int64_t col = 0; col < matrix.cols; ++col) {
    for (int64_t lane = 0; lane < lanesPerTile; ++lane) {
      uint16_t value = 0;
      if (rows[lane] != nullptr) std::memcpy(&value, rows[lane] + 2 * col, 2);
      std::memcpy(to + (col * lanesPerTile + lane) * 2, &value, 2);
    }
  }
}

void storeScale(const PackedMatrix& matrix, uint8_t* base, int64_t index, float value) {
  uint16_t half = 0;
  switch (matrix.scaleType) {
    case ScaleType::F32: std::memcpy(base + index * 4, &value, 4); return;
    case ScaleType::F16: narrowF16(value, half); break;
    case ScaleType::BF16: narrowBf16(value, half); break;
  }
  std::memcpy(base + index * 2, &half, 2);
}

void packScales(const PackedMatrix& matrix, const WeightPart* parts, int64_t tile) {
  const int64_t groups = matrix.numGroups();
  const int64_t minimums = matrix.hasMinimums ? matrix.minimums - matrix.scales : 0;
  for (int64_t lane = 0; lane < lanesPerTile; ++lane) {
    const int64_t row = matrix.sourceRow(tile, lane);
    for (int64_t group = 0; group < groups; ++group) {
      float scale = 0;
      float minimum = 0;
      if (row >= 0) {
        const SourceRow source = findRow(parts, row);
        const WeightPart& part = *source.part;
        const int64_t at =
            source.row * (part.cols / part.groupSize) + group * matrix.groupSize / part.groupSize;
        scale = part.scales[at];
        if (part.minimums != nullptr) minimum = part.minimums[at];
      }
      const int64_t index = (tile * groups + group) * lanesPerTile + lane;
      storeScale(matrix, matrix.scaleBytes.data(), index, scale);
      if (matrix.hasMinimums) storeScale(matrix, matrix.scaleBytes.data() + minimums, index, minimum);
    }
  }
}

void packTile(const PackedMatrix& matrix, const WeightPart* parts, int64_t tile) {
  std::vector<uint8_t> rooms[lanesPerTile];
  const uint8_t* rows[lanesPerTile];
  for (int64_t lane = 0; lane < lanesPerTile; ++lane) {
    const int64_t row = matrix.sourceRow(tile, lane);
    rows[lane] = row < 0 ? nullptr : rowBytes(matrix, findRow(parts, row), rooms[lane]);
  }
  uint8_t* to = matrix.codeBytes.data() + tile * matrix.tileBytes;
  if (matrix.codes == Codes::F16) interleaveHalves(matrix, rows, to);
  else interleaveUnits(matrix, rows, sourceRowBytes(matrix.codes, matrix.cols), reinterpret_cast<uint32_t*>(to));
  if (matrix.isInteger()) packScales(matrix, parts, tile);
}

float scaleAt(const PackedMatrix& matrix, const uint8_t* base, int64_t index) {
  uint16_t half;
  float value;
  if (matrix.scaleType == ScaleType::F32) {
    std::memcpy(&value, base + index * 4, 4);
    return value;
  }
  std::memcpy(&half, base + index * 2, 2);
  return matrix.scaleType == ScaleType::F16 ? widenF16(half) : widenBf16(half);
}

/** Signed code of a column: what the scale multiplies. */
int codeAt(const PackedMatrix& matrix, const uint8_t* lane, int64_t col) {
  if (matrix.codes == Codes::Int8) return lane[col / 4 * 64 + col % 4] - 128;
  const int code = lane[col / 8 * 64 + col % 4] >> (col % 8 / 4 * 4) & 15;
  return matrix.hasMinimums ? code : code - 8;
}

float denseAt(const PackedMatrix& matrix, const uint8_t* tile, int64_t lane, int64_t col) {
  uint16_t half;
  float value;
  switch (matrix.codes) {
    case Codes::F16:
      std::memcpy(&half, tile + (col * lanesPerTile + lane) * 2, 2);
      return widenF16(half);
    case Codes::BF16:
      std::memcpy(&half, tile + col / 2 * 64 + lane * 4 + col % 2 * 2, 2);
      return widenBf16(half);
    default: std::memcpy(&value, tile + (col * lanesPerTile + lane) * 4, 4); return value;
  }
}

}  // namespace

void AlignedBytes::allocate(size_t bytes) {
  const bool large = bytes >= hugePageBytes;
  // Kernels may prefetch a little past the end, but never read there.
  size_ = static_cast<size_t>(roundUp(static_cast<int64_t>(bytes), 64));
  if (size_ == 0) return;
  std::free(data_);
  data_ = nullptr;
  void* place = nullptr;
  // Not aligned_alloc, which takes multiples of the alignment only.
  if (posix_memalign(&place, large ? hugePageBytes : 64, size_) != 0) throw std::bad_alloc();
  data_ = static_cast<uint8_t*>(place);
#ifdef MADV_HUGEPAGE
  // Advice only: without huge pages the kernels are slower and nothing else changes.
  if (large) (void)madvise(data_, size_, MADV_HUGEPAGE);
#endif
}

std::unique_ptr<PackedLinear> packLinear(const WeightPart* parts, int numParts, Form inputForm, bool paired,
                                         ThreadPool& pool, std::string& error) {
  auto matrix = std::make_unique<PackedMatrix>();
  if (!planMatrix(parts, numParts, inputForm, paired, *matrix, error)) return nullptr;
  matrix->codeBytes.allocate(static_cast<size_t>(matrix->numTiles * matrix->tileBytes));
  if (matrix->isInteger()) {
    const int64_t width = matrix->scaleType == ScaleType::F32 ? 4 : 2;
    const int64_t bytes = matrix->numTiles * matrix->numGroups() * lanesPerTile * width;
    matrix->scaleBytes.allocate(static_cast<size_t>(matrix->hasMinimums ? 2 * bytes : bytes));
    matrix->scales = matrix->scaleBytes.data();
    if (matrix->hasMinimums) matrix->minimums = matrix->scales + bytes;
  }
  matrix->sizeBytes = matrix->codeBytes.size() + matrix->scaleBytes.size();
  pool.parallelFor(matrix->numTiles, [&](int64_t tile, int) { packTile(*matrix, parts, tile); });
  return matrix;
}

void unpackRow(const PackedLinear& weight, int64_t row, float* out) {
  const PackedMatrix& matrix = static_cast<const PackedMatrix&>(weight);
  const int64_t half = matrix.partRows();
  const int64_t block = row % half / lanesPerTile;
  const int64_t tile = matrix.paired ? 2 * block + row / half : block;
  const int64_t lane = row % half % lanesPerTile;
  const uint8_t* codes = matrix.tileCodes(tile);
  if (!matrix.isInteger()) {
    for (int64_t col = 0; col < matrix.cols; ++col) out[col] = denseAt(matrix, codes, lane, col);
    return;
  }
  for (int64_t col = 0; col < matrix.cols; ++col) {
    const int64_t index = (tile * matrix.numGroups() + col / matrix.groupSize) * lanesPerTile + lane;
    const float scaled = scaleAt(matrix, matrix.scales, index) *
                         static_cast<float>(codeAt(matrix, codes + lane * 4, col));
    out[col] = matrix.hasMinimums ? scaled + scaleAt(matrix, matrix.minimums, index) : scaled;
  }
}

}  // namespace millrace
