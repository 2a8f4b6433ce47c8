// Any weight form times f32 or bf16 activations, in f32: one fma per column in ascending order. Integer weights are
// formed first, w = scale * q (+ minimum), each operation rounded.
#pragma once

#include <type_traits>

#include "linear/panel.h"

namespace millrace::MILLRACE_ISA {

template <Codes codes, bool hasMinimums, Form form>
struct FloatKernel {
  static constexpr bool isInteger = codes >= Codes::Int8;
  /** Columns that one 32-bit unit (or 16 bits for f16) of a row holds. */
  static constexpr int unit = codes == Codes::BF16 ? 2 : codes == Codes::Int8 ? 4 : codes == Codes::Int4 ? 8 : 1;

  /** Column `index` of a unit for sixteen rows. */
  MILLRACE_INLINE static V16 weight(const uint8_t* at, int index, V16 scale, V16 minimum) {
    if constexpr (codes == Codes::F32) return load(reinterpret_cast<const float*>(at));
    if constexpr (codes == Codes::F16) return loadF16(reinterpret_cast<const uint16_t*>(at));
    if constexpr (codes == Codes::BF16) return index == 0 ? lowBf16(loadUnits(at)) : highBf16(loadUnits(at));
    if constexpr (isInteger) {
      const Ints all = loadUnits(at);
      const bool wide = codes == Codes::Int8;
      const Ints code = wide ? field(all, 8 * index, 255) : field(all, 8 * (index % 4) + 4 * (index / 4), 15);
      const float bias = wide ? 128.0f : hasMinimums ? 0.0f : 8.0f;
      const V16 scaled = mul(scale, sub(toFloat(code), splat(bias)));
      return hasMinimums ? add(scaled, minimum) : scaled;
    }
  }

  MILLRACE_INLINE static float activation(const void* row, int64_t col) {
    if constexpr (form == Form::F32) return static_cast<const float*>(row)[col];
    const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(row)[col]) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  }

  template <int rows, int tiles>
  struct State {
    V16 total[rows][tiles];
    V16 scale[tiles];
    V16 minimum[tiles];
    const uint8_t* weights[tiles];
    const void* x[rows];
  };

  template <int rows, int tiles>
  MILLRACE_INLINE static void addColumn(State<rows, tiles>& state, int64_t offset, int64_t col, int index) {
    V16 w[tiles];
#pragma GCC unroll 4
    for (int c = 0; c < tiles; ++c) {
      w[c] = weight(state.weights[c] + offset, index, state.scale[c], state.minimum[c]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const V16 value = splat(activation(state.x[r], col + index));
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) state.total[r][c] = fma(value, w[c], state.total[r][c]);
    }
  }

  template <int rows, int tiles>
  MILLRACE_INLINE static void addColumns(State<rows, tiles>& state, int64_t start, int64_t end) {
    constexpr int64_t unitBytes = codes == Codes::F16 ? 32 : 64;
    int64_t col = start;
    for (; col + unit <= end; col += unit) {
#pragma GCC unroll 8
      for (int index = 0; index < unit; ++index) addColumn(state, col / unit * unitBytes, col, index);
    }
#pragma GCC unroll 8
    for (int index = 0; index < unit - 1; ++index) {
      if (col + index < end) addColumn(state, col / unit * unitBytes, col, index);
    }
  }

  /** The sums of a block of dense weights, to `job.out`; `state` says where its operands lie. */
  template <int rows, int tiles>
  MILLRACE_INLINE static void multiplyDense(State<rows, tiles>& state, const TileJob& job) {
    clear(state);
    addColumns(state, 0, job.w.cols);
    put(state, job);
  }

