// Integer tiles of sixteen registers. Few rows are sums of four rows beside the codes as they come; many rows read panels
// and unpacked tiles, which leaves room for the sums of six.
#include "x86/avx2/dot.h"

#include "linear/panel_tile.h"

namespace millrace::MILLRACE_ISA {

namespace {

struct Sizes {
  static constexpr int smallRows = 4;
  /** Four streams of memory come faster than one; more than one row leaves fewer registers. */
  static constexpr int smallTiles(int rows) { return rows == 1 ? 4 : rows == 2 ? 2 : 1; }
  static constexpr int largeRows = 6;
  static constexpr int largeTiles = 1;
  template <Codes codes, Scaling scaling, bool hasMinimums>
  using Large = PanelKernel<codes, scaling, hasMinimums>;
};

}  // namespace

const TileFamily& integerFamily(const PackedMatrix& w) { return chooseIntegerFamily<Sizes>(w); }

}  // namespace millrace::MILLRACE_ISA
