#include "addon/map_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace millrace {

namespace {

/** Length of a mapping, for its finalizer. */
struct Mapping {
  size_t length;
};

void unmap(napi_env, void* data, void* hint) {
  Mapping* mapping = static_cast<Mapping*>(hint);
  munmap(data, mapping->length);
  delete mapping;
}

}  // namespace

napi_value mapFile(const Args& args) {
  const std::string path = args.text(0);
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return makeInteger(args.env(), errno);
  struct stat info;
  if (fstat(file, &info) != 0 || info.st_size == 0 || !S_ISREG(info.st_mode)) {
    close(file);
    return makeInteger(args.env(), 0);
  }
  const size_t length = static_cast<size_t>(info.st_size);
  // Writable for JavaScript's sake, which has no read-only buffers: a stray write changes a private copy only.
  void* data = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file, 0);
  const int fault = errno;
  close(file);
  if (data == MAP_FAILED) return makeInteger(args.env(), fault);
  Mapping* mapping = new Mapping{length};
  napi_value result = nullptr;
  if (napi_create_external_arraybuffer(args.env(), data, length, unmap, mapping, &result) != napi_ok) {
    unmap(nullptr, data, mapping);
    throw std::runtime_error("this version of Node cannot hold a mapped file");
  }
  return result;
}

napi_value dropPages(const Args& args) {
  void* data = nullptr;
  size_t length = 0;
  Args::require(napi_get_arraybuffer_info(args.env(), args.value(0), &data, &length));
  // Advice only: where it is refused the pages stay.
  if (length > 0) (void)madvise(data, length, MADV_DONTNEED);
  return nullptr;
}

}  // namespace millrace
