#include "runtime/tiles_access.h"

#include <cstdint>

#include "runtime/cpu.h"

#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#endif

namespace millrace {

namespace {

/** Whether the system saves the tiles of a thread that it interrupts: bits 17 and 18 of XCR0. */
bool systemSavesTiles() {
  constexpr uint32_t tileBits = 3u << 17;
  if (!cpuHasXgetbv()) return false;
  uint32_t low = 0;
  uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & tileBits) == tileBits;
}

/** Empty, or why not. Eight KiB of state for each thread are given only to processes that ask. */
std::string requestTiles() {
#ifdef __linux__
  constexpr int requestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int tileData = 18;               // XFEATURE_XTILEDATA
  if (syscall(SYS_arch_prctl, requestPermission, tileData) == 0) return "";
  return std::string("the system refuses it (arch_prctl: ") + std::strerror(errno) + ")";
#else
  return "there is no way to ask this system for it";
#endif
}

TilesAccess askForTiles() {
  if (!cpuHasAmx()) return {false, ""};
  if (!systemSavesTiles()) return {false, "the system does not switch it on (Linux does from 5.16)"};
  std::string refusal = requestTiles();
  const bool isGranted = refusal.empty();
  return {isGranted, std::move(refusal)};
}

}  // namespace

const TilesAccess& tilesAccess() {
  static const TilesAccess access = askForTiles();
  return access;
}

}  // namespace millrace
