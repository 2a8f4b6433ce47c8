// Memory for weights, activations and scratch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <utility>

namespace millrace {

/** Memory aligned for whole-line reads. */
class AlignedBytes {
 public:
  AlignedBytes() = default;
  /** Throws bad_alloc. */
  explicit AlignedBytes(size_t bytes) { allocate(bytes); }
  ~AlignedBytes() { std::free(data_); }
  AlignedBytes(AlignedBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBytes(const AlignedBytes&) = delete;
  AlignedBytes& operator=(const AlignedBytes&) = delete;

  /** In place of what was there. Throws bad_alloc. Large blocks ask for huge pages: activations of many rows that lie
      far apart have more pages than the processor keeps addresses of. */
  void allocate(size_t bytes);
  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace millrace
