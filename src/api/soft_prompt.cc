#include "api/soft_prompt.h"

#include <array>
#include <utility>

#include "api/model_impl.h"

namespace culet {

SoftInput ToSoftInput(const PromptMedia& medium) {
  SoftInput input;
  input.name = medium.name;
  input.key = medium.key;
  input.visual = medium.visual;
  input.placeholder = medium.placeholder;
  if (!medium.visual) {
    input.sound_width = medium.sound_width;
    input.sound_rows = static_cast<std::int64_t>(medium.sound.size()) / medium.sound_width;
    input.rows = [&medium] { return medium.sound; };
    return input;
  }
  const std::int64_t side = medium.patch_kind == PatchKind::kPatches
                                ? medium.settings.sizes.patch_size
                                : medium.settings.sizes.token_side();
  input.grid = {medium.image.size.width / side, medium.image.size.height / side};
  input.rows = [&medium] {
    return CutPatches(medium.image, medium.settings, medium.patch_kind).values;
  };
  return input;
}

SoftPrompt Soften(const Model& model, const Prompt& prompt, const EncodeProgress& progress) {
  SoftPrompt soft;
  soft.tokens.assign(prompt.tokens.begin(), prompt.tokens.end());
  if (prompt.media.empty()) return soft;
  const Model::Impl& impl = model.impl();
  std::vector<SoftInput> inputs;
  for (const auto& medium : prompt.media) inputs.push_back(ToSoftInput(*medium));
  soft.blocks = impl.encoders->Encode(inputs, progress);
  const MediaTokens& ids = impl.checkpoint->config().media_tokens;
  const std::array placeholders = {static_cast<std::int32_t>(ids.image),
                                   static_cast<std::int32_t>(ids.audio),
                                   static_cast<std::int32_t>(ids.video)};
  soft.tokens = PlaceSoftTokens(soft.tokens, placeholders, soft.blocks);
  return soft;
}

}  // namespace culet
