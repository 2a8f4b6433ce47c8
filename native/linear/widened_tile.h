// Dense weights, and activations, that are widened to f32 once for many rows. The same sums as float_tile.h.
#pragma once

#include "linear/float_tile.h"

namespace millrace::MILLRACE_ISA {

/** Writes a tile of bf16 or f16 as [column][lane] f32. */
inline void widenTile(const PackedMatrix& w, int64_t tile, uint8_t* to) {
  const uint8_t* from = w.tileCodes(tile);
  float* out = reinterpret_cast<float*>(to);
  if (w.codes == Codes::F16) {
    const uint16_t* halves = reinterpret_cast<const uint16_t*>(from);
    for (int64_t i = 0; i < w.cols * lanesPerTile; i += lanesPerTile) store(out + i, loadF16(halves + i));
    return;
  }
  for (int64_t col = 0; col < w.cols; col += 2, from += 64, out += 2 * lanesPerTile) {
    store(out, lowBf16(loadUnits(from)));
    if (col + 1 < w.cols) store(out + lanesPerTile, highBf16(loadUnits(from)));
  }
}

inline int64_t widenedRowBytes(const PackedMatrix& w) { return roundUp(w.cols, lanesPerTile) * 4; }

/** Writes rows [row, row + rows) of bf16 as f32, one behind the other. */
inline void widenRows(const Activations& x, int64_t row, int64_t rows, int64_t cols, uint8_t* to) {
  const int64_t stride = roundUp(cols, lanesPerTile);
  float* out = reinterpret_cast<float*>(to);
  for (int64_t r = 0; r < rows; ++r, out += stride) {
    // Rows of bf16 are padded by zeros to whole lines.
    const uint16_t* from = static_cast<const uint16_t*>(x.data) + (row + r) * x.rowStride;
    for (int64_t col = 0; col < stride; col += lanesPerTile) store(out + col, loadBf16(from + col));
  }
}

/** Of weights that are not widened, bf16 only. */
template <bool widensTiles, bool widensRows>
struct WidenedKernel {
  static constexpr Panels panels{widensTiles ? widenTile : nullptr, widensRows ? widenRows : nullptr, widenedRowBytes};
  using Sums = FloatKernel<widensTiles ? Codes::F32 : Codes::BF16, false, Form::F32>;

  MILLRACE_INLINE static const uint8_t* tileAt(const TileJob& job, int64_t index) {
    return widensTiles ? job.unpacked + index * unpackedBytes(job.w) : job.w.tileCodes(job.tile + index);
  }

  template <int rows, int tiles>
  static void run(const TileJob& job) {
    const int64_t rowBytes = widensRows ? widenedRowBytes(job.w) : job.x.rowStride * 4;
    const uint8_t* x = widensRows ? job.panel : static_cast<const uint8_t*>(job.x.data) + job.row * rowBytes;
    typename Sums::template State<rows, tiles> state;
#pragma GCC unroll 4
    for (int c = 0; c < tiles; ++c) state.weights[c] = tileAt(job, c < job.numTiles ? c : job.numTiles - 1);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) state.x[r] = x + r * rowBytes;
    Sums::multiplyDense(state, job);
  }
};

}  // namespace millrace::MILLRACE_ISA
