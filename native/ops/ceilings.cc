// Measures what this machine can do at most with the threads of a context.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "ops/context.h"

namespace millrace {

namespace {

/** Far beyond a last-level cache that a few threads share; many threads share out the larger amount. */
constexpr int64_t bytesPerThread = int64_t{128} << 20;
constexpr int64_t mostBytes = int64_t{1} << 30;
constexpr int64_t loopsPerRound = 1'000'000;
constexpr int numRounds = 5;

/** Seconds of the fastest round: what disturbs a loop only makes it slower. */
template <class Body>
double bestSeconds(ThreadPool& pool, Body&& body) {
  double best = 0;
  for (int round = 0; round < numRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    pool.parallelFor(pool.size(), [&](int64_t part, int) { body(part); });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (round == 0 || seconds < best) best = seconds;
  }
  return best;
}

double operationsPerSecond(ThreadPool& pool, int64_t (*multiply)(int64_t loops)) {
  std::vector<int64_t> counts(static_cast<size_t>(pool.size()));
  const double seconds =
      bestSeconds(pool, [&](int64_t part) { counts[static_cast<size_t>(part)] = multiply(loopsPerRound); });
  int64_t total = 0;
  for (const int64_t count : counts) total += count;
  return static_cast<double>(total) / seconds;
}

double readBytesPerSecond(ThreadPool& pool, const KernelTable& kernels) {
  const int64_t perThread = std::min(bytesPerThread, mostBytes / pool.size());
  const int64_t total = perThread * pool.size();
  const Slab slab(static_cast<size_t>(total));
  std::memset(slab.data(), 1, slab.size());
  const double seconds =
      bestSeconds(pool, [&](int64_t part) { kernels.readAll(slab.data() + part * perThread, perThread); });
  return static_cast<double>(total) / seconds;
}

}  // namespace

Ceilings Context::measureCeilings() {
  pool_->beginStep();
  const Ceilings found{readBytesPerSecond(*pool_, kernels_), operationsPerSecond(*pool_, kernels_.multiplyInt8),
                       operationsPerSecond(*pool_, kernels_.multiplyInt4),
                       operationsPerSecond(*pool_, kernels_.multiplyBf16),
                       operationsPerSecond(*pool_, kernels_.multiplyF32)};
  pool_->endStep();
  return found;
}

}  // namespace millrace
