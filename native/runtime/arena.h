// Memory of one step: bump-allocated, given back all at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/aligned_bytes.h"

namespace millrace {

/** Hands out 64-byte aligned memory; grows by whole chunks, and joins them into one at the next `reset`. */
class Arena {
 public:
  explicit Arena(size_t initialBytes) { addChunk(initialBytes); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /** A place to go back to. */
  struct Mark {
    size_t chunk;
    size_t used;
  };

  void* allocate(size_t bytes) {
    const size_t size = (bytes + 63) / 64 * 64;
    while (used_ + size > chunks_[current_].size()) {
      if (current_ + 1 == chunks_.size()) addChunk(size > sizeBytes() ? size : sizeBytes());
      ++current_;
      used_ = 0;
    }
    uint8_t* place = chunks_[current_].data() + used_;
    used_ += size;
    return place;
  }

  template <class T>
  T* allocateArray(int64_t count) {
    return static_cast<T*>(allocate(static_cast<size_t>(count) * sizeof(T)));
  }

  Mark mark() const { return {current_, used_}; }
  void release(Mark mark) {
    current_ = mark.chunk;
    used_ = mark.used;
  }

  /** Forgets everything allocated. */
  void reset() {
    if (chunks_.size() > 1) {
      const size_t total = sizeBytes();
      chunks_.clear();
      addChunk(total);
    }
    release({0, 0});
  }

  size_t sizeBytes() const {
    size_t total = 0;
    for (const AlignedBytes& chunk : chunks_) total += chunk.size();
    return total;
  }

 private:
  void addChunk(size_t bytes) { chunks_.emplace_back((bytes + 4095) / 4096 * 4096); }

  std::vector<AlignedBytes> chunks_;
  size_t current_ = 0;
  size_t used_ = 0;
};

}  // namespace millrace
