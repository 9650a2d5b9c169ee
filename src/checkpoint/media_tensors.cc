#include "checkpoint/media_tensors.h"

#include <array>
#include <initializer_list>
#include <utility>

namespace culet {
namespace {

// One size of a shape with its name for messages.
struct Size {
  const char* text;
  std::int64_t value;
};

class Tensors {
 public:
  explicit Tensors(const char* part) : part_(part) {}

  void Add(const std::string& name, std::initializer_list<Size> shape, bool optional = false) {
    ExpectedTensor tensor;
    tensor.name = name;
    tensor.part = part_;
    tensor.optional = optional;
    tensor.symbolic_shape.push_back('[');
    for (const Size& size : shape) {
      if (!tensor.shape.empty()) tensor.symbolic_shape += ", ";
      tensor.symbolic_shape += size.text;
      tensor.shape.push_back(size.value);
    }
    tensor.symbolic_shape.push_back(']');
    tensors_.push_back(std::move(tensor));
  }

  // Gemma4ClippableLinear: its bounds stand beside the weight, as numbers without a dimension.
  void AddLinear(const std::string& name, Size outputs, Size inputs, bool clipped) {
    Add(name + ".linear.weight", {outputs, inputs});
    if (!clipped) return;
    for (const char* bound : {"input_min", "input_max", "output_min", "output_max"}) {
      Add(name + "." + bound, {}, true);
    }
  }

  std::vector<ExpectedTensor> Take() { return std::move(tensors_); }

