// What the processor and the operating system offer.
#pragma once

#include <cpuid.h>

namespace millrace {

/** Leaf 1, ECX bit 29. Asked by hand, as clang's __builtin_cpu_supports does not know the name. */
inline bool cpuHasF16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

/** AVX2, FMA and F16C. */
inline bool cpuHasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && cpuHasF16c();
}

/** AVX-512 F, BW, VL, DQ and VNNI. */
inline bool cpuHasAvx512() {
  return cpuHasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}

/** Those of `cpuHasAvx512`, and BF16. */
inline bool cpuHasAvx512Bf16() { return cpuHasAvx512() && __builtin_cpu_supports("avx512bf16"); }

/**
 * Whether the instruction for pairs of bf16 products does more of them in a second than f32 instructions do. Emerald
 * Rapids does half as many (178 beside 357 GFLOP/s, the ceilings of `npm run perf`); AMD is expected to do twice as many, as
 * its instruction is issued as often as one of f32, and was not measured.
 */
inline bool cpuHasFastBf16() { return cpuHasAvx512Bf16() && __builtin_cpu_is("amd"); }

/** Whether xgetbv can be executed: leaf 1, ECX bit 27. */
inline bool cpuHasXgetbv() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_OSXSAVE) != 0;
}

/** Tiles, and their products of int8 and bf16: leaf 7, EDX bits 24, 25 and 22. Says nothing of the system. */
inline bool cpuHasAmx() {
  constexpr unsigned bits = 1u << 24 | 1u << 25 | 1u << 22;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & bits) == bits;
}

}  // namespace millrace
