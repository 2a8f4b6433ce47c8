// How far the predictions of one model are from those of another.
#include <cmath>

#include "ops/context.h"

namespace millrace {

void Context::diverge(int64_t logitsB, const DivergenceColumns& c) {
  const float* rowsB = floats(logitsB, "distributions are compared in f32");
  const int64_t vocab = tensor(logitsB).cols;
  const int64_t rows = tensor(logitsB).rows;
  for (int64_t i = 0; i < rows; ++i) check(c.targets[i] >= 0 && c.targets[i] < vocab, "a target is outside the vocabulary");
  pool_->parallelFor(rows, [&](int64_t row, int) {
    const float* a = c.logitsA + row * vocab;
    const float* b = rowsB + row * vocab;
    const Highest topA = kernels_.findHighest(a, vocab);
    const Highest topB = kernels_.findHighest(b, vocab);
    const DivergenceSums sums = kernels_.divergenceSums(a, b, topA.max, topB.max, vocab);
    const double logA = static_cast<double>(topA.max) + std::log(sums.a);
    const double logB = static_cast<double>(topB.max) + std::log(sums.b);
    const int32_t target = c.targets[row];
    c.kl[row] = sums.weighted / sums.a - (logA - logB);
    c.isSameTop[row] = topA.argmax == topB.argmax ? 1 : 0;
    c.lossA[row] = logA - static_cast<double>(a[target]);
    c.lossB[row] = logB - static_cast<double>(b[target]);
  });
}

}  // namespace millrace
