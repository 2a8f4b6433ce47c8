#include "runtime/thread_pool.h"

#include <algorithm>
#include <chrono>

#include "runtime/float_state.h"
#include "runtime/park.h"

namespace millrace {

namespace {

using Clock = std::chrono::steady_clock;

// Longer than the gap between two operations of a step, short beside a scheduler's slice.
constexpr std::chrono::microseconds helperSpin{100};
// Longer than a tile. A helper that takes more has probably lost its core to another process; then the caller sleeps,
// because a spinning thread uses up the share of the processor that it will want when the helper is back.
constexpr std::chrono::microseconds callerSpin{50};
// Looks between two readings of the clock. Most waits end within the first ones and never read it.
constexpr int looksPerReading = 32;

/** Spins until `isDone()`; false when it took much longer than `most`. */
template <class F>
bool spinUntil(std::chrono::microseconds most, F&& isDone) {
  Clock::time_point end{};
  for (;;) {
    for (int look = 0; look < looksPerReading; ++look) {
      if (isDone()) return true;
      pauseCore();
    }
    const Clock::time_point now = Clock::now();
    if (end == Clock::time_point{}) end = now + most;
    else if (now >= end) return false;
  }
}

}  // namespace

ThreadPool::ThreadPool(int numThreads) {
  const int numHelpers = std::max(numThreads, 1) - 1;
  helpers_.reserve(static_cast<size_t>(numHelpers));
  for (int i = 0; i < numHelpers; ++i) helpers_.emplace_back([this, i] { helperLoop(i + 1); });
}

ThreadPool::~ThreadPool() {
  closing_.store(true);
  numParked_.store(static_cast<int>(helpers_.size()));
  wakeHelpers();
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
  // The count goes to 0 at once: a helper that takes long to come is called once, not by every loop in between.
  if (numParked_.load() == 0) return;
  numParked_.store(0);
  wakeEpoch_.fetch_add(1);
  unpark(wakeEpoch_, static_cast<int>(helpers_.size()));
}

void ThreadPool::run(int64_t numTiles, TileFunction function, void* context) {
  if (numTiles <= 0) return;
  const FlushDenormals guard;
  if (helpers_.empty() || numTiles == 1) {
    for (int64_t tile = 0; tile < numTiles; ++tile) function(context, tile, 0);
    return;
  }
  callerProcessor_.store(currentProcessor(), std::memory_order_relaxed);
  function_ = function;
  context_ = context;
  numTiles_ = numTiles;
  numOpen_.store(static_cast<uint32_t>(numTiles), std::memory_order_relaxed);
  const uint64_t loop = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
  ticket_.store((loop << 32) | static_cast<uint32_t>(numTiles));
  wakeHelpers();
  workOn(0);
  waitForHelpers();
}

/** All tiles are claimed; those of helpers may not be done. */
void ThreadPool::waitForHelpers() {
  if (spinUntil(callerSpin, [this] { return numOpen_.load(std::memory_order_acquire) == 0; })) return;
  isCallerParked_.store(true);
  for (uint32_t open = numOpen_.load(); open != 0; open = numOpen_.load()) park(numOpen_, open);
  isCallerParked_.store(false);
}

void ThreadPool::workOn(int thread) {
  uint32_t done = 0;
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (static_cast<uint32_t>(ticket) != 0) {
    if (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel)) continue;
    function_(context_, numTiles_ - static_cast<uint32_t>(ticket), thread);
    ++done;
    ticket = ticket_.load(std::memory_order_acquire);
    // Only the last tiles of this very loop can follow: the caller waits for ours before it starts another.
  }
  if (done == 0) return;
  numOpen_.fetch_sub(done);
  if (thread > 0 && isCallerParked_.load()) unpark(numOpen_, 1);
}

void ThreadPool::helperLoop(int thread) {
  flushDenormals();
  const auto hasWork = [this] { return hasTiles() || closing_.load(std::memory_order_relaxed); };
  const auto isOver = [&] { return hasWork() || !inStep_.load(std::memory_order_relaxed); };
  while (!closing_.load(std::memory_order_relaxed)) {
    if (hasTiles()) {
      const int callers = callerProcessor_.load(std::memory_order_relaxed);
      if (callers >= 0 && callers == currentProcessor()) neighbours_.keepOff(callers);
      workOn(thread);
      continue;
    }
    if (inStep_.load(std::memory_order_relaxed) && spinUntil(helperSpin, isOver)) continue;
    const uint32_t epoch = wakeEpoch_.load();
    numParked_.fetch_add(1);
    if (!hasWork()) park(wakeEpoch_, epoch);
  }
}

}  // namespace millrace
