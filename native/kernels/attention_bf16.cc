// bf16 products of attention without an instruction for them: widened and multiplied twice, which gains no time and is
// there so that the choice means the same on every machine.
#include "kernels/vector_products.h"

namespace millrace::MILLRACE_ISA {

void attendPartitionInBf16(const AttentionJob& job, const AttentionTile& tile, int64_t partition,
                           const AttentionScratch& scratch, const AttentionState& state) {
  attendInBf16<VectorProducts>(job, tile, partition, scratch, state);
}

}  // namespace millrace::MILLRACE_ISA
