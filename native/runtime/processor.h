// Which processor a thread runs on, and which it may.
#pragma once

#ifdef __linux__
#include <sched.h>
#endif

namespace millrace {

/** The processor of the calling thread, or -1 where the system does not say. */
inline int currentProcessor() {
#ifdef __linux__
  return sched_getcpu();
#else
  return -1;
#endif
}

/** Moves the calling thread off `processor`, to any other of those that it was allowed when this object was made. */
class Neighbours {
 public:
  void keepOff(int processor) const {
#ifdef __linux__
    cpu_set_t others = allowed_;
    if (processor < 0 || processor >= CPU_SETSIZE) return;
    CPU_CLR(processor, &others);
    // Advice only: a thread that may not be moved stays.
    if (CPU_COUNT(&others) > 0) (void)sched_setaffinity(0, sizeof(others), &others);
#else
    (void)processor;
#endif
  }

 private:
#ifdef __linux__
  static cpu_set_t allowedSet() {
    cpu_set_t set;
    CPU_ZERO(&set);
    (void)sched_getaffinity(0, sizeof(set), &set);
    return set;
  }
  cpu_set_t allowed_ = allowedSet();
#endif
};

}  // namespace millrace
