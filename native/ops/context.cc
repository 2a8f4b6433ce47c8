#include "ops/context.h"

#include <algorithm>
#include <cstring>

namespace millrace {

namespace {

constexpr size_t initialArenaBytes = 8u << 20;
// Rows that one tile of a row-wise loop takes: enough work to be worth a claim.
constexpr int64_t rowsPerTile = 8;

int64_t tilesOf(int64_t rows) { return (rows + rowsPerTile - 1) / rowsPerTile; }

/** Calls body(row) for all rows over the pool. */
template <class Body>
void eachRow(ThreadPool& pool, int64_t rows, Body&& body) {
  pool.parallelFor(tilesOf(rows), [&](int64_t tile, int) {
    const int64_t end = std::min(rows, (tile + 1) * rowsPerTile);
    for (int64_t row = tile * rowsPerTile; row < end; ++row) body(row);
  });
}

/** One row of any form as f32: a code times its scale. */
void readRow(const Activations& x, int64_t row, float* out) {
  const int64_t start = row * x.rowStride;
  if (x.form == Form::F32) {
    std::memcpy(out, static_cast<const float*>(x.data) + start, static_cast<size_t>(x.cols) * 4);
  } else if (x.form == Form::BF16) {
    const uint16_t* halves = static_cast<const uint16_t*>(x.data) + start;
    for (int64_t col = 0; col < x.cols; ++col) {
      const uint32_t bits = static_cast<uint32_t>(halves[col]) << 16;
      std::memcpy(out + col, &bits, 4);
    }
  } else {
    const int8_t* codes = static_cast<const int8_t*>(x.data) + start;
    const float* scales = x.scales + row * x.sideStride;
    const int64_t width = x.form == Form::Int8Token ? x.cols : 32;
    for (int64_t col = 0; col < x.cols; ++col) out[col] = static_cast<float>(codes[col]) * scales[col / width];
  }
}

}  // namespace

Context::Context(const KernelTable& kernels, int numThreads, bool attendsInBf16)
    : kernels_(kernels), attendPartition_(attendsInBf16 ? kernels.attendPartitionInBf16 : kernels.attendPartition), pool_(std::make_unique<ThreadPool>(numThreads)), arena_(initialArenaBytes),
      rowScratch_(static_cast<size_t>(pool_->size())) {}

int64_t Context::packLinear(const std::vector<WeightPart>& parts, Form inputForm, bool paired) {
  std::string error;
  auto packed = kernels_.linear->pack(parts.data(), static_cast<int>(parts.size()), inputForm, paired, *pool_, error);
  if (packed == nullptr) throw std::runtime_error(error);
  weights_.push_back(std::move(packed));
  return static_cast<int64_t>(weights_.size()) - 1;
}

void Context::freeLinear(int64_t id) {
  weight(id);
  weights_[static_cast<size_t>(id)].reset();
}

int64_t Context::loadVector(const float* values, int64_t length) {
  vectors_.emplace_back(values, values + length);
  return static_cast<int64_t>(vectors_.size()) - 1;
}

int64_t Context::loadRope(const float* cos, const float* sin, int64_t count, int64_t rotaryDim) {
  ropes_.push_back({{cos, cos + count}, {sin, sin + count}, rotaryDim, count / (rotaryDim / 2)});
  return static_cast<int64_t>(ropes_.size()) - 1;
}

const PackedLinear& Context::weight(int64_t id) const {
  check(id >= 0 && id < static_cast<int64_t>(weights_.size()) && weights_[static_cast<size_t>(id)] != nullptr,
        "a weight does not exist in this backend");
  return *weights_[static_cast<size_t>(id)];
}

void Context::beginStep(Batch&& batch) {
  batch_ = std::move(batch);
  tensors_.clear();
  arena_.reset();
  pool_->beginStep();
}

void Context::endStep() { pool_->endStep(); }

const Activations& Context::tensor(int64_t id) const {
  check(id >= 0 && id < static_cast<int64_t>(tensors_.size()), "a tensor is older than this step");
  return tensors_[static_cast<size_t>(id)].data;
}

float* Context::floats(int64_t id, const char* message) const {
  const Activations& x = tensor(id);
  check(x.form == Form::F32, message);
  return static_cast<float*>(x.data);
}

int64_t Context::create(Form form, int64_t rows, int64_t cols) {
  void* buffer = arena_.allocate(activationBytes(form, rows, cols));
  tensors_.push_back({layActivations(buffer, form, rows, cols), arena_.mark()});
  return static_cast<int64_t>(tensors_.size()) - 1;
}

void Context::releaseAfter(int64_t x) {
  tensor(x);
  tensors_.resize(static_cast<size_t>(x) + 1);
  arena_.release(tensors_.back().end);
}

int64_t Context::embed(int64_t table, const int32_t* given) {
  const PackedLinear& packed = weight(table);
  const int32_t* ids = given == nullptr ? batch_.tokenIds.data() : given;
  for (int64_t t = 0; t < batch_.numTokens; ++t) {
    check(ids[t] >= 0 && ids[t] < packed.rows, "an id is outside its embedding table");
  }
  const int64_t out = create(Form::F32, batch_.numTokens, packed.cols);
  float* values = static_cast<float*>(tensor(out).data);
  eachRow(*pool_, batch_.numTokens, [&](int64_t row) {
    kernels_.linear->unpackRow(packed, ids[row], values + row * packed.cols);
  });
  return out;
}

int64_t Context::rmsNorm(int64_t x, int64_t weight, float eps, Form form) {
  const float* from = floats(x, "a norm takes f32");
  const int64_t rows = tensor(x).rows;
  const int64_t cols = tensor(x).cols;
  const std::vector<float>& factors = vectors_.at(static_cast<size_t>(weight));
  check(static_cast<int64_t>(factors.size()) == cols, "a norm has one weight for each column");
  const int64_t out = create(form, rows, cols);
  Activations to = tensor(out);
  const Arena::Mark mark = arena_.mark();
  const int64_t stride = roundUp(cols, 16);
  float* normed = form == Form::F32 ? nullptr : arena_.allocateArray<float>(pool_->size() * stride);
  pool_->parallelFor(tilesOf(rows), [&](int64_t tile, int thread) {
    const int64_t end = std::min(rows, (tile + 1) * rowsPerTile);
    for (int64_t row = tile * rowsPerTile; row < end; ++row) {
      float* target = normed == nullptr ? static_cast<float*>(to.data) + row * cols : normed + thread * stride;
      kernels_.rmsNormRow(from + row * cols, factors.data(), cols, eps, target);
      if (normed != nullptr) kernels_.linear->quantizeRow(target, cols, to, row);
    }
  });
  arena_.release(mark);
  return out;
}

void Context::layerNorm(int64_t x, int64_t weight, int64_t bias, float eps) {
  float* values = floats(x, "a norm takes f32");
  const std::vector<float>& factors = vectors_.at(static_cast<size_t>(weight));
  const std::vector<float>& shifts = vectors_.at(static_cast<size_t>(bias));
  const int64_t cols = tensor(x).cols;
  check(static_cast<int64_t>(factors.size()) == cols && factors.size() == shifts.size(),
        "a norm has one weight and one bias for each column");
  eachRow(*pool_, tensor(x).rows, [&](int64_t row) {
    kernels_.layerNormRow(values + row * cols, factors.data(), shifts.data(), cols, eps);
  });
}

void Context::runLinear(const PackedLinear& packed, const Activations& x, const LinearOutput& output) {
  const Arena::Mark mark = arena_.mark();
  uint8_t* scratch = static_cast<uint8_t*>(arena_.allocate(kernels_.linear->scratchBytes(packed, x.rows, pool_->size())));
  kernels_.linear->run(packed, x, output, scratch, *pool_);
  arena_.release(mark);
}

int64_t Context::linear(int64_t x, int64_t weightId, const LinearRequest& request) {
  const PackedLinear& packed = weight(weightId);
  const Activations input = tensor(x);
  check(input.form == packed.inputForm && input.cols == packed.cols, "a linear got an input of another form or width");
  const float* biases = nullptr;
  if (request.bias >= 0) {
    const std::vector<float>& values = vectors_.at(static_cast<size_t>(request.bias));
    check(static_cast<int64_t>(values.size()) == packed.rows, "a bias has one value for each output");
    biases = values.data();
  }
  const bool hasResidual = request.residual >= 0;
  check(request.form == Form::F32 || !hasResidual, "a residual is f32");
  const int64_t cols = request.gate == Gate::None ? packed.rows : packed.rows / 2;
  const int64_t out = hasResidual ? request.residual : create(request.form, input.rows, cols);
  Activations to = tensor(out);
  check(to.form == request.form && to.rows == input.rows && to.cols == cols, "a residual has the shape of the output");
  if (input.rows == 0) return out;
  if (kernels_.linear->takesForm(packed, request.form)) {
    const float* residual = hasResidual ? static_cast<const float*>(to.data) : nullptr;
    runLinear(packed, input, {to, biases, residual, request.gate});
    return out;
  }
  const Arena::Mark mark = arena_.mark();
  float* values = arena_.allocateArray<float>(input.rows * cols);
  runLinear(packed, input, {layActivations(values, Form::F32, input.rows, cols), biases, nullptr, request.gate});
  eachRow(*pool_, input.rows, [&](int64_t row) { kernels_.linear->quantizeRow(values + row * cols, cols, to, row); });
  arena_.release(mark);
  return out;
}

int64_t Context::convert(int64_t x, Form form) {
  const Activations input = tensor(x);
  if (form == Form::F32) {
    const int64_t out = create(form, input.rows, input.cols);
    float* values = static_cast<float*>(tensor(out).data);
    eachRow(*pool_, input.rows, [&](int64_t row) { readRow(input, row, values + row * input.cols); });
    return out;
  }
  const float* from = floats(x, "a conversion takes f32");
  const int64_t out = create(form, input.rows, input.cols);
  Activations to = tensor(out);
  eachRow(*pool_, input.rows,
          [&](int64_t row) { kernels_.linear->quantizeRow(from + row * input.cols, input.cols, to, row); });
  return out;
}

void Context::addScaled(int64_t x, int64_t y, float scale) {
  float* into = floats(x, "a sum takes f32");
  const float* from = floats(y, "a sum takes f32");
  const int64_t cols = tensor(x).cols;
  check(tensor(y).cols == cols && tensor(y).rows == tensor(x).rows, "tensors that are added have the same shape");
  eachRow(*pool_, tensor(x).rows, [&](int64_t row) {
    if (scale == 1.0f) kernels_.addRow(into + row * cols, from + row * cols, cols);
    else kernels_.addScaledRow(into + row * cols, from + row * cols, scale, cols);
  });
}

void Context::scale(int64_t x, float factor) {
  float* values = floats(x, "a scaling takes f32");
  const int64_t cols = tensor(x).cols;
  eachRow(*pool_, tensor(x).rows, [&](int64_t row) { kernels_.scaleRow(values + row * cols, factor, cols); });
}

void Context::softCap(int64_t x, float cap) {
  float* values = floats(x, "a soft cap takes f32");
  const int64_t cols = tensor(x).cols;
  eachRow(*pool_, tensor(x).rows, [&](int64_t row) { kernels_.softCapRow(values + row * cols, cap, cols); });
}

void Context::gelu(int64_t x) {
  float* values = floats(x, "an activation takes f32");
  const int64_t cols = tensor(x).cols;
  eachRow(*pool_, tensor(x).rows, [&](int64_t row) { kernels_.geluRow(values + row * cols, cols); });
}

int64_t Context::gate(int64_t x, Gate gate) {
  const float* from = floats(x, "an activation takes f32");
  const int64_t rows = tensor(x).rows;
  const int64_t width = tensor(x).cols / 2;
  const int64_t out = create(Form::F32, rows, width);
  float* to = static_cast<float*>(tensor(out).data);
  eachRow(*pool_, rows, [&](int64_t row) {
    const float* first = from + row * 2 * width;
    kernels_.gateRow(first, first + width, gate, to + row * width, width);
  });
  return out;
}

int64_t Context::gatherRows(int64_t x, const int32_t* indices, int64_t count) {
  const Activations from = tensor(x);
  for (int64_t i = 0; i < count; ++i) check(indices[i] >= 0 && indices[i] < from.rows, "a gathered row does not exist");
  const int64_t out = create(from.form, count, from.cols);
  const Activations to = tensor(out);
  const size_t rowBytes = static_cast<size_t>(from.rowStride * bytesPerElement(from.form));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = indices[i];
    std::memcpy(static_cast<uint8_t*>(to.data) + static_cast<size_t>(i) * rowBytes,
                static_cast<const uint8_t*>(from.data) + static_cast<size_t>(row) * rowBytes, rowBytes);
    if (from.sideStride == 0) continue;
    std::copy_n(from.scales + row * from.sideStride, from.sideStride, to.scales + i * to.sideStride);
  }
  return out;
}

