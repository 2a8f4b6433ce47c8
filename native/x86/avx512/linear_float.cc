// Float tiles: 32 registers hold the totals of six rows and four tiles.
#include "x86/avx512/dot.h"

#include "linear/widened_tile.h"

namespace millrace::MILLRACE_ISA {

namespace {

struct Sizes {
  static constexpr int smallRows = 4;
  static constexpr int smallTiles(int) { return 4; }
  static constexpr int largeRows = 6;
  static constexpr int largeTiles = 4;
  static constexpr bool readsPanels = false;
};

/** Rows from which tiles are widened before they are multiplied, which then costs no more than it saves: at 64 rows both
    were equally fast on Emerald Rapids, at 128 widened ones by 7 % (`npm run perf -- --parts linears --form "bf16, bf16"`). */
constexpr int64_t fewestWidenedRows = 64;
/** Widened tiles of a unit are read again for every block of rows; they stay in the second-level cache up to here. */
constexpr int64_t widenedBytes = 1 << 20;

bool widensTiles(const PackedMatrix& w, int64_t rows) {
  const bool isHalf = w.codes == Codes::F16 || w.codes == Codes::BF16;
  return isHalf && rows >= fewestWidenedRows && Sizes::largeTiles * unpackedBytes(w) <= widenedBytes;
}

/** A block of few rows is read as it lies, which only happens to bf16 by bf16. */
template <bool widensTiles, bool widensRows>
const TileFamily& widenedFamily() {
  using Small = FloatKernel<Codes::BF16, false, Form::BF16>;
  static constexpr TileFamily family = makeFamily<Small, Sizes, WidenedKernel<widensTiles, widensRows>>();
  return family;
}

}  // namespace

const TileFamily& floatFamily(const PackedMatrix& w, int64_t rows) {
  const bool takesBf16 = w.inputForm == Form::BF16;
  if (widensTiles(w, rows)) return takesBf16 ? widenedFamily<true, true>() : widenedFamily<true, false>();
  if (w.codes == Codes::BF16 && takesBf16) return widenedFamily<false, true>();
  return chooseFloatFamily<Sizes>(w);
}

}  // namespace millrace::MILLRACE_ISA
