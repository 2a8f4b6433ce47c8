#include "addon/solver_functions.h"

#include "addon/read_weight.h"
#include "ops/context.h"

namespace millrace {

namespace {

Context& contextOf(const Args& args) { return args.external<Context>(0); }

const int8_t* levelsOf(const Args& args, size_t index) {
  return args.isNull(index) ? nullptr : reinterpret_cast<const int8_t*>(args.bytes(index, 16).data);
}

}  // namespace

/** (context, x, count, cols, gram) */
napi_value addGram(const Args& args) {
  const int64_t count = args.integer(2);
  const int64_t cols = args.integer(3);
  contextOf(args).addGram(args.floats(1, count * cols).data, count, cols, args.floats(4, cols * cols).data);
  return nullptr;
}

/** (context, x, count, cols, sums) */
napi_value addSquares(const Args& args) {
  const int64_t count = args.integer(2);
  const int64_t cols = args.integer(3);
  contextOf(args).addSquares(args.floats(1, count * cols).data, count, cols, args.floats(4, cols).data);
  return nullptr;
}

/** (context, matrix, n, inverse) → boolean */
napi_value factorize(const Args& args) {
  const int64_t n = args.integer(2);
  const bool isPositive = contextOf(args).factorize(args.floats(1, n * n).data, n, args.floats(3, n * n).data);
  return makeFlag(args.env(), isPositive);
}

/** (context, rows, cols, group size, values, codes, scales, minimums or null, order, upper, least, most, levels or null) */
napi_value roundRows(const Args& args) {
  const int64_t rows = args.integer(1);
  const int64_t cols = args.integer(2);
  RoundingJob job{};
  job.rows = rows;
  job.cols = cols;
  job.groupSize = args.integer(3);
  check(job.groupSize > 0 && cols % job.groupSize == 0, "rows are whole groups");
  const int64_t numGroups = rows * (cols / job.groupSize);
  job.values = args.floats(4, rows * cols).data;
  job.codes = reinterpret_cast<int8_t*>(args.bytes(5, rows * cols).data);
  job.scales = args.floats(6, numGroups).data;
  job.minimums = args.isNull(7) ? nullptr : args.floats(7, numGroups).data;
  job.order = args.ints(8, cols).data;
  job.upper = args.floats(9, cols * cols).data;
  job.least = args.number(10);
  job.most = args.number(11);
  job.levels = levelsOf(args, 12);
  for (int64_t i = 0; i < cols; ++i) check(job.order[i] >= 0 && job.order[i] < cols, "a column does not exist");
  contextOf(args).roundRows(job);
  return nullptr;
}

/**
 * (context, rows, cols, values, importance or null, blocks, block size, block bytes, bits, has minimums, is searched,
 * levels or null)
 */
napi_value roundBlocks(const Args& args) {
  const int64_t rows = args.integer(1);
  BlockRow first{};
  first.cols = args.integer(2);
  first.x = args.floats(3, rows * first.cols).data;
  first.importance = args.isNull(4) ? nullptr : args.floats(4, first.cols).data;
  const int64_t blockSize = args.integer(6);
  check(blockSize == 32 || blockSize == 256, "a block has 32 or 256 values");
  check(first.cols % blockSize == 0, "rows are whole blocks");
  first.isSuper = blockSize == 256;
  first.blockBytes = args.integer(7);
  first.blocks = args.bytes(5, rows * (first.cols / blockSize) * first.blockBytes).data;
  first.bits = static_cast<int>(args.integer(8));
  first.hasMinimums = args.flag(9);
  first.isSearched = args.flag(10);
  first.levels = levelsOf(args, 11);
  contextOf(args).roundBlocks(first, rows);
  return nullptr;
}

namespace {

GroupGrid gridOf(const Args& args, size_t first) {
  GroupGrid grid{};
  grid.cols = args.integer(first);
  grid.groupSize = args.integer(first + 1);
  grid.bits = static_cast<int>(args.integer(first + 2));
  check(grid.groupSize > 0 && grid.cols % grid.groupSize == 0, "rows are whole groups");
  check(grid.bits >= 2 && grid.bits <= 8, "codes have 2 to 8 bits");
  return grid;
}

/** Codes, bytes of scales, and zeros or null, from argument `first` on. */
GroupRow groupsOf(const Args& args, size_t first, const GroupGrid& grid, int64_t rows) {
  const int64_t numGroups = rows * (grid.cols / grid.groupSize);
  GroupRow row{};
  row.codes = reinterpret_cast<int8_t*>(args.bytes(first, rows * grid.cols).data);
  row.scales = reinterpret_cast<uint16_t*>(args.bytes(first + 1, 2 * numGroups).data);
  row.zeros = args.isNull(first + 2) ? nullptr : reinterpret_cast<int8_t*>(args.bytes(first + 2, numGroups).data);
  return row;
}

}  // namespace

/**
 * (context, rows, cols, group size, bits, values, importance or null, codes, scales, zeros or null, rounds steps,
 * is searched)
 */
napi_value roundGroups(const Args& args) {
  const int64_t rows = args.integer(1);
  GroupGrid grid = gridOf(args, 2);
  GroupRow first = groupsOf(args, 7, grid, rows);
  first.x = args.floats(5, rows * grid.cols).data;
  first.importance = args.isNull(6) ? nullptr : args.floats(6, grid.cols).data;
  grid.isSymmetric = first.zeros == nullptr;
  grid.roundsSteps = args.flag(10);
  grid.isSearched = args.flag(11);
  contextOf(args).roundGroups(first, grid, rows);
  return nullptr;
}

/** (context, rows, cols, group size, bits, codes, scales, zeros or null, values) */
napi_value readGroups(const Args& args) {
  const int64_t rows = args.integer(1);
  const GroupGrid grid = gridOf(args, 2);
  const GroupRow first = groupsOf(args, 5, grid, rows);
  contextOf(args).readGroups(first, grid, rows, args.floats(8, rows * grid.cols).data);
  return nullptr;
}

/** (context, codes, rows, cols, bits, out) */
napi_value packCodes(const Args& args) {
  const int64_t rows = args.integer(2);
  const int64_t cols = args.integer(3);
  const int bits = static_cast<int>(args.integer(4));
  check(bits >= 2 && bits <= 8, "codes have 2 to 8 bits");
  const int8_t* codes = reinterpret_cast<const int8_t*>(args.bytes(1, rows * cols).data);
  contextOf(args).packCodes(codes, rows, cols, bits, args.bytes(5, rows * ((cols * bits + 31) / 32) * 4).data);
  return nullptr;
}

/** (context, part, values) */
napi_value readWeight(const Args& args) {
  const WeightPart part = readPart(args, args.value(1));
  contextOf(args).readWeight(part, args.floats(2, part.rows * part.cols).data);
  return nullptr;
}

/** (context, values) → boolean */
napi_value areFinite(const Args& args) {
  const Span<float> values = args.floats(1);
  return makeFlag(args.env(), contextOf(args).areFinite(values.data, values.length));
}

/** (context, wanted, written, rows, cols, sums) */
napi_value squaredErrors(const Args& args) {
  const int64_t rows = args.integer(3);
  const int64_t cols = args.integer(4);
  double* sums = args.doubles(5, rows * 2).data;
  contextOf(args).squaredErrors(args.floats(1, rows * cols).data, args.floats(2, rows * cols).data, rows, cols, sums);
  return nullptr;
}

/** (context, values, rows, cols, sums) */
napi_value checksumRows(const Args& args) {
  const int64_t rows = args.integer(2);
  const int64_t cols = args.integer(3);
  uint8_t* sums = args.bytes(4, rows * 16).data;
  contextOf(args).checksumRows(args.floats(1, rows * cols).data, rows, cols, sums);
  return nullptr;
}

/** (context, x, y or null, rows, n, gram, forms) */
napi_value quadraticForms(const Args& args) {
  const int64_t rows = args.integer(3);
  const int64_t n = args.integer(4);
  const float* y = args.isNull(2) ? nullptr : args.floats(2, rows * n).data;
  double* forms = args.doubles(6, rows).data;
  contextOf(args).quadraticForms(args.floats(1, rows * n).data, y, rows, n, args.floats(5, n * n).data, forms);
  return nullptr;
}

}  // namespace millrace
