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

/** AVX-512 F, BW, VL, DQ, VNNI and BF16. */
inline bool cpuHasAvx512() {
  return cpuHasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
}

}  // namespace millrace
