#include "checkpoint/media_config.h"

#include <array>
#include <optional>
#include <string_view>

#include "base/config_fields.h"
#include "base/error.h"
#include "checkpoint/config.h"

namespace culet {
namespace {

// Caps of sizes, as config.cc has them for text: far above every model, and the products of them
// stay below 2^50 bytes.
constexpr std::int64_t kMaxHidden = 1 << 14;
constexpr std::int64_t kMaxIntermediate = 1 << 17;
constexpr std::int64_t kMaxLayers = 1 << 8;
constexpr std::int64_t kMaxHeads = 1 << 10;
constexpr std::int64_t kMaxHeadDim = 1 << 12;
constexpr std::int64_t kMaxPatch = 1 << 7;
constexpr std::int64_t kMaxPooling = 1 << 4;
constexpr std::int64_t kMaxPositions = 1 << 18;
constexpr std::int64_t kMaxChannels = 1 << 12;
constexpr std::int64_t kMaxContext = 1 << 12;
constexpr std::int64_t kMaxSoftTokens = 1 << 20;
constexpr std::int64_t kMaxToken = (1 << 22) - 1;

// Of transformers' base class and of training, and sizes that other fields decide.
constexpr std::string_view kIgnored[] = {"default_output_length", "max_position_embeddings",
                                         "num_soft_tokens"};

void ReadModelType(ConfigFields& fields, const std::string& expected) {
  const std::string type = fields.OptionalString("model_type").value_or(expected);
  if (type != expected) {
    fields.Refuse("model_type", "\"" + expected + "\", as the outer one asks",
                  ErrorKind::kUnsupported);
  }
}

// A field that may stand beside `value` and then says the same.
void ReadSame(ConfigFields& fields, const std::string& key, const std::string& other,
              std::int64_t value) {
  if (fields.Int(key, value, 0, INT64_MAX) == value) return;
  fields.Refuse(key, std::to_string(value) + ", which is " + other, ErrorKind::kUnsupported);
}

void ReadActivation(ConfigFields& fields, const char* key, const std::string& known) {
  if (fields.OptionalString(key).value_or(known) == known) return;
  fields.Refuse(key, "\"" + known + "\"", ErrorKind::kUnsupported);
}

// "axial" since transformers 5.24, "default" before: the same angles.
double ReadAxialTheta(ConfigFields& fields, const std::string& prefix) {
  constexpr double kDefault = 100.0;
  const Json* parameters = fields.Find("rope_parameters");
  if (parameters == nullptr) return kDefault;
  ConfigFields rope(*parameters, fields.place(), prefix + "rope_parameters.");
  const std::string type = rope.OptionalString("rope_type").value_or("axial");
  if (type != "axial" && type != "default") {
    rope.Refuse("rope_type", "\"axial\" or \"default\"", ErrorKind::kUnsupported);
  }
  const double theta = rope.Number("rope_theta", kDefault, 1e-3, 1e15);
  rope.RefuseUnknown("the rope_parameters of a vision tower");
  return theta;
}

VisionConfig ReadVisionTower(ConfigFields& fields, const std::string& prefix) {
  VisionConfig vision;
  ReadModelType(fields, "gemma4_vision");
  vision.hidden = fields.Int("hidden_size", 768, 1, kMaxHidden);
  vision.intermediate = fields.Int("intermediate_size", 3072, 1, kMaxIntermediate);
  vision.layers = fields.Int("num_hidden_layers", 16, 1, kMaxLayers);
  vision.heads = fields.Int("num_attention_heads", 12, 1, kMaxHeads);
  vision.kv_heads = fields.Int("num_key_value_heads", 12, 1, kMaxHeads);
  vision.head_dim = fields.Int("head_dim", 64, 4, kMaxHeadDim);
  ReadSame(fields, "global_head_dim", "head_dim", vision.head_dim);
  vision.patch_size = fields.Int("patch_size", 16, 1, kMaxPatch);
  vision.pooling_kernel_size = fields.Int("pooling_kernel_size", 3, 1, kMaxPooling);
  vision.position_embedding_size = fields.Int("position_embedding_size", 10240, 1, kMaxPositions);
  vision.rms_norm_eps = fields.Number("rms_norm_eps", 1e-6, 1e-30, 1.0);
  vision.rope_theta = ReadAxialTheta(fields, prefix);
  vision.use_clipped_linears = fields.Bool("use_clipped_linears", false);
  vision.standardize = fields.Bool("standardize", false);
  ReadActivation(fields, "hidden_activation", "gelu_pytorch_tanh");
  if (fields.Bool("attention_bias", false)) {
    fields.Refuse("attention_bias", "false; no published Gemma 4 has biases",
                  ErrorKind::kUnsupported);
  }
  if (vision.heads % vision.kv_heads != 0) {
    fields.Refuse("num_attention_heads",
                  "a multiple of num_key_value_heads = " + std::to_string(vision.kv_heads));
  }
  if (vision.head_dim % 4 != 0) {
    fields.Refuse("head_dim", "a multiple of 4: pairs of each half turn by column and by row");
  }
  return vision;
}

VisionConfig ReadVisionProjection(ConfigFields& fields) {
  VisionConfig vision;
  vision.kind = EncoderKind::kProjection;
  ReadModelType(fields, "gemma4_unified_vision");
  vision.patch_size = fields.Int("patch_size", 16, 1, kMaxPatch);
  vision.pooling_kernel_size = fields.Int("pooling_kernel_size", 3, 1, kMaxPooling);
  ReadSame(fields, "model_patch_size", "patch_size·pooling_kernel_size", vision.model_patch_size());
  vision.mm_embed_dim = fields.Int("mm_embed_dim", 3840, 1, kMaxHidden);
  vision.mm_posemb_size = fields.Int("mm_posemb_size", 1120, 1, kMaxPositions);
  // transformers norms rows of mm_embed_dim and projects rows of output_proj_dims: one tensor.
  ReadSame(fields, "output_proj_dims", "mm_embed_dim", vision.mm_embed_dim);
  vision.rms_norm_eps = fields.Number("rms_norm_eps", 1e-6, 1e-30, 1.0);
  return vision;
}

void ReadConvChannels(ConfigFields& fields, AudioConfig* audio) {
  constexpr std::int64_t kDefault[2] = {128, 32};
  const std::string key = "subsampling_conv_channels";
  const Json* channels = fields.Find(key);
  for (std::size_t i = 0; i < 2; ++i) {
    audio->conv_channels[i] = kDefault[i];
    if (channels == nullptr) continue;
    const std::optional<std::int64_t> count =
        channels->is_array() && channels->size() == 2
            ? JsonInt((*channels)[i], i == 0 ? 4 : 1, kMaxChannels)
            : std::nullopt;
    if (!count) {
      fields.Refuse(
          key, "two numbers of channels, from 4 and from 1 to " + std::to_string(kMaxChannels));
    }
    audio->conv_channels[i] = *count;
  }
}

AudioConfig ReadAudioTower(ConfigFields& fields) {
  AudioConfig audio;
  ReadModelType(fields, "gemma4_audio");
  audio.hidden = fields.Int("hidden_size", 1024, 2, kMaxHidden);
  audio.layers = fields.Int("num_hidden_layers", 12, 1, kMaxLayers);
  audio.heads = fields.Int("num_attention_heads", 8, 1, kMaxHeads);
  ReadConvChannels(fields, &audio);
  audio.conv_kernel_size = fields.Int("conv_kernel_size", 5, 1, kMaxContext);
  audio.residual_weight = fields.Number("residual_weight", 0.5, -1e6, 1e6);
  audio.attention_chunk_size = fields.Int("attention_chunk_size", 12, 1, kMaxContext);
  // Below 2 a step would not see itself.
  audio.attention_context_left = fields.Int("attention_context_left", 13, 2, kMaxContext);
  audio.attention_context_right = fields.Int("attention_context_right", 0, 0, kMaxContext);
  audio.attention_logit_cap = fields.Number("attention_logit_cap", 50.0, 1e-3, 400.0);
  // Hidden keys get this logit. So far below −cap it is weight 0 in f32, and its value no matter.
  (void)fields.Number("attention_invalid_logits_value", -1e9, -1e38, -1e3);
  audio.use_clipped_linears = fields.Bool("use_clipped_linears", true);
  audio.rms_norm_eps = fields.Number("rms_norm_eps", 1e-6, 1e-30, 1.0);
  audio.gradient_clipping = fields.Number("gradient_clipping", 1e10, 1e-30, 1e300);
  audio.output_proj_dims = fields.Int("output_proj_dims", 1536, 1, kMaxHidden);
  ReadActivation(fields, "hidden_act", "silu");
  if (audio.hidden % audio.heads != 0 || audio.hidden % 2 != 0) {
    fields.Refuse("hidden_size", "an even number, and a multiple of num_attention_heads = " +
                                     std::to_string(audio.heads));
  }
  return audio;
}

AudioConfig ReadAudioProjection(ConfigFields& fields) {
  AudioConfig audio;
  audio.kind = EncoderKind::kProjection;
  ReadModelType(fields, "gemma4_unified_audio");
  audio.audio_embed_dim = fields.Int("audio_embed_dim", 640, 1, kMaxHidden);
  // transformers has these as other names of the same number.
  for (const char* key : {"audio_samples_per_token", "hidden_size", "output_proj_dims"}) {
    ReadSame(fields, key, "audio_embed_dim", audio.audio_embed_dim);
  }
  audio.rms_norm_eps = fields.Number("rms_norm_eps", 1e-6, 1e-30, 1.0);
  return audio;
}

// `read` of the object at `key`, checked to the last field; nothing, and the reason in `error`,
// where that fails.
template <typename Config, typename Read>
std::optional<Config> ReadPart(ConfigFields& top, const std::string& key, const char* medium,
                               Read read, std::string* error, ModelConfig* config) try {
  const Json* object = top.Find(key);
  if (object == nullptr) return std::nullopt;
  const std::string prefix = key + ".";
  ConfigFields fields(*object, top.place(), prefix);
  Config part = read(fields, prefix);
  RefuseSwitches(fields);
  fields.Ignore(HarmlessFields());
  fields.Ignore(kIgnored);
  fields.RefuseUnknown("a Gemma 4 " + key);
  return part;
} catch (const Error& refused) {
  *error = refused.what();
  config->warnings.push_back(std::string("the model cannot be given ") + medium + ": " + *error);
  return std::nullopt;
}

// An id under either of its two spellings; null and −1 where there is none.
std::int64_t ReadToken(ConfigFields& top, const std::string& name, std::int64_t fallback) {
  std::int64_t token = fallback;
  for (const char* ending : {"_token_id", "_token_index"}) {
    const std::string key = name + ending;
    const Json* value = top.FindOrNull(key);
    if (value == nullptr) continue;
    token = value->is_null() ? -1 : top.RequiredInt(key, 0, kMaxToken);
  }
  return token;
}

}  // namespace

void ReadMediaConfig(ConfigFields& top, ModelConfig* config) {
  const bool unified = config->outer_model_type == "gemma4_unified";
  config->vision_tower = top.Find("vision_config") != nullptr;
  config->audio_tower = top.Find("audio_config") != nullptr;
  config->vision = ReadPart<VisionConfig>(
      top, "vision_config", "images or videos",
      [&](ConfigFields& fields, const std::string& prefix) {
        return unified ? ReadVisionProjection(fields) : ReadVisionTower(fields, prefix);
      },
      &config->vision_error, config);
  config->audio = ReadPart<AudioConfig>(
      top, "audio_config", "sounds",
      [&](ConfigFields& fields, const std::string&) {
        return unified ? ReadAudioProjection(fields) : ReadAudioTower(fields);
      },
      &config->audio_error, config);

  MediaTokens& tokens = config->media_tokens;
  tokens.image = ReadToken(top, "image", 258880);
  tokens.audio = ReadToken(top, "audio", 258881);
  tokens.video = ReadToken(top, "video", 258884);
  tokens.boi = ReadToken(top, "boi", 255999);
  tokens.eoi = ReadToken(top, "eoi", 258882);
  tokens.boa = ReadToken(top, "boa", 256000);
  tokens.eoa = ReadToken(top, "eoa", 258883);
  tokens.vision_soft_tokens = top.Int("vision_soft_tokens_per_image", 280, 1, kMaxSoftTokens);
  tokens.audio_soft_tokens = top.Int("audio_soft_tokens_per_image", 750, 1, kMaxSoftTokens);
  // Of copies made by other tools; the preprocessor's files decide both.
  const std::string_view others[] = {"audio_ms_per_token", "vision_soft_tokens_per_video_frame"};
  top.Ignore(others);
}

}  // namespace culet
