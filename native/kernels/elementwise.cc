// Norm, sums, activation and rotary embedding of single rows.
#include <cmath>

#include "kernels/rows.h"
#include "vector/gates.h"
#include "vector/v16.h"

namespace millrace::MILLRACE_ISA {

void rmsNormRow(const float* x, const float* weight, int64_t cols, float eps, float* out) {
  V16 sums[4] = {zero(), zero(), zero(), zero()};
  int64_t col = 0;
  for (; col + 64 <= cols; col += 64) {
    for (int i = 0; i < 4; ++i) {
      const V16 v = load(x + col + 16 * i);
      sums[i] = fma(v, v, sums[i]);
    }
  }
  for (; col < cols; col += 16) {
    const V16 v = loadFirst(x + col, cols - col);
    sums[0] = fma(v, v, sums[0]);
  }
  const float total = reduceAdd(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
  const V16 scale = splat(1.0f / std::sqrt(total / static_cast<float>(cols) + eps));
  for (col = 0; col < cols; col += 16) {
    const V16 normed = mul(loadFirst(x + col, cols - col), scale);
    storeFirst(out + col, mul(normed, loadFirst(weight + col, cols - col)), cols - col);
  }
}

namespace {

/** Sum of term(vector of sixteen columns) over a row, in one order. */
template <class Term>
MILLRACE_INLINE float sumColumns(int64_t cols, Term&& term) {
  V16 sums = zero();
  for (int64_t col = 0; col < cols; col += 16) sums = add(sums, term(col, cols - col));
  return reduceAdd(sums);
}

}  // namespace

void layerNormRow(float* x, const float* weight, const float* bias, int64_t cols, float eps) {
  const float count = static_cast<float>(cols);
  const float mean = sumColumns(cols, [&](int64_t col, int64_t left) { return loadFirst(x + col, left); }) / count;
  const float total = sumColumns(cols, [&](int64_t col, int64_t left) {
    // Lanes beyond the row are zero, not minus the mean.
    const V16 centred = keepRange(sub(loadFirst(x + col, left), splat(mean)), 0, left < 16 ? static_cast<int>(left) : 16, zero());
    return mul(centred, centred);
  });
  const V16 scale = splat(1.0f / std::sqrt(total / count + eps));
  for (int64_t col = 0; col < cols; col += 16) {
    const int64_t left = cols - col;
    const V16 normed = mul(sub(loadFirst(x + col, left), splat(mean)), scale);
    storeFirst(x + col, fma(normed, loadFirst(weight + col, left), loadFirst(bias + col, left)), left);
  }
}

void addScaledRow(float* x, const float* y, float scale, int64_t cols) {
  for (int64_t col = 0; col < cols; col += 16) {
    const int64_t left = cols - col;
    storeFirst(x + col, fma(splat(scale), loadFirst(y + col, left), loadFirst(x + col, left)), left);
  }
}

void addRow(float* x, const float* y, int64_t cols) {
  for (int64_t col = 0; col < cols; col += 16) {
    const int64_t left = cols - col;
    storeFirst(x + col, add(loadFirst(x + col, left), loadFirst(y + col, left)), left);
  }
}

void gateRow(const float* first, const float* second, Gate gate, float* out, int64_t cols) {
  for (int64_t col = 0; col < cols; col += 16) {
    const int64_t left = cols - col;
    const V16 x = loadFirst(first + col, left);
    storeFirst(out + col, mul(gate == Gate::Silu ? silu(x) : geluTanh(x), loadFirst(second + col, left)), left);
  }
}

void geluRow(float* x, int64_t cols) {
  for (int64_t col = 0; col < cols; col += 16) {
    const int64_t left = cols - col;
    storeFirst(x + col, geluErf(loadFirst(x + col, left)), left);
  }
}

void scaleRow(float* x, float factor, int64_t cols) {
  for (int64_t col = 0; col < cols; col += 16) {
    const int64_t left = cols - col;
    storeFirst(x + col, mul(loadFirst(x + col, left), splat(factor)), left);
  }
}

void softCapRow(float* x, float cap, int64_t cols) {
  for (int64_t col = 0; col < cols; col += 16) {
    const int64_t left = cols - col;
    storeFirst(x + col, mul(splat(cap), tanh(div(loadFirst(x + col, left), splat(cap)))), left);
  }
}

namespace {

/** Rotates the pairs (i, i + half) of one head in place. */
void rotateHead(float* head, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; i += 16) {
    const int64_t left = half - i;
    const V16 c = loadFirst(cos + i, left);
    const V16 s = loadFirst(sin + i, left);
    const V16 a = loadFirst(head + i, left);
    const V16 b = loadFirst(head + half + i, left);
    storeFirst(head + i, fnma(b, s, mul(a, c)), left);
    storeFirst(head + half + i, fma(a, s, mul(b, c)), left);
  }
}

/** Norms each run of `width` columns in place, all with the same weights. */
void normRuns(float* x, const float* weight, int64_t cols, int64_t width, float eps) {
  for (int64_t col = 0; col < cols; col += width) rmsNormRow(x + col, weight, width, eps, x + col);
}

/** Sixteen lanes in the cache's dtype. */
template <KvDtype dtype>
struct CacheElement {
  using Type = uint16_t;
};
template <>
struct CacheElement<KvDtype::F32> {
  using Type = float;
};

template <KvDtype dtype>
MILLRACE_INLINE void storeLanes(typename CacheElement<dtype>::Type* to, V16 v) {
  if constexpr (dtype == KvDtype::F32) store(to, v);
  else if constexpr (dtype == KvDtype::F16) storeF16(to, v);
  else storeBf16(to, v);
}

template <KvDtype dtype>
void storeKv(const KvLayer& kv, const float* k, const float* v, int64_t slot) {
  using Element = typename CacheElement<dtype>::Type;
  const int64_t block = slot / kv.blockSize;
  const int64_t offset = slot % kv.blockSize;
  for (int64_t head = 0; head < kv.numKvHeads; ++head) {
    const int64_t tile = block * kv.numKvHeads + head;
    Element* kTo = reinterpret_cast<Element*>(kv.k) + tile * kv.headDim * kv.tokenStride + offset;
    Element* vTo = reinterpret_cast<Element*>(kv.v) + (tile * kv.blockSize + offset) * kv.dimStride;
    for (int64_t d = 0; d < kv.headDim; d += 16) {
      const int64_t left = kv.headDim - d;
      Element lanes[16];
      storeLanes<dtype>(lanes, loadFirst(k + head * kv.headDim + d, left));
      for (int64_t i = 0; i < (left < 16 ? left : 16); ++i) kTo[(d + i) * kv.tokenStride] = lanes[i];
      // V rows are padded to whole vectors; the padding becomes zero.
      storeLanes<dtype>(vTo + d, loadFirst(v + head * kv.headDim + d, left));
    }
  }
}

/**
 * Writes one head of one token as int8 codes, `stride` apart, and returns their scale, amax / 127. A value that is not
 * finite makes the scale NaN, so that it is not hidden.
 */
float storeCodes(const float* x, int64_t headDim, int8_t* to, int64_t stride) {
  V16 top = zero();
  V16 fault = zero();
  for (int64_t d = 0; d < headDim; d += 16) {
    const V16 v = loadFirst(x + d, headDim - d);
    top = max(max(v, sub(zero(), v)), top);
    fault = fma(v, zero(), fault);
  }
  const float scale = reduceMax(top) / 127.0f + reduceAdd(fault);
  for (int64_t d = 0; d < headDim; d += 16) {
    const int64_t left = headDim - d;
    const V16 ratio = scale > 0 ? div(loadFirst(x + d, left), splat(scale)) : zero();
    int8_t lanes[16];
    storeI8(lanes, max(min(roundToEven(ratio), splat(127.0f)), splat(-127.0f)));
    for (int64_t i = 0; i < (left < 16 ? left : 16); ++i) to[(d + i) * stride] = lanes[i];
  }
  return scale;
}

/** The padding of V rows stays zero, as the system gave it. */
void storeKvCodes(const KvLayer& kv, const float* k, const float* v, int64_t slot) {
  const int64_t block = slot / kv.blockSize;
  const int64_t offset = slot % kv.blockSize;
  for (int64_t head = 0; head < kv.numKvHeads; ++head) {
    const int64_t tile = block * kv.numKvHeads + head;
    int8_t* kTo = reinterpret_cast<int8_t*>(kv.k) + tile * kv.headDim * kv.tokenStride + offset;
    int8_t* vTo = reinterpret_cast<int8_t*>(kv.v) + (tile * kv.blockSize + offset) * kv.dimStride;
    const int64_t at = tile * kv.tokenStride + offset;
    kv.kScales[at] = storeCodes(k + head * kv.headDim, kv.headDim, kTo, kv.tokenStride);
    kv.vScales[at] = storeCodes(v + head * kv.headDim, kv.headDim, vTo, 1);
  }
}

}  // namespace

void ropeAndStoreToken(const RopeJob& job, int64_t token) {
  const int64_t half = job.rotaryDim / 2;
  const int64_t headDim = job.kv.headDim;
  const int64_t position = job.positions[token];
  const float* cos = job.cos + position * half;
  const float* sin = job.sin + position * half;
  float* row = job.qkv + token * job.qkvStride;
  float* k = row + job.numHeads * headDim;
  if (job.qNorm != nullptr) {
    normRuns(row, job.qNorm, job.numHeads * headDim, job.qNormWidth, job.normEps);
    normRuns(k, job.kNorm, job.kv.numKvHeads * headDim, job.kNormWidth, job.normEps);
  }
  for (int64_t head = 0; half > 0 && head < job.numHeads + job.kv.numKvHeads; ++head) {
    rotateHead(row + head * headDim, cos, sin, half);
  }
  const float* v = k + job.kv.numKvHeads * headDim;
  switch (job.kv.dtype) {
    case KvDtype::F32: return storeKv<KvDtype::F32>(job.kv, k, v, job.slots[token]);
    case KvDtype::F16: return storeKv<KvDtype::F16>(job.kv, k, v, job.slots[token]);
    case KvDtype::BF16: return storeKv<KvDtype::BF16>(job.kv, k, v, job.slots[token]);
    case KvDtype::INT8: return storeKvCodes(job.kv, k, v, job.slots[token]);
  }
}

}  // namespace millrace::MILLRACE_ISA
