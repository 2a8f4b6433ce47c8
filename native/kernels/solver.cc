// Float kernels of the quantiser's linear algebra. Each has one order of operations, whatever runs beside it.
#include "kernels/rows.h"
#include "vector/v16.h"

namespace millrace::MILLRACE_ISA {

namespace {

constexpr int64_t lanes = 16;

/** Columns [0, width * 16) of y -= sum of rows, kept in registers over all rows. */
template <int width>
void subtractColumns(float* y, const float* x, int64_t stride, const float* factors, int64_t count) {
  V16 sums[width];
  for (int i = 0; i < width; ++i) sums[i] = load(y + i * lanes);
  for (int64_t m = 0; m < count; ++m) {
    const V16 factor = splat(factors[m]);
    for (int i = 0; i < width; ++i) sums[i] = fnma(factor, load(x + m * stride + i * lanes), sums[i]);
  }
  for (int i = 0; i < width; ++i) store(y + i * lanes, sums[i]);
}

}  // namespace

/** y[j] -= sum over m of factors[m] * x[m * stride + j], m ascending, for j < n. */
void subtractRows(float* y, const float* x, int64_t stride, const float* factors, int64_t count, int64_t n) {
  int64_t j = 0;
  for (; j + 4 * lanes <= n; j += 4 * lanes) subtractColumns<4>(y + j, x + j, stride, factors, count);
  for (; j + lanes <= n; j += lanes) subtractColumns<1>(y + j, x + j, stride, factors, count);
  if (j == n) return;
  const int left = static_cast<int>(n - j);
  V16 sum = loadPartial(y + j, left);
  for (int64_t m = 0; m < count; ++m) sum = fnma(splat(factors[m]), loadPartial(x + m * stride + j, left), sum);
  storePartial(y + j, sum, left);
}

/** h[i * stride + j] += sum over t of a[t * 16 + i] * b[t * 16 + j], t ascending, for i and j < 16. */
void addGramTile(const float* a, const float* b, int64_t count, float* h, int64_t stride) {
  constexpr int rows = 4;
  for (int first = 0; first < lanes; first += rows) {
    V16 sums[rows] = {zero(), zero(), zero(), zero()};
    for (int64_t t = 0; t < count; ++t) {
      const V16 right = load(b + t * lanes);
      for (int i = 0; i < rows; ++i) sums[i] = fma(splat(a[t * lanes + first + i]), right, sums[i]);
    }
    for (int i = 0; i < rows; ++i) {
      float* to = h + (first + i) * stride;
      store(to, add(load(to), sums[i]));
    }
  }
}

/** sums[j] += sum over t of x[t * stride + j]^2, t ascending, for j < 16. */
void addSquaresOfPanel(const float* x, int64_t count, int64_t stride, float* sums) {
  V16 sum = load(sums);
  for (int64_t t = 0; t < count; ++t) {
    const V16 value = load(x + t * stride);
    sum = fma(value, value, sum);
  }
  store(sums, sum);
}

}  // namespace millrace::MILLRACE_ISA
