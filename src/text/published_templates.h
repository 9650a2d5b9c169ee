// The bytes of the two published templates, compiled in (templates/README.md).
#pragma once

#include <string_view>

#include "text/chat_template.h"

namespace culet {

std::string_view PublishedTemplateText(TemplateVariant variant);

}  // namespace culet
