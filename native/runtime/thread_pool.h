// The kernel threads of one Ops instance.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

#include "runtime/processor.h"

namespace millrace {

/**
 * A fixed set of threads that share out the tiles of one loop at a time. The calling thread is thread 0.
 *
 * Helpers spin for a bounded time between `beginStep` and `endStep`, because the next loop is microseconds away,
 * and park otherwise: an idle pool uses no processor time. A loop never waits for a helper to come: the caller takes
 * all tiles that nobody has claimed. It waits for claimed ones only, spinning for a short time, then asleep. Only one thread may call at a time; which thread that is
 * may change between steps. Nothing is global, so that a pool can be shared by several owners later.
 *
 * A helper that finds itself on the caller's processor moves to another one. Busy systems do not look for an idle
 * processor when they wake a thread, so that both would take turns on one beside an idle one.
 *
 * Flush-to-zero and denormals-are-zero are set on every thread while it works and on the caller only within a loop, so
 * that a result never depends on the thread and JavaScript keeps its own arithmetic.
 */
class ThreadPool {
 public:
  /** `numThreads` counts the caller; values below 1 mean 1. */
  explicit ThreadPool(int numThreads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(helpers_.size()) + 1; }

  /** Wakes the helpers; loops until `endStep` start without a system call. */
  void beginStep();
  /** Lets the helpers park. */
  void endStep();

  /**
   * Calls body(tile, thread) once for every tile in [0, numTiles), in any order and on any thread, and returns when
   * all are done. Tiles are claimed in ascending order, one at a time. The body must not throw and must not start
   * another loop; numTiles is below 2^32.
   */
  template <class F>
  void parallelFor(int64_t numTiles, F&& body) {
    using Body = std::remove_reference_t<F>;
    run(
        numTiles,
        [](void* context, int64_t tile, int thread) { (*static_cast<Body*>(context))(tile, thread); },
        const_cast<void*>(static_cast<const void*>(std::addressof(body))));
  }

 private:
  using TileFunction = void (*)(void* context, int64_t tile, int thread);

  void run(int64_t numTiles, TileFunction function, void* context);
  void waitForHelpers();
  void helperLoop(int thread);
  void workOn(int thread);
  bool hasTiles() const { return static_cast<uint32_t>(ticket_.load()) != 0; }
  void wakeHelpers();

  std::vector<std::thread> helpers_;

  // High word: number of the loop. Low word: tiles not yet claimed. A claimed tile keeps its loop alive, so
  // the fields of the loop below are read only after a claim.
  alignas(64) std::atomic<uint64_t> ticket_{0};
  /** Tiles that are not done. */
  alignas(64) std::atomic<uint32_t> numOpen_{0};
  std::atomic<bool> isCallerParked_{false};
  alignas(64) TileFunction function_ = nullptr;
  void* context_ = nullptr;
  int64_t numTiles_ = 0;

  const Neighbours neighbours_;
  /** Where the caller was when it began the loop. */
  std::atomic<int> callerProcessor_{-1};

  /** Changes when parked helpers are called. */
  alignas(64) std::atomic<uint32_t> wakeEpoch_{0};
  /** Helpers that have parked since they were last called, at least. */
  std::atomic<int> numParked_{0};
  std::atomic<bool> inStep_{false};
  std::atomic<bool> closing_{false};
};

}  // namespace millrace
