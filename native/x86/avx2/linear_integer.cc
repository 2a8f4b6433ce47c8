// Integer tiles: 16 registers hold the sums of four rows and one tile.
#include "x86/avx2/dot.h"

#include "linear/integer_tile.h"

namespace millrace::MILLRACE_ISA {

namespace {

struct Sizes {
  static constexpr int smallRows = 4;
  static constexpr int smallTiles = 1;
  static constexpr int largeRows = 4;
  static constexpr int largeTiles = 1;
};

}  // namespace

const TileFamily& integerFamily(const PackedMatrix& w) { return chooseIntegerFamily<Sizes>(w); }

}  // namespace millrace::MILLRACE_ISA
