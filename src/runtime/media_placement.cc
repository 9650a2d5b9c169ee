#include "runtime/media_placement.h"

#include "base/error.h"
#include "checkpoint/media_tensors.h"

namespace culet {

MappedMediaWeights::MappedMediaWeights(const Checkpoint& checkpoint, ThreadPool& pool)
    : checkpoint_(checkpoint),
      integers_(checkpoint, TensorUse::kMedia, pool),
      has_vision_(checkpoint.vision_error().empty()),
      has_audio_(checkpoint.audio_error().empty()) {
  const ModelConfig& config = checkpoint.config();
  vectors_.reserve(VectorBytes(checkpoint) / sizeof(float));
  if (has_vision_) {
    vision_.embed = AsMatrix("embed_vision.embedding_projection.weight");
    if (config.vision->kind == EncoderKind::kTower) {
      PlaceVisionTower(*config.vision);
    } else {
      PlaceVisionProjection();
    }
  }
  if (has_audio_) {
    audio_.embed = AsMatrix("embed_audio.embedding_projection.weight");
    if (config.audio->kind == EncoderKind::kTower) PlaceAudioTower(*config.audio);
  }
}

std::uint64_t MappedMediaWeights::PlannedBytes(const Checkpoint& checkpoint) {
  return VectorBytes(checkpoint) + checkpoint.repacked_bytes(TensorUse::kMedia);
}

std::uint64_t MappedMediaWeights::VectorBytes(const Checkpoint& checkpoint) {
  const ModelConfig& config = checkpoint.config();
  std::int64_t elements = 0;
  for (const auto& tensors : {VisionTensors(config), AudioTensors(config)}) {
    for (const ExpectedTensor& tensor : tensors) {
      // Bounds are kept apart; of what has more dimensions only the depthwise taps are no matrix.
      const bool taps = tensor.name.ends_with("depthwise_conv1d.weight");
      if (tensor.shape.size() == 1 || taps) {
        elements += tensor.shape[0] * (taps ? tensor.shape[2] : 1);
      }
    }
  }
  return static_cast<std::uint64_t>(elements) * sizeof(float);
}

void MappedMediaWeights::PlaceVisionTower(const VisionConfig& vision) {
  const std::string tower = "vision_tower.";
  vision_.input = AsMatrix(tower + "patch_embedder.input_proj.weight");
  vision_.positions = AsMatrix(tower + "patch_embedder.position_embedding_table");
  if (vision.standardize) {
    vision_.std_bias = AsVector(tower + "std_bias");
    vision_.std_scale = AsVector(tower + "std_scale");
  }
  for (std::int64_t index = 0; index < vision.layers; ++index) {
    const std::string at = tower + "encoder.layers." + std::to_string(index) + ".";
    VisionLayerWeights layer;
    layer.input_norm = AsVector(at + "input_layernorm.weight");
    layer.post_attention_norm = AsVector(at + "post_attention_layernorm.weight");
    layer.pre_feedforward_norm = AsVector(at + "pre_feedforward_layernorm.weight");
    layer.post_feedforward_norm = AsVector(at + "post_feedforward_layernorm.weight");
    layer.q = AsLinear(at + "self_attn.q_proj");
    layer.k = AsLinear(at + "self_attn.k_proj");
    layer.v = AsLinear(at + "self_attn.v_proj");
    layer.o = AsLinear(at + "self_attn.o_proj");
    layer.q_norm = AsVector(at + "self_attn.q_norm.weight");
    layer.k_norm = AsVector(at + "self_attn.k_norm.weight");
    layer.gate = AsLinear(at + "mlp.gate_proj");
    layer.up = AsLinear(at + "mlp.up_proj");
    layer.down = AsLinear(at + "mlp.down_proj");
    vision_.layers.push_back(layer);
  }
}

void MappedMediaWeights::PlaceVisionProjection() {
  const std::string embedder = "vision_embedder.";
  vision_.block_norm = AsLayerNorm(embedder + "patch_ln1");
  vision_.dense = AsMatrix(embedder + "patch_dense.weight");
  vision_.dense_bias = AsVector(embedder + "patch_dense.bias");
  vision_.dense_norm = AsLayerNorm(embedder + "patch_ln2");
  vision_.block_positions = AsMatrix(embedder + "pos_embedding");
  vision_.position_norm = AsLayerNorm(embedder + "pos_norm");
}

void MappedMediaWeights::PlaceAudioTower(const AudioConfig& audio) {
  const std::string tower = "audio_tower.";
  const std::string subsample = tower + "subsample_conv_projection.";
  audio_.conv[0] = AsMatrix(subsample + "layer0.conv.weight", 9);
  audio_.conv[1] = AsMatrix(subsample + "layer1.conv.weight", audio.conv_channels[0] * 9);
  audio_.conv_norm[0] = AsVector(subsample + "layer0.norm.weight");
  audio_.conv_norm[1] = AsVector(subsample + "layer1.norm.weight");
  audio_.input = AsMatrix(subsample + "input_proj_linear.weight");
  audio_.output = AsMatrix(tower + "output_proj.weight");
  audio_.output_bias = AsVector(tower + "output_proj.bias");
  for (std::int64_t index = 0; index < audio.layers; ++index) {
    const std::string at = tower + "layers." + std::to_string(index) + ".";
    AudioLayerWeights layer;
    layer.feed_forward1 = AsFeedForward(at + "feed_forward1.");
    layer.feed_forward2 = AsFeedForward(at + "feed_forward2.");
    layer.pre_attention_norm = AsVector(at + "norm_pre_attn.weight");
    layer.post_attention_norm = AsVector(at + "norm_post_attn.weight");
    layer.q = AsLinear(at + "self_attn.q_proj");
    layer.k = AsLinear(at + "self_attn.k_proj");
    layer.v = AsLinear(at + "self_attn.v_proj");
    layer.post = AsLinear(at + "self_attn.post");
    layer.relative_k = AsMatrix(at + "self_attn.relative_k_proj.weight");
    layer.per_dim_scale = AsVector(at + "self_attn.per_dim_scale");
    layer.conv_pre_norm = AsVector(at + "lconv1d.pre_layer_norm.weight");
    layer.conv_norm = AsVector(at + "lconv1d.conv_norm.weight");
    layer.conv_start = AsLinear(at + "lconv1d.linear_start");
    layer.conv_end = AsLinear(at + "lconv1d.linear_end");
    layer.depthwise = AsVector(at + "lconv1d.depthwise_conv1d.weight");
    layer.out_norm = AsVector(at + "norm_out.weight");
    audio_.layers.push_back(layer);
  }
}

Matrix MappedMediaWeights::AsMatrix(const std::string& name) const {
  if (checkpoint_.quantized(name) != nullptr) return integers_.matrix(name);
  return AsMatrix(name, checkpoint_.tensor(name).shape.back());
}

Matrix MappedMediaWeights::AsMatrix(const std::string& name, std::int64_t cols) const {
  const TensorView& tensor = checkpoint_.tensor(name);
  return {tensor.dtype, tensor.bytes.data(), tensor.elements() / cols, cols};
}

Vector MappedMediaWeights::AsVector(const std::string& name) {
  const TensorView& tensor = checkpoint_.tensor(name);
  const auto count = static_cast<std::size_t>(tensor.elements());
  const std::size_t begin = vectors_.size();
  CULET_DCHECK(begin + count <= vectors_.capacity());
  for (std::size_t index = 0; index < count; ++index) {
    vectors_.push_back(ElementAsF32(tensor.dtype, tensor.bytes.data(), index));
  }
  return Vector(vectors_.data() + begin, count);
}

ClippedLinear MappedMediaWeights::AsLinear(const std::string& name) const {
  ClippedLinear linear;
  linear.w = AsMatrix(name + ".linear.weight");
  const auto read = [&](const char* bound, float* value) {
    const std::string full = name + "." + bound;
    if (!checkpoint_.has_tensor(full)) return;
    const TensorView& tensor = checkpoint_.tensor(full);
    *value = ElementAsF32(tensor.dtype, tensor.bytes.data(), 0);
  };
  read("input_min", &linear.input_min);
  read("input_max", &linear.input_max);
  read("output_min", &linear.output_min);
  read("output_max", &linear.output_max);
  return linear;
}

LayerNormWeights MappedMediaWeights::AsLayerNorm(const std::string& name) {
  return {AsVector(name + ".weight"), AsVector(name + ".bias")};
}

AudioFeedForwardWeights MappedMediaWeights::AsFeedForward(const std::string& name) {
  return {AsVector(name + "pre_layer_norm.weight"), AsVector(name + "post_layer_norm.weight"),
          AsLinear(name + "ffw_layer_1"), AsLinear(name + "ffw_layer_2")};
}

}  // namespace culet
