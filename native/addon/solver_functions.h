// The quantiser's linear algebra as JavaScript sees it.
#pragma once

#include "addon/values.h"

namespace millrace {

napi_value addGram(const Args& args);
napi_value factorize(const Args& args);
napi_value addSquares(const Args& args);
napi_value readWeight(const Args& args);
napi_value areFinite(const Args& args);
napi_value roundRows(const Args& args);
napi_value roundBlocks(const Args& args);
napi_value roundGroups(const Args& args);
napi_value readGroups(const Args& args);
napi_value packCodes(const Args& args);
napi_value squaredErrors(const Args& args);
napi_value checksumRows(const Args& args);
napi_value quadraticForms(const Args& args);

}  // namespace millrace
