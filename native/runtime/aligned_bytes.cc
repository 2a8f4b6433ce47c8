#include "runtime/aligned_bytes.h"

#include <sys/mman.h>

#include <new>

namespace millrace {

namespace {

constexpr size_t hugePageBytes = size_t{2} << 20;
constexpr size_t lineBytes = 64;

}  // namespace

void AlignedBytes::allocate(size_t bytes) {
  const bool large = bytes >= hugePageBytes;
  // Kernels may prefetch a little past the end, but never read there.
  size_ = (bytes + lineBytes - 1) / lineBytes * lineBytes;
  std::free(data_);
  data_ = nullptr;
  if (size_ == 0) return;
  void* place = nullptr;
  // Not aligned_alloc, which takes multiples of the alignment only.
  if (posix_memalign(&place, large ? hugePageBytes : lineBytes, size_) != 0) throw std::bad_alloc();
  data_ = static_cast<uint8_t*>(place);
#ifdef MADV_HUGEPAGE
  // Advice only: without huge pages the kernels are slower and nothing else changes.
  if (large) (void)madvise(data_, size_, MADV_HUGEPAGE);
#endif
}

}  // namespace millrace