 private:
  const char* part_;
  std::vector<ExpectedTensor> tensors_;
};

std::vector<ExpectedTensor> VisionTower(const VisionConfig& vision, std::int64_t text_hidden) {
  Tensors tensors("vision tower");
  const std::string tower = "vision_tower.";
  const Size hidden = {"vision_config.hidden_size", vision.hidden};
  const Size wide = {"vision_config.intermediate_size", vision.intermediate};
  const Size queries = {"num_attention_heads·head_dim", vision.heads * vision.head_dim};
  const Size keys = {"num_key_value_heads·head_dim", vision.kv_heads * vision.head_dim};
  const Size head_dim = {"head_dim", vision.head_dim};
  const bool clipped = vision.use_clipped_linears;
  tensors.Add(tower + "patch_embedder.input_proj.weight",
              {hidden, {"3·patch_size²", vision.unit_width()}});
  tensors.Add(tower + "patch_embedder.position_embedding_table",
              {{"2", 2}, {"position_embedding_size", vision.position_embedding_size}, hidden});
  for (std::int64_t layer = 0; layer < vision.layers; ++layer) {
    const std::string at = tower + "encoder.layers." + std::to_string(layer) + ".";
    tensors.Add(at + "input_layernorm.weight", {hidden});
    tensors.AddLinear(at + "self_attn.q_proj", queries, hidden, clipped);
    tensors.AddLinear(at + "self_attn.k_proj", keys, hidden, clipped);
    tensors.AddLinear(at + "self_attn.v_proj", keys, hidden, clipped);
    tensors.AddLinear(at + "self_attn.o_proj", hidden, queries, clipped);
    tensors.Add(at + "self_attn.q_norm.weight", {head_dim});
    tensors.Add(at + "self_attn.k_norm.weight", {head_dim});
    tensors.Add(at + "post_attention_layernorm.weight", {hidden});
    tensors.Add(at + "pre_feedforward_layernorm.weight", {hidden});
    tensors.AddLinear(at + "mlp.gate_proj", wide, hidden, clipped);
    tensors.AddLinear(at + "mlp.up_proj", wide, hidden, clipped);
    tensors.AddLinear(at + "mlp.down_proj", hidden, wide, clipped);
    tensors.Add(at + "post_feedforward_layernorm.weight", {hidden});
  }
  if (vision.standardize) {
    tensors.Add(tower + "std_bias", {hidden});
    tensors.Add(tower + "std_scale", {hidden});
  }
  tensors.Add("embed_vision.embedding_projection.weight",
              {{"text_config.hidden_size", text_hidden}, hidden});
  return tensors.Take();
}

std::vector<ExpectedTensor> VisionEmbedder(const VisionConfig& vision, std::int64_t text_hidden) {
  Tensors tensors("vision embedder");
  const Size block = {"3·model_patch_size²", vision.unit_width()};
  const Size width = {"mm_embed_dim", vision.mm_embed_dim};
  const auto norm = [&](const std::string& name, Size size) {
    tensors.Add("vision_embedder." + name + ".weight", {size});
    tensors.Add("vision_embedder." + name + ".bias", {size});
  };
  norm("patch_ln1", block);
  tensors.Add("vision_embedder.patch_dense.weight", {width, block});
  tensors.Add("vision_embedder.patch_dense.bias", {width});
  norm("patch_ln2", width);
  tensors.Add("vision_embedder.pos_embedding",
              {{"mm_posemb_size", vision.mm_posemb_size}, {"2", 2}, width});
  norm("pos_norm", width);
  tensors.Add("embed_vision.embedding_projection.weight",
              {{"text_config.hidden_size", text_hidden}, width});
  return tensors.Take();
}

void AddFeedForward(Tensors* tensors, const std::string& at, Size hidden, bool clipped) {
  const Size wide = {"4·audio_config.hidden_size", 4 * hidden.value};
  tensors->Add(at + "pre_layer_norm.weight", {hidden});
  tensors->AddLinear(at + "ffw_layer_1", wide, hidden, clipped);
  tensors->AddLinear(at + "ffw_layer_2", hidden, wide, clipped);
  tensors->Add(at + "post_layer_norm.weight", {hidden});
}

std::vector<ExpectedTensor> AudioTower(const AudioConfig& audio, std::int64_t text_hidden) {
  Tensors tensors("audio tower");
  const std::string tower = "audio_tower.";
  const Size hidden = {"audio_config.hidden_size", audio.hidden};
  const Size pair = {"2·audio_config.hidden_size", 2 * audio.hidden};
  const Size outputs = {"output_proj_dims", audio.output_proj_dims};
  const Size channels[2] = {{"subsampling_conv_channels[0]", audio.conv_channels[0]},
                            {"subsampling_conv_channels[1]", audio.conv_channels[1]}};
  const Size one = {"1", 1};
  const Size three = {"3", 3};
  const bool clipped = audio.use_clipped_linears;
  const std::string subsample = tower + "subsample_conv_projection.";
  tensors.Add(subsample + "layer0.conv.weight", {channels[0], one, three, three});
  tensors.Add(subsample + "layer0.norm.weight", {channels[0]});
  tensors.Add(subsample + "layer1.conv.weight", {channels[1], channels[0], three, three});
  tensors.Add(subsample + "layer1.norm.weight", {channels[1]});
  tensors.Add(subsample + "input_proj_linear.weight",
              {hidden,
               {"(subsampling_conv_channels[0] div 4)·subsampling_conv_channels[1]",
                audio.subsampled_bins() * audio.conv_channels[1]}});
  for (std::int64_t layer = 0; layer < audio.layers; ++layer) {
    const std::string at = tower + "layers." + std::to_string(layer) + ".";
    AddFeedForward(&tensors, at + "feed_forward1.", hidden, clipped);
    tensors.Add(at + "norm_pre_attn.weight", {hidden});
    for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
      tensors.AddLinear(at + "self_attn." + name, hidden, hidden, clipped);
    }
    tensors.Add(at + "self_attn.per_dim_scale", {{"head_dim", audio.head_dim()}});
    tensors.Add(at + "self_attn.relative_k_proj.weight", {hidden, hidden});
    tensors.AddLinear(at + "self_attn.post", hidden, hidden, clipped);
    tensors.Add(at + "norm_post_attn.weight", {hidden});
    tensors.Add(at + "lconv1d.pre_layer_norm.weight", {hidden});
    tensors.AddLinear(at + "lconv1d.linear_start", pair, hidden, clipped);
    tensors.Add(at + "lconv1d.depthwise_conv1d.weight",
                {hidden, one, {"conv_kernel_size", audio.conv_kernel_size}});
    tensors.Add(at + "lconv1d.conv_norm.weight", {hidden});
    tensors.AddLinear(at + "lconv1d.linear_end", hidden, hidden, clipped);
    AddFeedForward(&tensors, at + "feed_forward2.", hidden, clipped);
    tensors.Add(at + "norm_out.weight", {hidden});
  }
  tensors.Add(tower + "output_proj.weight", {outputs, hidden});
  tensors.Add(tower + "output_proj.bias", {outputs});
  tensors.Add("embed_audio.embedding_projection.weight",
              {{"text_config.hidden_size", text_hidden}, outputs});
  return tensors.Take();
}

std::vector<ExpectedTensor> AudioEmbedder(const AudioConfig& audio, std::int64_t text_hidden) {
  Tensors tensors("audio embedder");
  tensors.Add(
      "embed_audio.embedding_projection.weight",
      {{"text_config.hidden_size", text_hidden}, {"audio_embed_dim", audio.audio_embed_dim}});
  return tensors.Take();
}

constexpr std::array<std::string_view, 3> kVisionPrefixes = {
    "model.vision_tower.", "model.vision_embedder.", "model.embed_vision."};
constexpr std::array<std::string_view, 2> kAudioPrefixes = {"model.audio_tower.",
                                                            "model.embed_audio."};

}  // namespace

std::vector<ExpectedTensor> VisionTensors(const ModelConfig& config) {
  if (!config.vision) return {};
  return config.vision->kind == EncoderKind::kTower ? VisionTower(*config.vision, config.hidden)
                                                    : VisionEmbedder(*config.vision, config.hidden);
}

std::vector<ExpectedTensor> AudioTensors(const ModelConfig& config) {
  if (!config.audio) return {};
  return config.audio->kind == EncoderKind::kTower ? AudioTower(*config.audio, config.hidden)
                                                   : AudioEmbedder(*config.audio, config.hidden);
}

std::span<const std::string_view> VisionPrefixes() { return kVisionPrefixes; }
std::span<const std::string_view> AudioPrefixes() { return kAudioPrefixes; }

std::vector<std::string> MediaTensorNames(const ModelConfig& config,
                                          const std::string& short_name) {
  std::vector<std::string> names = {"model." + short_name};
  if (!config.vision || config.vision->kind != EncoderKind::kProjection) return names;
  const std::string embedder = "vision_embedder.";
  if (short_name.starts_with(embedder)) {
    names.push_back("model.embed_vision." + short_name.substr(embedder.size()));
  } else if (short_name.starts_with("embed_vision.")) {
    names.push_back("model.embed_vision.multimodal_embedder.embedding_projection.weight");
  }
  return names;
}

}  // namespace culet