  template <int rows, int tiles>
  MILLRACE_INLINE static void clear(State<rows, tiles>& state) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) state.total[r][c] = zero();
    }
  }

  template <int rows, int tiles>
  MILLRACE_INLINE static void put(const State<rows, tiles>& state, const TileJob& job) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) store(job.out + r * job.outStride + 16 * c, state.total[r][c]);
    }
  }

  template <int rows, int tiles>
  static void run(const TileJob& job) {
    const PackedMatrix& w = job.w;
    const int64_t rowBytes = job.x.rowStride * bytesPerElement(form);
    State<rows, tiles> state;
    int64_t scaleIndex[tiles];
#pragma GCC unroll 4
    for (int c = 0; c < tiles; ++c) {
      const int64_t tile = job.tile + (c < job.numTiles ? c : job.numTiles - 1);
      state.weights[c] = w.tileCodes(tile);
      scaleIndex[c] = w.scaleIndex(tile, 0);
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      state.x[r] = static_cast<const uint8_t*>(job.x.data) + (job.row + r) * rowBytes;
    }
    if constexpr (!isInteger) return multiplyDense(state, job);
    clear(state);
    for (int64_t start = 0; start < w.cols; start += w.groupSize) {
#pragma GCC unroll 4
      for (int c = 0; c < tiles; ++c) {
        state.scale[c] = loadScales(w.scaleType, w.scales, scaleIndex[c]);
        if constexpr (hasMinimums) state.minimum[c] = loadScales(w.scaleType, w.minimums, scaleIndex[c]);
        scaleIndex[c] += w.scaleStride();
      }
      addColumns(state, start, start + w.groupSize);
    }
    put(state, job);
  }
};

/** Dense weights times panels of f32: the same sums, and broadcasts at constant distances. */
template <Codes codes>
struct FloatPanelKernel {
  static constexpr Panels panels{nullptr, layFloatPanel, panelRowBytes};
  static constexpr int64_t unitBytes = codes == Codes::F16 ? 32 : 64;

  template <int rows>
  MILLRACE_INLINE static void addColumn(V16 (&total)[rows], V16 w, const float* x) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      total[r] = fma(splat(x[r]), w, total[r]);
      settle(total[r]);
    }
  }

  MILLRACE_INLINE static V16 weight(const uint8_t* at) {
    if constexpr (codes == Codes::F32) return load(reinterpret_cast<const float*>(at));
    else return loadF16(reinterpret_cast<const uint16_t*>(at));
  }

  template <int rows, int tiles>
  static void run(const TileJob& job) {
    static_assert(tiles == 1);
    const int64_t cols = job.w.cols;
    const uint8_t* weights = job.w.tileCodes(job.tile);
    const float* x = reinterpret_cast<const float*>(job.panel);
    V16 total[rows];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) total[r] = zero();
    if constexpr (codes == Codes::BF16) {
      for (int64_t col = 0; col + 2 <= cols; col += 2, weights += unitBytes, x += 2 * rows) {
        addColumn(total, lowBf16(loadUnits(weights)), x);
        // The unit is read again for its second column: kept, it would push a sum out of the registers.
        asm volatile("" ::: "memory");
        addColumn(total, highBf16(loadUnits(weights)), x + rows);
      }
      if (cols % 2 != 0) addColumn(total, lowBf16(loadUnits(weights)), x);
    } else {
      for (int64_t col = 0; col < cols; ++col, weights += unitBytes, x += rows) addColumn(total, weight(weights), x);
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) store(job.out + r * job.outStride, total[r]);
  }
};

template <class Sizes, Codes codes, Form form>
constexpr TileFamily makeDenseFamily() {
  using Small = FloatKernel<codes, false, form>;
  return makeFamily<Small, Sizes, std::conditional_t<Sizes::readsPanels, FloatPanelKernel<codes>, Small>>();
}

template <class Sizes, Codes codes>
const TileFamily& denseFamily(Form form) {
  static constexpr TileFamily f32 = makeDenseFamily<Sizes, codes, Form::F32>();
  static constexpr TileFamily bf16 = makeDenseFamily<Sizes, codes, Form::BF16>();
  return form == Form::F32 ? f32 : bf16;
}

template <class Sizes, Codes codes>
const TileFamily& widenedFamily(bool hasMinimums) {
  static constexpr TileFamily plain = makeFamily<FloatKernel<codes, false, Form::F32>, Sizes>();
  static constexpr TileFamily withMinimums = makeFamily<FloatKernel<codes, true, Form::F32>, Sizes>();
  return hasMinimums ? withMinimums : plain;
}

template <class Sizes>
const TileFamily& chooseFloatFamily(const PackedMatrix& w) {
  switch (w.codes) {
    case Codes::F32: return denseFamily<Sizes, Codes::F32>(w.inputForm);
    case Codes::F16: return denseFamily<Sizes, Codes::F16>(w.inputForm);
    case Codes::BF16: return denseFamily<Sizes, Codes::BF16>(w.inputForm);
    case Codes::Int8: return widenedFamily<Sizes, Codes::Int8>(w.hasMinimums);
    case Codes::Int4: break;
  }
  return widenedFamily<Sizes, Codes::Int4>(w.hasMinimums);
}

}  // namespace millrace::MILLRACE_ISA
