// Which packed form a list of parts gets, decided before any byte is copied.
#pragma once

#include "linear/packed.h"

namespace millrace {

/** The codes that hold a part without loss. */
Codes partCodes(const WeightPart& part);

/** Fills form, shape and description of `matrix`; false and a message when no kernel takes the pair. */
bool planMatrix(const WeightPart* parts, int numParts, Form inputForm, bool paired, PackedMatrix& matrix,
                std::string& error);

}  // namespace millrace
