// Measures what this machine can do at most with the threads of a context.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>
#include <vector>

#include "ops/context.h"

namespace millrace {

namespace {

/** Rounds of products are a third of a millisecond, shorter than a scheduler's slice, so that some are undisturbed on a
    busy machine. A round reads all of its bytes: fewer in a row come faster than memory goes on to give them. */
constexpr int64_t loopsPerRound = 100'000;
constexpr int roundsPerTurn = 15;
/** More than a last-level cache holds: what is read again and again comes from memory. */
constexpr int64_t beyondCaches = int64_t{1} << 30;
/** Turns of all loops, over a fifth of a second: what slows the machine for a while slows none of them in every turn. */
constexpr int numTurns = 6;

/** Work per second of the fastest round. What disturbs a loop only makes it slower. */
struct Fastest {
  double rate = 0;

  /** `body` does a part and tells how much that was. */
  template <class Body>
  void runRound(ThreadPool& pool, Body&& body) {
    std::vector<int64_t> amounts(static_cast<size_t>(pool.size()));
    const auto start = std::chrono::steady_clock::now();
    pool.parallelFor(pool.size(), [&](int64_t part, int) { amounts[static_cast<size_t>(part)] = body(part); });
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double total = static_cast<double>(std::accumulate(amounts.begin(), amounts.end(), int64_t{0}));
    rate = std::max(rate, total / took);
  }

  void multiply(ThreadPool& pool, int64_t (*operations)(int64_t loops)) {
    for (int round = 0; round < roundsPerTurn; ++round)
      runRound(pool, [&](int64_t) { return operations(loopsPerRound); });
  }
};

}  // namespace

Ceilings Context::measureCeilings() {
  const int64_t perThread = beyondCaches / pool_->size();
  const Slab slab(static_cast<size_t>(perThread * pool_->size()));
  std::memset(slab.data(), 1, slab.size());
  Fastest read, int8, int4, bf16, f32;
  pool_->beginStep();
  for (int turn = 0; turn < numTurns; ++turn) {
    read.runRound(*pool_, [&](int64_t part) {
      kernels_.readAll(slab.data() + part * perThread, perThread);
      return perThread;
    });
    int8.multiply(*pool_, kernels_.multiplyInt8);
    int4.multiply(*pool_, kernels_.multiplyInt4);
    bf16.multiply(*pool_, kernels_.multiplyBf16);
    f32.multiply(*pool_, kernels_.multiplyF32);
  }
  pool_->endStep();
  return {read.rate, int8.rate, int4.rate, bf16.rate, f32.rate};
}

}  // namespace millrace