int64_t Context::gatherColumns(int64_t x, const int32_t* columns, Form form) {
  const float* from = floats(x, "columns are gathered from f32");
  const int64_t rows = tensor(x).rows;
  const int64_t count = tensor(x).cols;
  for (int64_t i = 0; i < count; ++i) check(columns[i] >= 0 && columns[i] < count, "a gathered column does not exist");
  const int64_t out = create(form, rows, count);
  Activations to = tensor(out);
  const Arena::Mark mark = arena_.mark();
  const int64_t stride = roundUp(count, 16);
  float* gathered = form == Form::F32 ? nullptr : arena_.allocateArray<float>(pool_->size() * stride);
  pool_->parallelFor(tilesOf(rows), [&](int64_t tile, int thread) {
    const int64_t end = std::min(rows, (tile + 1) * rowsPerTile);
    for (int64_t row = tile * rowsPerTile; row < end; ++row) {
      float* target = gathered == nullptr ? static_cast<float*>(to.data) + row * count : gathered + thread * stride;
      for (int64_t i = 0; i < count; ++i) target[i] = from[row * count + columns[i]];
      if (gathered != nullptr) kernels_.linear->quantizeRow(target, count, to, row);
    }
  });
  arena_.release(mark);
  return out;
}

size_t Context::weightBytes() const {
  size_t total = 0;
  for (const auto& packed : weights_) total += packed == nullptr ? 0 : packed->sizeBytes;
  for (const auto& values : vectors_) total += values.size() * sizeof(float);
  for (const RopeTable& rope : ropes_) total += 2 * rope.cos.size() * sizeof(float);
  return total;
}

void Context::close() {
  pool_->endStep();
  pool_ = std::make_unique<ThreadPool>(1);
  tensors_.clear();
  weights_.clear();
  vectors_.clear();
  ropes_.clear();
  caches_.clear();
  hosts_.clear();
  arena_.reset();
}

}  // namespace millrace
