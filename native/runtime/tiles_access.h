// Whether this process may use the tiles of AMX.
#pragma once

#include <string>

namespace millrace {

struct TilesAccess {
  bool isGranted;
  /** Why a processor that has AMX int8 and bf16 cannot be used with them; otherwise empty. */
  std::string refusal;
};

/** Asks the system for permission, once in a process and for all of its threads. */
const TilesAccess& tilesAccess();

}  // namespace millrace
