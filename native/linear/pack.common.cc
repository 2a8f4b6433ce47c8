#include <cstring>
#include <vector>

#include "linear/bits.h"
#include "linear/blocks.h"
#include "linear/interleave.h"
#include "linear/packed.h"
#include "linear/plan.h"

namespace millrace {

namespace {

uint32_t loadWord(const uint8_t* from) {
  uint32_t word;
  std::memcpy(&word, from, 4);
  return word;
}

/** Nibbles 0…7 of a row to bytes of (0,4), (1,5), (2,6), (3,7). */
template <class Word>
Word interleaveNibbles(Word x) {
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

/** Room for the codes of a row on their way into the matrix. */
struct RowRoom {
  std::vector<uint8_t> read;
  std::vector<uint8_t> wide;
};

/** Bytes of a row in the part's own codes. */
const uint8_t* partRow(SourceRow source, RowRoom& room) {
  const WeightPart& part = *source.part;
  const int64_t bytes = sourceRowBytes(partCodes(part), part.cols);
  if (part.blockType == BlockType::None) return part.data + source.row * bytes;
  room.read.resize(static_cast<size_t>(bytes));
  readBlockCodes(part.blockType, blockRow(part, source.row), part.cols, room.read.data());
  return room.read.data();
}

/** Bytes of a row in the matrix's codes; widened into `room` where the part holds another. */
const uint8_t* rowBytes(const PackedMatrix& matrix, SourceRow source, RowRoom& room) {
  const WeightPart& part = *source.part;
  const Codes codes = partCodes(part);
  const uint8_t* from = partRow(source, room);
  if (codes == matrix.codes) return from;
  room.wide.resize(static_cast<size_t>(sourceRowBytes(matrix.codes, part.cols)));
  for (int64_t col = 0; col < part.cols; ++col) {
    if (codes == Codes::Int4) {
      const int code = from[col / 2] >> (col % 2 * 4) & 15;
      room.wide[static_cast<size_t>(col)] = static_cast<uint8_t>(part.hasMinimums() ? code : code - 8);
    } else {
      const uint16_t half = halfAt(from + 2 * col);
      const float value = codes == Codes::F16 ? widenF16(half) : widenBf16(half);
      std::memcpy(room.wide.data() + 4 * col, &value, 4);
    }
  }
  return room.wide.data();
}

template <class Word>
Word packWord(Codes codes, Word word) {
  return codes == Codes::Int8 ? word ^ 0x80808080 : codes == Codes::Int4 ? interleaveNibbles(word) : word;
}

/** Units of one row of `bytes` bytes, from `unit` on, to its lane of a tile, zeros behind its end; null for a lane
    without a row. */
void interleaveUnits(const PackedMatrix& matrix, const uint8_t* row, int64_t bytes, uint32_t* to, int64_t unit = 0) {
  const int64_t units = matrix.tileBytes / 64;
  const int64_t whole = row == nullptr ? 0 : bytes / 4;
  for (; unit < whole; ++unit) to[unit * lanesPerTile] = packWord(matrix.codes, loadWord(row + unit * 4));
  for (; unit < units; ++unit) {
    uint32_t rest = 0;
    if (row != nullptr && unit == whole) std::memcpy(&rest, row + unit * 4, static_cast<size_t>(bytes % 4));
    to[unit * lanesPerTile] = packWord(matrix.codes, rest);
  }
}

/** Four units of a block of Q4_0 or Q4_1, whose byte j holds columns j and j + 16. */
Words unitsOfQ4(Words block) {
  const Words low = block & 0x0f0f0f0f;
  const Words high = block >> 4 & 0x0f0f0f0f;
  const Words even = __builtin_shufflevector(low, high, 0, 2, 4, 6);
  const Words odd = __builtin_shufflevector(low, high, 1, 3, 5, 7);
  return even | odd << 4;
}

/** Sixteen rows in blocks of Q4_0, Q4_1 or Q8_0 to a tile. */
template <BlockType type>
void interleaveBlocks(const uint8_t* const* rows, int64_t cols, uint32_t* to) {
  constexpr int64_t units = type == BlockType::Q8_0 ? 8 : 4;
  for (int64_t block = 0; block < cols / 32; ++block) {
    const int64_t at = block * bytesPerBlock(type) + blockCodesAt(type);
    for (int64_t unit = 0; unit < units; unit += 4, to += 4 * lanesPerTile) {
      interleaveFour([&](int64_t lane) {
        const Words words = loadWords(rows[lane] + at + 4 * unit);
        return type == BlockType::Q8_0 ? words ^ 0x80808080 : unitsOfQ4(words);
      }, to);
    }
  }
}

/** Sixteen rows in the matrix's codes to a tile. */
void interleaveRows(const PackedMatrix& matrix, const uint8_t* const* rows, uint32_t* to) {
  const int64_t bytes = sourceRowBytes(matrix.codes, matrix.cols);
  const int64_t whole = bytes / 16 * 4;
  for (int64_t unit = 0; unit < whole; unit += 4) {
    interleaveFour([&](int64_t lane) { return packWord(matrix.codes, loadWords(rows[lane] + 4 * unit)); },
                   to + unit * lanesPerTile);
  }
  for (int64_t lane = 0; lane < lanesPerTile; ++lane) interleaveUnits(matrix, rows[lane], bytes, to + lane, whole);
}

/** Whether `interleaveBlocks` knows the type, or there are no blocks. */
bool liesAsCodes(BlockType type) {
  switch (type) {
    case BlockType::Q5_0:
    case BlockType::Q5_1:
    case BlockType::Q6K: return false;
    default: return true;
  }
}

/** Codes of a tile whose sixteen rows lie in the file as the matrix has them; false where they do not. */
bool packAlike(const PackedMatrix& matrix, const SourceRow* sources, uint32_t* to) {
  const uint8_t* rows[lanesPerTile];
  for (int64_t lane = 0; lane < lanesPerTile; ++lane) {
    const WeightPart* part = sources[lane].part;
    if (part == nullptr || partCodes(*part) != matrix.codes) return false;
    if (part->blockType != sources[0].part->blockType || !liesAsCodes(part->blockType)) return false;
    const bool isBlocks = part->blockType != BlockType::None;
    rows[lane] = isBlocks ? blockRow(*part, sources[lane].row)
                          : part->data + sources[lane].row * sourceRowBytes(matrix.codes, matrix.cols);
  }
  switch (sources[0].part->blockType) {
    case BlockType::Q4_0: interleaveBlocks<BlockType::Q4_0>(rows, matrix.cols, to); break;
    case BlockType::Q4_1: interleaveBlocks<BlockType::Q4_1>(rows, matrix.cols, to); break;
    case BlockType::Q8_0: interleaveBlocks<BlockType::Q8_0>(rows, matrix.cols, to); break;
    default: interleaveRows(matrix, rows, to); break;
  }
  return true;
}

/** Codes of a tile, row by row: rows may be missing, of several types, or widened on their way. */
void packLanes(const PackedMatrix& matrix, const SourceRow* sources, uint32_t* to) {
  const int64_t bytes = sourceRowBytes(matrix.codes, matrix.cols);
  RowRoom room;
  for (int64_t lane = 0; lane < lanesPerTile; ++lane) {
    const bool isThere = sources[lane].part != nullptr;
    const uint8_t* row = isThere ? rowBytes(matrix, sources[lane], room) : nullptr;
    interleaveUnits(matrix, row, bytes, to + lane);
  }
}

/** Columns of f16 to a tile: the one form whose unit is 16 bits. */
void packHalves(const PackedMatrix& matrix, const SourceRow* sources, uint8_t* to) {
  RowRoom rooms[lanesPerTile];
  const uint8_t* rows[lanesPerTile];
  for (int64_t lane = 0; lane < lanesPerTile; ++lane) {
    rows[lane] = sources[lane].part == nullptr ? nullptr : rowBytes(matrix, sources[lane], rooms[lane]);
  }
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

/** Scales and minimums of one lane, from the f32 arrays or the blocks of its part. */
void packLaneScales(const PackedMatrix& matrix, SourceRow source, int64_t index) {
  const WeightPart& part = *source.part;
  const bool isBlocks = part.blockType != BlockType::None;
  const uint8_t* row = isBlocks ? blockRow(part, source.row) : nullptr;
  const int64_t first = source.row * (part.cols / part.groupSize);
  uint8_t* scales = matrix.scaleBytes.data();
  uint8_t* minimums = matrix.hasMinimums ? scales + (matrix.minimums - matrix.scales) : nullptr;
  for (int64_t group = 0; group < matrix.numGroups(); ++group, index += matrix.scaleStride()) {
    const int64_t at = group * matrix.groupSize / part.groupSize;
    storeScale(matrix, scales, index, isBlocks ? blockScale(part.blockType, row, at) : part.scales[first + at]);
    if (minimums == nullptr) continue;
    float minimum = 0;
    if (isBlocks && part.hasMinimums()) minimum = widenF16(blockMinimumBits(part.blockType, row, at));
    else if (part.minimums != nullptr) minimum = part.minimums[first + at];
    storeScale(matrix, minimums, index, minimum);
  }
}

/** As `packLaneScales` where blocks and matrix both have f16: the bits are moved. */
void moveLaneScales(const PackedMatrix& matrix, SourceRow source, int64_t index) {
  const WeightPart& part = *source.part;
  const uint8_t* row = blockRow(part, source.row);
  uint16_t* scales = reinterpret_cast<uint16_t*>(matrix.scaleBytes.data());
  uint16_t* minimums = matrix.hasMinimums ? scales + (matrix.minimums - matrix.scales) / 2 : nullptr;
  for (int64_t group = 0; group < matrix.numGroups(); ++group, index += matrix.scaleStride()) {
    const int64_t block = group * matrix.groupSize / part.groupSize;
    scales[index] = blockScaleBits(part.blockType, row, block);
    if (minimums == nullptr) continue;
    minimums[index] = part.hasMinimums() ? blockMinimumBits(part.blockType, row, block) : uint16_t{0};
  }
}

void clearLaneScales(const PackedMatrix& matrix, int64_t index) {
  const int64_t minimums = matrix.minimums - matrix.scales;
  for (int64_t group = 0; group < matrix.numGroups(); ++group, index += matrix.scaleStride()) {
    storeScale(matrix, matrix.scaleBytes.data(), index, 0);
    if (matrix.hasMinimums) storeScale(matrix, matrix.scaleBytes.data() + minimums, index, 0);
  }
}

void packTileScales(const PackedMatrix& matrix, const SourceRow* sources, int64_t tile) {
  for (int64_t lane = 0; lane < lanesPerTile; ++lane) {
    const int64_t index = matrix.scaleIndex(tile, 0) + lane;
    if (sources[lane].part == nullptr) clearLaneScales(matrix, index);
    else if (matrix.scaleType == ScaleType::F16 && hasF16Scales(sources[lane].part->blockType))
      moveLaneScales(matrix, sources[lane], index);
    else packLaneScales(matrix, sources[lane], index);
  }
}

void packTile(const PackedMatrix& matrix, const WeightPart* parts, int64_t tile) {
  SourceRow sources[lanesPerTile];
  for (int64_t lane = 0; lane < lanesPerTile; ++lane) {
    const int64_t row = matrix.sourceRow(tile, lane);
    sources[lane] = row < 0 ? SourceRow{nullptr, 0} : findRow(parts, row);
  }
  uint8_t* to = matrix.codeBytes.data() + tile * matrix.tileBytes;
  uint32_t* units = reinterpret_cast<uint32_t*>(to);
  if (matrix.codes == Codes::F16) packHalves(matrix, sources, to);
  else if (!packAlike(matrix, sources, units)) packLanes(matrix, sources, units);
  if (matrix.isInteger()) packTileScales(matrix, sources, tile);
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

std::unique_ptr<PackedLinear> packLinear(const WeightPart* parts, int numParts, Form inputForm, bool paired,
                                         ThreadPool& pool, std::string& error) {
  auto matrix = std::make_unique<PackedMatrix>();
  if (!planMatrix(parts, numParts, inputForm, paired, *matrix, error)) return nullptr;
  matrix->codeBytes.allocate(static_cast<size_t>(matrix->numTiles * matrix->tileBytes));
  if (matrix->isInteger()) {
    const int64_t width = matrix->scaleType == ScaleType::F32 ? 4 : 2;
    matrix->scaleBytes.allocate(static_cast<size_t>(matrix->scaleIndex(matrix->numTiles, 0) * width));
    matrix->scales = matrix->scaleBytes.data();
    if (matrix->hasMinimums) matrix->minimums = matrix->scales + lanesPerTile * width;
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
    const int64_t index = matrix.scaleIndex(tile, col / matrix.groupSize) + lane;
    const float scaled = scaleAt(matrix, matrix.scales, index) *
                         static_cast<float>(codeAt(matrix, codes + lane * 4, col));
    out[col] = matrix.hasMinimums ? scaled + scaleAt(matrix, matrix.minimums, index) : scaled;
  }
}

}  // namespace millrace
