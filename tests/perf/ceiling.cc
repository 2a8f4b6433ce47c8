// Prints what this machine can do at most, for the kernel benchmarks to be compared with: bytes a second read from
// memory, and int8 products a second from registers (VNNI). Usage: ceiling THREADS → "GB/s GOP/s".
#include <immintrin.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr size_t bytesPerThread = size_t{256} << 20;
constexpr int64_t numLoops = 4'000'000;
constexpr int rounds = 5;

template <class Body>
double bestSeconds(int threads, Body body) {
  double best = 1e9;
  for (int round = 0; round < rounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> others;
    for (int i = 0; i < threads; ++i) others.emplace_back(body, i);
    for (std::thread& other : others) other.join();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (seconds < best) best = seconds;
  }
  return best;
}

void readAll(const uint8_t* from, size_t bytes) {
  __m256i sums[4] = {};
  for (size_t i = 0; i < bytes; i += 128) {
    _mm_prefetch(reinterpret_cast<const char*>(from + i + 4096), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(from + i + 4160), _MM_HINT_T0);
    for (size_t j = 0; j < 4; ++j) {
      const __m256i v = _mm256_load_si256(reinterpret_cast<const __m256i*>(from + i + 32 * j));
      sums[j] = _mm256_xor_si256(sums[j], v);
    }
  }
  for (__m256i& sum : sums) asm volatile("" : "+x"(sum));
}

void multiply() {
#if defined(__AVX512VNNI__)
  __m512i sums[12];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  __m512i a = _mm512_set1_epi8(1);
  const __m512i b = _mm512_set1_epi8(2);
  for (int64_t i = 0; i < numLoops; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) sums[j] = _mm512_dpbusd_epi32(sums[j], a, b);
    asm volatile("" : "+x"(a));
  }
  for (__m512i& sum : sums) asm volatile("" : "+x"(sum));
#endif
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  std::vector<uint8_t*> blocks;
  for (int i = 0; i < threads; ++i) {
    blocks.push_back(static_cast<uint8_t*>(std::aligned_alloc(size_t{2} << 20, bytesPerThread)));
    std::memset(blocks.back(), 1, bytesPerThread);
  }
  const double reading =
      bestSeconds(threads, [&](int i) { readAll(blocks[static_cast<size_t>(i)], bytesPerThread); });
  std::printf("%.1f", static_cast<double>(bytesPerThread) * threads / reading / 1e9);
#if defined(__AVX512VNNI__)
  const double multiplying = bestSeconds(threads, [](int) { multiply(); });
  std::printf(" %.0f\n", static_cast<double>(numLoops) * 12 * 128 * threads / multiplying / 1e9);
#else
  std::printf(" 0\n");
#endif
  for (uint8_t* block : blocks) std::free(block);
}
