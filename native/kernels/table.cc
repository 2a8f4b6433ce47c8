// The table of the instruction set that this file is compiled for.
#include "kernels/rows.h"

namespace millrace {

namespace {

KernelTable makeTable(const LinearKernels& linear) {
  using namespace MILLRACE_ISA;
  return {
      .linear = &linear,
      .rmsNormRow = rmsNormRow,
      .addScaledRow = addScaledRow,
      .addRow = addRow,
      .layerNormRow = layerNormRow,
      .scaleRow = scaleRow,
      .softCapRow = softCapRow,
      .geluRow = geluRow,
      .gateRow = gateRow,
      .ropeAndStoreToken = ropeAndStoreToken,
      .loadQueries = loadQueries,
      .attendPartition = attendPartition,
      .attendPartitionInBf16 = attendPartitionInBf16,
      .mergePartition = mergePartition,
      .storeOutputs = storeOutputs,
      .vocabStats = vocabStats,
      .findHighest = findHighest,
      .maskRow = maskRow,
      .weighRow = weighRow,
      .collectAtLeast = collectAtLeast,
      .countAhead = countAhead,
      .topN = topN,
      .divergenceSums = divergenceSums,
      .subtractRows = subtractRows,
      .addGramTile = addGramTile,
      .addSquaresOfPanel = addSquaresOfPanel,
      .roundBlockRow = roundBlockRow,
      .roundGroupRow = roundGroupRow,
      .readGroupRow = readGroupRow,
      .squaredErrorOfRow = squaredErrorOfRow,
      .readAll = readAll,
      .multiplyInt8 = multiplyInt8,
      .multiplyInt4 = multiplyInt4,
      .multiplyBf16 = multiplyBf16,
      .multiplyF32 = multiplyF32,
  };
}

}  // namespace

#if defined(__AVX512F__)
const KernelTable& kernelsAvx512() {
  static const KernelTable table = makeTable(linearKernelsAvx512());
  return table;
}
#else
const KernelTable& kernelsAvx2() {
  static const KernelTable table = makeTable(linearKernelsAvx2());
  return table;
}
#endif

}  // namespace millrace
