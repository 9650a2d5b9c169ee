// The passage on which quality is measured where nobody gives a text.
#pragma once

#include <string>

namespace culet {

// Prose, facts, a list, sums, a program, and four languages: some 900 tokens. Written for this use.
const std::string& ReportText();

}  // namespace culet
