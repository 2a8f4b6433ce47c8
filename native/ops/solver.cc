// What the quantiser computes: Gram matrices and their factors, rounding, also such that passes errors on (GPTQ, Frantar et
// al. 2022), packing, squared errors and checksums of rows. Work is shared out by tiles or rows whose contents do not depend
// on the number of threads.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/context.h"
#include "runtime/float_state.h"

namespace millrace {

namespace {

constexpr int64_t lanes = 16;
/** Rows that are worked on with the same part of a matrix, and rows of that part: together they fit the caches. */
constexpr int64_t rowsPerTile = 16;
constexpr int64_t blockRows = 64;

int64_t tilesOf(int64_t count, int64_t size) { return (count + size - 1) / size; }

/** [count, cols] to panels [cols / 16][count][16], zeros behind the last column. */
void packPanel(const float* x, int64_t count, int64_t cols, int64_t panel, float* to) {
  const int64_t first = panel * lanes;
  const int64_t width = std::min(lanes, cols - first);
  for (int64_t t = 0; t < count; ++t) {
    float* row = to + t * lanes;
    std::copy(x + t * cols + first, x + t * cols + first + width, row);
    std::fill(row + width, row + lanes, 0.0f);
  }
}

GroupRow rowOf(const GroupRow& first, const GroupGrid& grid, int64_t index) {
  const int64_t numGroups = grid.cols / grid.groupSize;
  GroupRow row = first;
  row.x += index * grid.cols;
  row.codes += index * grid.cols;
  row.scales += index * numGroups;
  if (row.zeros != nullptr) row.zeros += index * numGroups;
  return row;
}

/** Of integers, halves to the even one; of levels, the middle of two to the upper one. */
float nearestCode(const RoundingJob& job, float x) {
  if (job.levels == nullptr) return std::clamp(std::nearbyintf(x), job.least, job.most);
  int place = 0;
  while (place < 15 && 2 * x >= static_cast<float>(job.levels[place] + job.levels[place + 1])) ++place;
  return job.levels[place];
}

}  // namespace

void Context::addGram(const float* x, int64_t count, int64_t cols, float* gram) {
  check(cols % lanes == 0, "a Gram matrix takes a multiple of 16 columns");
  const int64_t numPanels = cols / lanes;
  std::vector<float> panels(static_cast<size_t>(count * cols));
  pool_->parallelFor(numPanels, [&](int64_t panel, int) {
    packPanel(x, count, cols, panel, panels.data() + panel * count * lanes);
  });
  // The lower half is the upper one's mirror image.
  pool_->parallelFor(numPanels, [&](int64_t row, int) {
    for (int64_t col = row; col < numPanels; ++col) {
      kernels_.addGramTile(panels.data() + row * count * lanes, panels.data() + col * count * lanes, count,
                           gram + row * lanes * cols + col * lanes, cols);
    }
  });
}

void Context::addSquares(const float* x, int64_t count, int64_t cols, float* sums) {
  check(cols % lanes == 0, "sums of squares take a multiple of 16 columns");
  pool_->parallelFor(cols / lanes, [&](int64_t panel, int) {
    kernels_.addSquaresOfPanel(x + panel * lanes, count, cols, sums + panel * lanes);
  });
}

bool Context::factorize(float* r, int64_t n, float* inverse) {
  // Upper Cholesky factor in place, a block of rows at a time.
  std::vector<float> factors(static_cast<size_t>(blockRows));
  for (int64_t first = 0; first < n; first += blockRows) {
    const int64_t end = std::min(n, first + blockRows);
    for (int64_t i = first; i < end; ++i) {
      float* row = r + i * n;
      for (int64_t m = first; m < i; ++m) factors[static_cast<size_t>(m - first)] = r[m * n + i];
      kernels_.subtractRows(row + i, r + first * n + i, n, factors.data(), i - first, n - i);
      if (!(row[i] > 0) || !std::isfinite(row[i])) return false;
      const float root = std::sqrt(row[i]);
      for (int64_t j = i; j < n; ++j) row[j] /= root;
    }
    pool_->parallelFor(tilesOf(n - end, rowsPerTile), [&](int64_t tile, int) {
      float column[blockRows];
      for (int64_t i = end + tile * rowsPerTile; i < std::min(n, end + (tile + 1) * rowsPerTile); ++i) {
        for (int64_t m = first; m < end; ++m) column[m - first] = r[m * n + i];
        kernels_.subtractRows(r + i * n + i, r + first * n + i, n, column, end - first, n - i);
      }
    });
  }
  // Its inverse, also upper, from the last row up; columns are independent.
  std::fill(inverse, inverse + n * n, 0.0f);
  pool_->parallelFor(tilesOf(n, blockRows), [&](int64_t stripe, int) {
    const int64_t first = stripe * blockRows;
    const int64_t end = std::min(n, first + blockRows);
    for (int64_t i = end - 1; i >= 0; --i) {
      float* row = inverse + i * n + first;
      if (i >= first) row[i - first] = 1.0f;
      kernels_.subtractRows(row, inverse + (i + 1) * n + first, n, r + i * n + i + 1, end - i - 1, end - first);
      for (int64_t j = 0; j < end - first; ++j) row[j] /= r[i * n + i];
    }
  });
  return true;
}

void Context::roundRows(const RoundingJob& job) {
  const int64_t n = job.cols;
  pool_->parallelFor(tilesOf(job.rows, rowsPerTile), [&](int64_t tile, int) {
    float errors[blockRows];
    const int64_t firstRow = tile * rowsPerTile;
    const int64_t lastRow = std::min(job.rows, firstRow + rowsPerTile);
    std::vector<float> sorted(static_cast<size_t>((lastRow - firstRow) * n));
    for (int64_t r = firstRow; r < lastRow; ++r) {
      float* w = sorted.data() + (r - firstRow) * n;
      for (int64_t i = 0; i < n; ++i) w[i] = job.values[r * n + job.order[i]];
    }
    for (int64_t first = 0; first < n; first += blockRows) {
      const int64_t end = std::min(n, first + blockRows);
      for (int64_t r = firstRow; r < lastRow; ++r) {
        float* w = sorted.data() + (r - firstRow) * n;
        for (int64_t i = first; i < end; ++i) {
          const int64_t at = r * n + job.order[i];
          const int64_t group = at / job.groupSize;
          const float scale = job.scales[group];
          const float minimum = job.minimums == nullptr ? 0.0f : job.minimums[group];
          const float code = nearestCode(job, scale == 0 ? 0.0f : (w[i] - minimum) / scale);
          job.codes[at] = static_cast<int8_t>(code);
          const float* upper = job.upper + i * n;
          errors[i - first] = (w[i] - (scale * code + minimum)) / upper[i];
          kernels_.subtractRows(w + i + 1, upper + i + 1, n, errors + (i - first), 1, end - i - 1);
        }
        kernels_.subtractRows(w + end, job.upper + first * n + end, n, errors, end - first, n - end);
      }
    }
  });
}

void Context::roundBlocks(const BlockRow& first, int64_t rows) {
  const int64_t rowBytes = first.cols / (first.isSuper ? 256 : 32) * first.blockBytes;
  pool_->parallelFor(rows, [&](int64_t index, int) {
    const KeepDenormals keep;
    BlockRow row = first;
    row.x += index * first.cols;
    row.blocks += index * rowBytes;
    kernels_.roundBlockRow(row);
  });
}

void Context::roundGroups(const GroupRow& first, const GroupGrid& grid, int64_t rows) {
  pool_->parallelFor(rows, [&](int64_t index, int) {
    const KeepDenormals keep;
    kernels_.roundGroupRow(rowOf(first, grid, index), grid);
  });
}

void Context::readGroups(const GroupRow& first, const GroupGrid& grid, int64_t rows, float* values) {
  pool_->parallelFor(rows, [&](int64_t index, int) {
    const KeepDenormals keep;
    kernels_.readGroupRow(rowOf(first, grid, index), grid, values + index * grid.cols);
  });
}

void Context::packCodes(const int8_t* codes, int64_t rows, int64_t cols, int bits, uint8_t* out) {
  const int64_t stride = (cols * bits + 31) / 32 * 4;
  const uint32_t offset = 1u << (bits - 1);
  pool_->parallelFor(rows, [&](int64_t row, int) {
    uint8_t* to = out + row * stride;
    uint8_t* const end = to + stride;
    uint32_t pending = 0;
    int numPending = 0;
    for (int64_t i = row * cols; i < (row + 1) * cols; ++i) {
      pending |= (static_cast<uint32_t>(codes[i] + static_cast<int>(offset)) & 255u) << numPending;
      numPending += bits;
      for (; numPending >= 8; numPending -= 8, pending >>= 8) *to++ = static_cast<uint8_t>(pending);
    }
    if (numPending > 0) *to++ = static_cast<uint8_t>(pending);
    std::fill(to, end, uint8_t{0});
  });
}

void Context::squaredErrors(const float* wanted, const float* written, int64_t rows, int64_t cols, double* sums) {
  pool_->parallelFor(rows, [&](int64_t row, int) {
    kernels_.squaredErrorOfRow(wanted + row * cols, written + row * cols, cols, sums + row * 2);
  });
}

void Context::checksumRows(const float* values, int64_t rows, int64_t cols, uint8_t* sums) {
  pool_->parallelFor(rows, [&](int64_t row, int) {
    const float* from = values + row * cols;
    uint64_t plain = 0;
    uint64_t weighted = 0;
    for (int64_t i = 0; i < cols; ++i) {
      uint32_t word;
      std::memcpy(&word, from + i, sizeof word);
      plain += word;
      weighted += static_cast<uint64_t>(i + 1) * word;
    }
    std::memcpy(sums + row * 16, &plain, sizeof plain);
    std::memcpy(sums + row * 16 + 8, &weighted, sizeof weighted);
  });
}

void Context::quadraticForms(const float* x, const float* y, int64_t rows, int64_t n, const float* gram, double* forms) {
  pool_->parallelFor(tilesOf(rows, rowsPerTile), [&](int64_t tile, int) {
    const int64_t firstRow = tile * rowsPerTile;
    const int64_t count = std::min(rowsPerTile, rows - firstRow);
    const size_t size = static_cast<size_t>(count * n);
    std::vector<float> d(x + firstRow * n, x + (firstRow + count) * n);
    for (size_t i = 0; y != nullptr && i < size; ++i) d[i] -= y[static_cast<size_t>(firstRow * n) + i];
    // The matrix is its own mirror image: what is behind a block of its diagonal counts twice.
    std::vector<float> within(size, 0.0f);
    std::vector<float> before(size, 0.0f);
    for (int64_t first = 0; first < n; first += blockRows) {
      const int64_t end = std::min(n, first + blockRows);
      for (int64_t r = 0; r < count; ++r) {
        const float* factors = d.data() + r * n + first;
        const float* from = gram + first * n;
        kernels_.subtractRows(within.data() + r * n + first, from + first, n, factors, end - first, end - first);
        kernels_.subtractRows(before.data() + r * n + end, from + end, n, factors, end - first, n - end);
      }
    }
    for (int64_t r = 0; r < count; ++r) {
      double sum = 0;
      for (int64_t i = r * n; i < (r + 1) * n; ++i) {
        const size_t at = static_cast<size_t>(i);
        sum -= static_cast<double>(d[at]) * (static_cast<double>(within[at]) + 2.0 * static_cast<double>(before[at]));
      }
      forms[firstRow + r] = sum;
    }
  });
}

}  // namespace millrace
