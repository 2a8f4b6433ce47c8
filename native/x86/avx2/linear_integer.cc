// Integer tiles of sixteen registers. Few rows are sums of four rows beside the codes as they come; many rows of int4
// read unpacked codes, which leaves room for the sums of six.
#include "x86/avx2/dot.h"

#include "linear/integer_tile.h"

namespace millrace::MILLRACE_ISA {

namespace {

struct Int8Sizes {
  static constexpr int smallRows = 4;
  static constexpr int smallTiles = 1;
  static constexpr int largeRows = 4;
  static constexpr int largeTiles = 1;
  static constexpr Storage largeStorage = Storage::Packed;
};

struct Int4Sizes {
  static constexpr int smallRows = 4;
  static constexpr int smallTiles = 1;
  static constexpr int largeRows = 6;
  static constexpr int largeTiles = 1;
  static constexpr Storage largeStorage = Storage::Unpacked;
};

}  // namespace

const TileFamily& integerFamily(const PackedMatrix& w) { return chooseIntegerFamily<Int8Sizes, Int4Sizes>(w); }

}  // namespace millrace::MILLRACE_ISA
