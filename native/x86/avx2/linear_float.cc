// Float tiles: 16 registers hold the totals of five or six rows and one tile.
#include "x86/avx2/dot.h"

#include "linear/float_tile.h"

namespace millrace::MILLRACE_ISA {

namespace {

struct Sizes {
  static constexpr int smallRows = 2;
  static constexpr int smallTiles(int) { return 2; }
  static constexpr int largeRows = 6;
  static constexpr int largeTiles = 1;
  /** Whether many rows of dense weights read panels. */
  static constexpr bool readsPanels = true;
};

}  // namespace

const TileFamily& floatFamily(const PackedMatrix& w, int64_t) { return chooseFloatFamily<Sizes>(w); }

}  // namespace millrace::MILLRACE_ISA
