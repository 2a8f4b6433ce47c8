#include "addon/read_weight.h"

#include "linear/blocks.h"
#include "ops/context.h"

namespace millrace {

WeightPart readPart(const Args& args, napi_value object) {
  WeightPart part{};
  part.kind = static_cast<int>(args.integerOf(object, "kind"));
  part.dtype = static_cast<int>(args.integerOf(object, "dtype"));
  part.bits = static_cast<int>(args.integerOf(object, "bits"));
  part.groupSize = args.integerOf(object, "groupSize");
  part.rows = args.integerOf(object, "rows");
  part.cols = args.integerOf(object, "cols");
  check(part.rows > 0 && part.cols > 0, "a weight is empty");
  const int64_t elements = part.rows * part.cols;
  const int64_t type = args.integerOf(object, "blockType");
  check(type >= 0 && type <= 6, "a block type is not known");
  part.blockType = static_cast<BlockType>(type);
  const bool isBlocks = part.blockType != BlockType::None;
  check(!isBlocks || part.cols % valuesPerBlock(part.blockType) == 0, "blocks do not divide a weight's columns");
  const int64_t bytes = isBlocks         ? part.rows * blockRowBytes(part.blockType, part.cols)
                        : part.kind == 0 ? elements * (part.dtype == 0 ? 4 : 2)
                                         : elements * part.bits / 8;
  part.data = args.arrayOf<const uint8_t>(object, "data", napi_uint8_array, bytes).data;
  if (part.kind == 0) return part;
  check(part.groupSize > 0 && part.cols % part.groupSize == 0, "groups do not divide a weight's columns");
  if (isBlocks) {
    part.pairedHeadDim = args.integerOf(object, "pairedHeadDim");
    const bool isWhole = part.pairedHeadDim >= 0 && part.pairedHeadDim % 2 == 0 &&
                         (part.pairedHeadDim == 0 || part.rows % part.pairedHeadDim == 0);
    check(isWhole, "rows in pairs are not whole heads");
    return part;
  }
  const int64_t numGroups = part.rows * (part.cols / part.groupSize);
  part.scales = args.arrayOf<const float>(object, "scales", napi_float32_array, numGroups).data;
  if (!args.isNull(object, "minimums")) {
    part.minimums = args.arrayOf<const float>(object, "minimums", napi_float32_array, numGroups).data;
  }
  return part;
}

}  // namespace millrace
