// The declaration of a tool in the system turn. Source: docs/spec/03-tokenizer-and-chat.md, 4.7.
#pragma once

#include <string>

#include "text/template_writer.h"

namespace culet {

// Writes `declaration:NAME{…}`. `path` names the tool in messages ("tools[2]"). The published
// template's quirks stay: without a type the closing brace of parameters is missing.
void WriteToolDeclaration(const OrderedJson& tool, const std::string& path, TemplateWriter* out);

}  // namespace culet
