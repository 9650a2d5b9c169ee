// What must hold of any tokenizer and any text.
#pragma once

#include <string_view>
#include <vector>

#include "text/tokenizer.h"
#include "text/tokenizer_file.h"

namespace culet::fuzz {

// Ids in range; decoding by the stream equals decoding at once; data makes no control token; an
// encoded text read as one control segment is the same.
void CheckTokenizer(const Tokenizer& tokenizer, std::string_view text);

// Ids in any order: the stream decodes as the whole does, and an answer made of them ends well.
void CheckIds(const Tokenizer& tokenizer, const std::vector<TokenId>& ids);

// BPE by the definition, pair after pair over the whole text, as EncodeData must give it.
std::vector<TokenId> PlainBpe(const TokenizerFile& file, std::string_view utf8);

}  // namespace culet::fuzz
