#include "runtime/thread_pool.h"

#include <algorithm>

#include "runtime/float_state.h"

namespace millrace {

namespace {

// About 100 microseconds: longer than the gap between two operations of a step, short beside a scheduler's slice.
constexpr int maxSpins = 2500;
// A caller that waits this long for a helper gives its core away: the helper may have been descheduled.
constexpr int spinsBeforeYield = 4000;

}  // namespace

ThreadPool::ThreadPool(int numThreads) {
  const int numHelpers = std::max(numThreads, 1) - 1;
  helpers_.reserve(static_cast<size_t>(numHelpers));
  for (int i = 0; i < numHelpers; ++i) helpers_.emplace_back([this, i] { helperLoop(i + 1); });
}

ThreadPool::~ThreadPool() {
  closing_.store(true);
  wakeEpoch_.fetch_add(1);
  wakeEpoch_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void ThreadPool::beginStep() {
  inStep_.store(true);
  wakeHelpers();
}

void ThreadPool::endStep() {
  inStep_.store(false);
}

void ThreadPool::wakeHelpers() {
  if (numParked_.load() == 0) return;
  wakeEpoch_.fetch_add(1);
  wakeEpoch_.notify_all();
}

void ThreadPool::run(int64_t numTiles, TileFunction function, void* context) {
  if (numTiles <= 0) return;
  const FlushDenormals guard;
  if (helpers_.empty() || numTiles == 1) {
    for (int64_t tile = 0; tile < numTiles; ++tile) function(context, tile, 0);
  } else {
    function_ = function;
    context_ = context;
    numTiles_ = numTiles;
    numDone_.store(0, std::memory_order_relaxed);
    const uint64_t loop = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
    ticket_.store((loop << 32) | static_cast<uint32_t>(numTiles));
    wakeHelpers();
    workOn(0);
    for (int spins = 0; numDone_.load(std::memory_order_acquire) != numTiles; ++spins) {
      if (spins < spinsBeforeYield) pauseCore();
      else std::this_thread::yield();
    }
  }
}

void ThreadPool::workOn(int thread) {
  int64_t done = 0;
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (static_cast<uint32_t>(ticket) != 0) {
    if (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel)) continue;
    function_(context_, numTiles_ - static_cast<uint32_t>(ticket), thread);
    ++done;
    ticket = ticket_.load(std::memory_order_acquire);
    // Only the last tiles of this very loop can follow: the caller waits for ours before it starts another.
  }
  if (done > 0) numDone_.fetch_add(done, std::memory_order_release);
}

void ThreadPool::helperLoop(int thread) {
  flushDenormals();
  int spins = 0;
  while (!closing_.load(std::memory_order_relaxed)) {
    if (hasTiles()) {
      workOn(thread);
      spins = 0;
    } else if (inStep_.load(std::memory_order_relaxed) && spins < maxSpins) {
      ++spins;
      pauseCore();
    } else {
      const uint32_t epoch = wakeEpoch_.load();
      numParked_.fetch_add(1);
      if (!hasTiles() && !closing_.load()) wakeEpoch_.wait(epoch);
      numParked_.fetch_sub(1);
      spins = 0;
    }
  }
}

}  // namespace millrace
