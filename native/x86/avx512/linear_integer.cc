// Integer tiles: 32 registers hold the sums of eight rows and two tiles, the weights and what they are multiplied by.
#include "x86/avx512/dot.h"

#include "linear/integer_tile.h"
#include "x86/avx512/sided_tile.h"

namespace millrace::MILLRACE_ISA {

namespace {

struct Sizes {
  static constexpr int smallRows = 8;
  static constexpr int smallTiles(int) { return 1; }
  static constexpr int largeRows = 8;
  static constexpr int largeTiles = 2;
  template <Codes codes, Scaling scaling, bool hasMinimums>
  using Large = std::conditional_t<scaling == Scaling::Block32, SidedKernel<codes, hasMinimums>,
                                   IntegerKernel<codes, scaling, hasMinimums>>;
};

}  // namespace

const TileFamily& integerFamily(const PackedMatrix& w) { return chooseIntegerFamily<Sizes>(w); }

}  // namespace millrace::MILLRACE_ISA
