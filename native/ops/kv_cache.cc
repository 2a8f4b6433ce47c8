// KV caches, their host blocks, and what moves between them.
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "ops/context.h"

namespace millrace {

namespace {

constexpr size_t pageBytes = 4096;

int64_t elementBytes(KvDtype dtype) {
  if (dtype == KvDtype::INT8) return 1;
  return dtype == KvDtype::F32 ? 4 : 2;
}

size_t wholePages(int64_t bytes) { return (static_cast<size_t>(bytes) + pageBytes - 1) / pageBytes * pageBytes; }

KvCache makeCache(int64_t numLayers, const KvLayer& shape) {
  const int64_t numTiles = shape.numBlocks * shape.numKvHeads;
  const int64_t perTile = std::max(shape.headDim * shape.tokenStride, shape.blockSize * shape.dimStride);
  const size_t part = wholePages(numTiles * perTile * elementBytes(shape.dtype));
  const size_t scales = shape.dtype == KvDtype::INT8 ? wholePages(numTiles * shape.tokenStride * 4) : 0;
  return {std::make_unique<Slab>(2 * (part + scales) * static_cast<size_t>(numLayers)), numLayers, part, scales, shape};
}

/** Bytes of a block in one layer: `count` runs of `bytes`, in which a token takes `tokenBytes` from the start. */
struct Runs {
  int64_t count;
  int64_t bytes;
  int64_t tokenBytes;
};

/** K runs along its tokens, one run for each dimension of each head; V has one run for each head. */
Runs keyRuns(const KvLayer& kv) {
  const int64_t element = elementBytes(kv.dtype);
  return {kv.numKvHeads * kv.headDim, kv.tokenStride * element, element};
}

Runs valueRuns(const KvLayer& kv) {
  const int64_t token = kv.dimStride * elementBytes(kv.dtype);
  return {kv.numKvHeads, kv.blockSize * token, token};
}

/** Scales of K as of V. */
Runs scaleRuns(const KvLayer& kv) {
  constexpr int64_t scale = sizeof(float);
  return {kv.numKvHeads, kv.tokenStride * scale, scale};
}

/** A whole block as one run: blocks lie one after another. */
Runs joined(const Runs& runs, bool isWhole) {
  return isWhole ? Runs{1, runs.count * runs.bytes, runs.count * runs.bytes} : runs;
}

uint8_t* bytesOf(float* scales) { return reinterpret_cast<uint8_t*>(scales); }

void copyRuns(const Runs& runs, const uint8_t* from, int64_t source, uint8_t* to, int64_t target, int64_t numTokens) {
  const int64_t block = runs.count * runs.bytes;
  from += source * block;
  to += target * block;
  const size_t used = static_cast<size_t>(numTokens * runs.tokenBytes);
  for (int64_t run = 0; run < runs.count; ++run) std::memcpy(to + run * runs.bytes, from + run * runs.bytes, used);
}

bool equalRuns(const Runs& runs, const uint8_t* base, int64_t a, int64_t b, int64_t numTokens) {
  const int64_t block = runs.count * runs.bytes;
  const size_t used = static_cast<size_t>(numTokens * runs.tokenBytes);
  for (int64_t run = 0; run < runs.count; ++run) {
    const uint8_t* place = base + run * runs.bytes;
    if (std::memcmp(place + a * block, place + b * block, used) != 0) return false;
  }
  return true;
}

/** A block of one layer, or its first tokens. */
void copyTokens(const KvLayer& from, int64_t source, const KvLayer& to, int64_t target, int64_t numTokens) {
  const bool isWhole = numTokens == from.blockSize;
  const int64_t count = isWhole ? 1 : numTokens;
  copyRuns(joined(keyRuns(from), isWhole), from.k, source, to.k, target, count);
  copyRuns(joined(valueRuns(from), isWhole), from.v, source, to.v, target, count);
  if (from.dtype != KvDtype::INT8) return;
  const Runs scales = joined(scaleRuns(from), isWhole);
  copyRuns(scales, bytesOf(from.kScales), source, bytesOf(to.kScales), target, count);
  copyRuns(scales, bytesOf(from.vScales), source, bytesOf(to.vScales), target, count);
}

bool equalTokens(const KvLayer& kv, int64_t a, int64_t b, int64_t numTokens) {
  if (!equalRuns(keyRuns(kv), kv.k, a, b, numTokens) || !equalRuns(valueRuns(kv), kv.v, a, b, numTokens)) return false;
  if (kv.dtype != KvDtype::INT8) return true;
  return equalRuns(scaleRuns(kv), bytesOf(kv.kScales), a, b, numTokens) &&
         equalRuns(scaleRuns(kv), bytesOf(kv.vScales), a, b, numTokens);
}

constexpr uint8_t moveOut = 1;
constexpr uint8_t moveIn = 2;

void checkMoves(const KvMoveColumns& moves, const KvLayer& kv, int64_t numHostBlocks) {
  for (int64_t i = 0; i < moves.count; ++i) {
    check(moves.kinds[i] <= moveIn, "a KV move is of no known kind");
    const int64_t numSources = moves.kinds[i] == moveIn ? numHostBlocks : kv.numBlocks;
    const int64_t numTargets = moves.kinds[i] == moveOut ? numHostBlocks : kv.numBlocks;
    check(moves.sources[i] >= 0 && moves.sources[i] < numSources, "a KV move reads a block that is not there");
    check(moves.targets[i] >= 0 && moves.targets[i] < numTargets, "a KV move writes a block that is not there");
    check(moves.numTokens[i] >= 0 && moves.numTokens[i] <= kv.blockSize, "a KV move takes more tokens than a block");
  }
}

}  // namespace

Slab::Slab(size_t bytes) : data_(nullptr), size_(bytes) {
  if (bytes == 0) return;
  void* place = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  madvise(place, bytes, MADV_HUGEPAGE);
#endif
  data_ = static_cast<uint8_t*>(place);
}

Slab::~Slab() {
  if (data_ != nullptr) munmap(data_, size_);
}

int64_t Context::createKvCache(int64_t numLayers, const KvLayer& shape) {
  caches_.push_back(makeCache(numLayers, shape));
  return static_cast<int64_t>(caches_.size()) - 1;
}

int64_t Context::createKvHost(int64_t cacheId, int64_t numBlocks) {
  const KvCache& owner = cache(cacheId, 0);
  KvLayer shape = owner.shape;
  shape.numBlocks = numBlocks;
  hosts_.push_back(makeCache(owner.numLayers, shape));
  return static_cast<int64_t>(hosts_.size()) - 1;
}

const KvCache& Context::cache(int64_t id, int64_t layer) const {
  check(id >= 0 && id < static_cast<int64_t>(caches_.size()), "a KV cache does not exist in this backend");
  const KvCache& cache = caches_[static_cast<size_t>(id)];
  check(layer >= 0 && layer < cache.numLayers, "a KV cache has no such layer");
  return cache;
}

size_t Context::totalBytes(const std::vector<KvCache>& caches) {
  size_t total = 0;
  for (const KvCache& cache : caches) total += cache.slab->size();
  return total;
}

void Context::moveKv(int64_t cacheId, int64_t hostId, const KvMoveColumns& moves) {
  const KvCache& own = cache(cacheId, 0);
  check(hostId < static_cast<int64_t>(hosts_.size()), "a KV host does not exist in this backend");
  const KvCache* host = hostId < 0 ? nullptr : &hosts_[static_cast<size_t>(hostId)];
  checkMoves(moves, own.shape, host == nullptr ? 0 : host->shape.numBlocks);
  // Layers know nothing of each other: each thread does the whole list, in order, for its layers.
  pool_->parallelFor(own.numLayers, [&](int64_t index, int) {
    const KvLayer here = own.layer(index);
    const KvLayer there = host == nullptr ? here : host->layer(index);
    for (int64_t i = 0; i < moves.count; ++i) {
      const bool isSame = moves.kinds[i] == 0 && moves.sources[i] == moves.targets[i];
      if (isSame) continue;
      const KvLayer& from = moves.kinds[i] == moveIn ? there : here;
      const KvLayer& to = moves.kinds[i] == moveOut ? there : here;
      copyTokens(from, moves.sources[i], to, moves.targets[i], moves.numTokens[i]);
    }
  });
}

bool Context::equalKv(int64_t cacheId, int64_t blockA, int64_t blockB, int64_t numTokens) {
  const KvCache& own = cache(cacheId, 0);
  for (const int64_t block : {blockA, blockB}) check(block >= 0 && block < own.shape.numBlocks, "a KV block is not there");
  check(numTokens >= 0 && numTokens <= own.shape.blockSize, "a KV block has fewer tokens");
  std::atomic<bool> isEqual{true};
  pool_->parallelFor(own.numLayers, [&](int64_t index, int) {
    if (!equalTokens(own.layer(index), blockA, blockB, numTokens)) isEqual.store(false, std::memory_order_relaxed);
  });
  return isEqual.load();
}

}  // namespace millrace
