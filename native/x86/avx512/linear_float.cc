// Float tiles: 32 registers hold the totals of six rows and four tiles. bf16 times bf16 has an instruction of its own.
#include "x86/avx512/dot.h"

#include "linear/float_tile.h"

namespace millrace::MILLRACE_ISA {

namespace {

struct Sizes {
  static constexpr int smallRows = 4;
  static constexpr int smallTiles(int) { return 4; }
  static constexpr int largeRows = 6;
  static constexpr int largeTiles = 4;
  static constexpr bool readsPanels = false;
};

/** bf16 weights and activations: two columns per instruction, in ascending order. */
struct Bf16Kernel {
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

}  // namespace

const TileFamily& floatFamily(const PackedMatrix& w) {
  static constexpr TileFamily bf16 = makeFamily<Bf16Kernel, Sizes>();
  if (w.codes == Codes::BF16 && w.inputForm == Form::BF16) return bf16;
  return chooseFloatFamily<Sizes>(w);
}

}  // namespace millrace::MILLRACE_ISA
