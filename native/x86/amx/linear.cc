// The kernels of AMX: those of the vector instructions, and products in tiles. For linears: tiles where they pay, otherwise those of the vector instructions, over the same packed weights.
//
// What pays follows from what a core does in a second (Sapphire Rapids): 6,800 billion operations on int8 in tiles, 200 with
// VNNI; some 80 on bf16 with vectors; 37 on f32; and 15 to 25 GB of weights from memory.
//
// - One scale for each row of int8 weights and of activations: a weight byte is two operations for each row of x, so that
//   VNNI keeps up with memory to about four rows. Tiles from there on.
// - Groups, and activations in blocks of 32: each sum over a span is scaled by vectors, which takes longer than its products
//   in tiles. VNNI multiplies 32 columns in eight operations and scales in five, so that tiles save the larger part. They
//   pay once the tiles are half full, and where int4 codes are unpacked for enough rows: from eight rows.
// - Groups of 16: half the products for the same scaling, and half a step of the tiles. Left to VNNI.
// - bf16 by bf16: tiles for any number of rows, one included. Their order of sums is their own (tile_twin.h), so that a row
//   must not change its bits with the number of its neighbours; and a single row waits for memory, not for tiles.
// - Other floats: one fma for each column in f32. No tile does that.
#if defined(__AVX512F__)
#include "x86/avx512/dot.h"
#else
#include "x86/avx2/dot.h"
#endif

#include "kernels/kernel_table.h"
#include "x86/amx/attention.h"
#include "x86/amx/ceiling.h"
#include "x86/amx/groups.h"
#include "x86/amx/run_tiles.h"
#include "x86/amx/whole_rows.h"

namespace millrace {

namespace {

using namespace MILLRACE_ISA;

constexpr int64_t fewestRowsOfWhole = 4;
constexpr int64_t fewestRowsOfGroups = 8;

const KernelTable& vectorKernels() {
#if defined(__AVX512F__)
  return kernelsAvx512();
#else
  return kernelsAvx2();
#endif
}

template <Codes codes, bool hasMinimums>
const TileKernel* integerKernel(const PackedMatrix& w) {
  if (w.isPerRow()) return &WholeRowKernel<codes, hasMinimums>::kernel;
  const bool isPerToken = w.inputForm == Form::Int8Token;
  if (isPerToken && w.groupSize % 64 == 0) return &GroupKernel<codes, Scaling::Token, hasMinimums, 64>::kernel;
  if (w.groupSize != w.cols && w.groupSize % 32 != 0) return nullptr;
  return isPerToken ? &GroupKernel<codes, Scaling::Token, hasMinimums, 32>::kernel
                    : &GroupKernel<codes, Scaling::Block32, hasMinimums, 32>::kernel;
}

/** Null where the vector kernels do the work. */
const TileKernel* tileKernel(const PackedMatrix& w, int64_t rows) {
  if (rows == 0 || w.rows == 0) return nullptr;
  if (w.codes == Codes::BF16 && w.inputForm == Form::BF16) return &WholeRowKernel<Codes::BF16, false>::kernel;
  if (!w.isInteger() || w.inputForm == Form::F32) return nullptr;
  const bool streams = w.isPerRow() && w.codes == Codes::Int8;
  if (rows < (streams ? fewestRowsOfWhole : fewestRowsOfGroups)) return nullptr;
  if (w.codes == Codes::Int8) {
    return w.hasMinimums ? integerKernel<Codes::Int8, true>(w) : integerKernel<Codes::Int8, false>(w);
  }
  return w.hasMinimums ? integerKernel<Codes::Int4, true>(w) : integerKernel<Codes::Int4, false>(w);
}

size_t scratchBytes(const PackedLinear& weight, int64_t rows, int threads) {
  const PackedMatrix& w = static_cast<const PackedMatrix&>(weight);
  const TileKernel* kernel = tileKernel(w, rows);
  if (kernel == nullptr) return vectorKernels().linear->scratchBytes(weight, rows, threads);
  return static_cast<size_t>(threadScratchBytes(w, *kernel, rows) * threads);
}

void runLinear(const PackedLinear& weight, const Activations& x, const LinearOutput& output, uint8_t* scratch,
               ThreadPool& pool) {
  const PackedMatrix& w = static_cast<const PackedMatrix&>(weight);
  const TileKernel* kernel = tileKernel(w, x.rows);
  if (kernel == nullptr) return vectorKernels().linear->run(weight, x, output, scratch, pool);
  runTiles(w, *kernel, x, output, scratch, pool);
}

LinearKernels makeLinearKernels() {
  LinearKernels kernels = *vectorKernels().linear;
  kernels.scratchBytes = scratchBytes;
  kernels.run = runLinear;
  return kernels;
}

KernelTable makeTable() {
  static const LinearKernels linear = makeLinearKernels();
  KernelTable table = vectorKernels();
  table.linear = &linear;
  table.attendPartitionInBf16 = attendInBf16<TileProducts>;
  table.multiplyInt8 = multiplyTilesInt8;
  table.multiplyInt4 = multiplyTilesInt8;
  table.multiplyBf16 = multiplyTilesBf16;
  return table;
}

}  // namespace

#if defined(__AMX_TILE__)
const KernelTable& kernelsAmx() {
#else
const KernelTable& kernelsAmxTwin() {
#endif
  static const KernelTable table = makeTable();
  return table;
}

}  // namespace millrace
