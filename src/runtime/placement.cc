#include "runtime/placement.h"

#include <cmath>
#include <string>

#include "base/error.h"

namespace culet {
namespace {

// A fault maps 64 KiB around a row, and from Linux 6.18 on the whole folio of the page cache, often
// half a MiB: 64 rows are 32 MiB then. They stay in the page cache when let go, so coming back
// costs a fault and no read.
constexpr std::int64_t kTouchedRowsKept = 64;

// √width as a model in the table's dtype multiplies by it: rounded to bf16 where the table is bf16
// (transformers Gemma4TextScaledWordEmbedding keeps embed_scale in the weight's dtype).
float EmbeddingScale(std::int64_t width, DType table) {
  const float root = static_cast<float>(std::sqrt(static_cast<double>(width)));
  return table == DType::kBF16 ? RoundToBf16(root) : root;
}

}  // namespace

MappedWeights::MappedWeights(const Checkpoint& checkpoint, ThreadPool& pool)
    : checkpoint_(checkpoint), integers_(checkpoint, TensorUse::kText, pool) {
  const ModelConfig& config = checkpoint.config();
  std::int64_t vector_elements = 0;
  for (const ExpectedTensor& tensor : ExpectedTensors(config)) {
    if (tensor.shape.size() == 1) vector_elements += tensor.shape[0];
  }
  vectors_.reserve(static_cast<std::size_t>(vector_elements));

  const std::string head =
      checkpoint.head_is_embedding() ? "embed_tokens.weight" : "lm_head.weight";
  const std::string embedding =
      checkpoint.has_tensor("embed_tokens.weight") ? "embed_tokens.weight" : "lm_head.weight";
  global_.embedding = AsMatrix(embedding);
  global_.head = checkpoint.has_tensor(head) ? AsMatrix(head) : global_.embedding;
  global_.final_norm = AsVector("norm.weight");
  global_.embedding_scale = EmbeddingScale(config.hidden, global_.embedding.dtype);
  if (config.ple_width > 0) {
    global_.ple_table = AsMatrix("embed_tokens_per_layer.weight");
    global_.ple_projection = AsMatrix("per_layer_model_projection.weight");
    global_.ple_norm = AsVector("per_layer_projection_norm.weight");
    global_.ple_scale = EmbeddingScale(config.ple_width, global_.ple_table.dtype);
    for (const TensorView* table : PleTables()) {
      table->file->RandomAccess(table->file_offset, table->bytes.size());
    }
  }
  for (std::size_t index = 0; index < config.layers.size(); ++index) {
    const LayerConfig& layer = config.layers[index];
    const std::string p = "layers." + std::to_string(index) + ".";
    LayerWeights weights;
    weights.input_norm = AsVector(p + "input_layernorm.weight");
    weights.post_attention_norm = AsVector(p + "post_attention_layernorm.weight");
    weights.pre_feedforward_norm = AsVector(p + "pre_feedforward_layernorm.weight");
    weights.post_feedforward_norm = AsVector(p + "post_feedforward_layernorm.weight");
    weights.scalar = AsVector(p + "layer_scalar")[0];

    AttentionWeights& attention = weights.attention;
    attention.q = AsMatrix(p + "self_attn.q_proj.weight");
    attention.o = AsMatrix(p + "self_attn.o_proj.weight");
    attention.q_norm = AsVector(p + "self_attn.q_norm.weight");
    if (layer.owns_kv) {
      attention.k = AsMatrix(p + "self_attn.k_proj.weight");
      attention.k_norm = AsVector(p + "self_attn.k_norm.weight");
      if (!layer.k_eq_v) attention.v = AsMatrix(p + "self_attn.v_proj.weight");
    }
    weights.mlp.gate = AsMatrix(p + "mlp.gate_proj.weight");
    weights.mlp.up = AsMatrix(p + "mlp.up_proj.weight");
    weights.mlp.down = AsMatrix(p + "mlp.down_proj.weight");
    if (config.experts > 0) {
      weights.moe.router = AsMatrix(p + "router.proj.weight");
      weights.moe.router_scale = AsVector(p + "router.scale");
      weights.moe.expert_scale = AsVector(p + "router.per_expert_scale");
      weights.moe.gate_up = AsMatrix(p + "experts.gate_up_proj");
      weights.moe.down = AsMatrix(p + "experts.down_proj");
      weights.moe.post_norm_1 = AsVector(p + "post_feedforward_layernorm_1.weight");
      weights.moe.pre_norm_2 = AsVector(p + "pre_feedforward_layernorm_2.weight");
      weights.moe.post_norm_2 = AsVector(p + "post_feedforward_layernorm_2.weight");
    }
    if (config.ple_width > 0) {
      weights.ple.gate = AsMatrix(p + "per_layer_input_gate.weight");
      weights.ple.projection = AsMatrix(p + "per_layer_projection.weight");
      weights.ple.post_norm = AsVector(p + "post_per_layer_input_norm.weight");
    }
    layers_.push_back(weights);
  }
}

// A tensor of three dimensions becomes the matrix of all its rows: [E, 2·M, H] → [E·2·M, H].
Matrix MappedWeights::AsMatrix(const std::string& name) const {
  const TensorView& tensor = checkpoint_.tensor(name);
  if (checkpoint_.quantized(name) != nullptr) return integers_.matrix(name);
  const std::int64_t cols = tensor.shape.back();
  return {tensor.dtype, tensor.bytes.data(), tensor.elements() / cols, cols};
}

Vector MappedWeights::AsVector(const std::string& name) {
  const TensorView& tensor = checkpoint_.tensor(name);
  const std::int64_t count = tensor.elements();
  const std::size_t begin = vectors_.size();
  CULET_DCHECK(begin + static_cast<std::size_t>(count) <= vectors_.capacity());
  for (std::int64_t index = 0; index < count; ++index) {
    vectors_.push_back(
        ElementAsF32(tensor.dtype, tensor.bytes.data(), static_cast<std::size_t>(index)));
  }
  return Vector(vectors_.data() + begin, static_cast<std::size_t>(count));
}

std::vector<const TensorView*> MappedWeights::PleTables() const {
  const std::string name = "embed_tokens_per_layer.weight";
  std::vector<const TensorView*> tables = {&checkpoint_.tensor(name)};
  const QuantizedTensor* integers = checkpoint_.quantized(name);
  // One scale for all, or what is repacked, is no table of the file.
  if (integers != nullptr && !integers->repacks_scales()) tables.push_back(&integers->scales);
  return tables;
}

void MappedWeights::PrefetchRows(std::span<const std::int32_t> tokens) {
  if (global_.ple_table.data == nullptr) return;
  for (const TensorView* table : PleTables()) {
    const std::uint64_t row_bytes =
        table->bytes.size() / static_cast<std::uint64_t>(table->shape[0]);
    for (const std::int32_t token : tokens) {
      table->file->WillNeed(table->file_offset + static_cast<std::uint64_t>(token) * row_bytes,
                            row_bytes);
    }
  }
}

void MappedWeights::PleRowsWereRead(std::int64_t count) {
  touched_rows_ += count;
  if (touched_rows_ < kTouchedRowsKept) return;
  for (const TensorView* table : PleTables()) {
    table->file->DontNeed(table->file_offset, table->bytes.size());
  }
  touched_rows_ = 0;
}

}  // namespace culet
