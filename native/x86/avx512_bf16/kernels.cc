// The kernels of AVX-512 with the instruction for pairs of bf16 products: linears of bf16 by bf16 and, where it is asked for,
// attention. All else is that of AVX-512, over the same packed weights.
#include "x86/avx512/dot.h"

#include "kernels/kernel_table.h"
#include "kernels/vector_products.h"
#include "linear/run.h"

namespace millrace {

namespace {

using namespace MILLRACE_ISA;

struct Sizes {
  static constexpr int smallRows = 4;
  static constexpr int smallTiles(int) { return 4; }
  static constexpr int largeRows = 6;
  static constexpr int largeTiles = 4;
};

/** bf16 weights and activations: two columns per instruction, in ascending order. */
struct PairKernel {
  template <int rows, int tiles>
  static void run(const TileJob& job) {
    const int64_t units = (job.w.cols + 1) / 2;
    const uint16_t* x = static_cast<const uint16_t*>(job.x.data) + job.row * job.x.rowStride;
    const uint8_t* weights[tiles];
    __m512 total[rows][tiles];
#pragma GCC unroll 4
    for (int c = 0; c < tiles; ++c) {
      weights[c] = job.w.tileCodes(job.tile + (c < job.numTiles ? c : job.numTiles - 1));
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) total[r][c] = _mm512_setzero_ps();
    }
    [[maybe_unused]] const Ahead ahead = job.ahead;
    for (int64_t unit = 0; unit < units; ++unit) {
      // With few rows four streams keep the processor's own prefetcher busy enough.
      if constexpr (rows > Sizes::smallRows) {
        const char* next = reinterpret_cast<const char*>(ahead.from + unit * ahead.step / 4);
        _mm_prefetch(next, _MM_HINT_T0);
        _mm_prefetch(next + 64, _MM_HINT_T0);
      }
      __m512bh w[tiles];
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) w[c] = (__m512bh)_mm512_loadu_si512(weights[c] + unit * 64);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        int32_t pair;
        std::memcpy(&pair, x + r * job.x.rowStride + unit * 2, 4);
        const __m512bh value = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
        for (int c = 0; c < tiles; ++c) total[r][c] = _mm512_dpbf16_ps(total[r][c], w[c], value);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) _mm512_storeu_ps(job.out + r * job.outStride + 16 * c, total[r][c]);
    }
  }
};

constexpr TileFamily pairFamily = makeFamily<PairKernel, Sizes>();

bool takesPairs(const PackedMatrix& w) { return w.codes == Codes::BF16 && w.inputForm == Form::BF16; }

size_t scratchBytes(const PackedLinear& weight, int64_t rows, int threads) {
  if (takesPairs(static_cast<const PackedMatrix&>(weight))) return 0;
  return kernelsAvx512().linear->scratchBytes(weight, rows, threads);
}

void runLinear(const PackedLinear& weight, const Activations& x, const LinearOutput& output, uint8_t* scratch,
               ThreadPool& pool) {
  const PackedMatrix& w = static_cast<const PackedMatrix&>(weight);
  if (takesPairs(w)) return runTiles(w, pairFamily, x, output, scratch, pool);
  kernelsAvx512().linear->run(weight, x, output, scratch, pool);
}

/** Independent sums; enough to hide the latency of a product. */
constexpr int numSums = 12;

int64_t multiplyPairs(int64_t loops) {
  V16 sums[numSums];
#pragma GCC unroll 12
  for (int i = 0; i < numSums; ++i) sums[i] = zero();
  const __m512bh one = (__m512bh)_mm512_set1_epi16(0x3f80);
  for (int64_t loop = 0; loop < loops; ++loop) {
#pragma GCC unroll 12
    for (int i = 0; i < numSums; ++i) {
      sums[i].v = _mm512_dpbf16_ps(sums[i].v, one, one);
      // Volatile, as nobody reads the sums: without, the loop is empty.
      asm volatile("" : "+v"(sums[i].v));
    }
  }
  return 2 * loops * numSums * 32;
}

LinearKernels makeLinearKernels() {
  LinearKernels kernels = *kernelsAvx512().linear;
  kernels.scratchBytes = scratchBytes;
  kernels.run = runLinear;
  return kernels;
}

KernelTable makeTable() {
  static const LinearKernels linear = makeLinearKernels();
  KernelTable table = kernelsAvx512();
  table.linear = &linear;
  table.attendPartitionInBf16 = attendInBf16<VectorProducts>;
  table.multiplyBf16 = multiplyPairs;
  return table;
}

}  // namespace

const KernelTable& kernelsAvx512Bf16() {
  static const KernelTable table = makeTable();
  return table;
}

}  // namespace millrace
