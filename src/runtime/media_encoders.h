// The encoders of a model's media beside its engine: with memory and threads of their own, so that
// a picture in one request holds up nobody's tokens, and with what they made last, so that the next
// turn of a chat, or another caller with the same picture, computes nothing.
//
// Threads: any number of callers; one encodes at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/media_encoder.h"
#include "ops/context.h"
#include "runtime/media_placement.h"
#include "runtime/soft_tokens.h"

namespace culet {

// A picture or a sound that becomes soft tokens.
struct SoftInput {
  std::string name;  // for messages
  std::string key;   // equal keys: equal soft tokens
  bool visual = false;
  std::int32_t placeholder = 0;
  ImageGrid grid;            // of a picture
  std::int64_t sound_width;  // of a sound: values of a frame or block
  // The encoder's operand: patches or blocks of a picture, frames or blocks of a sound. Called only
  // where they are needed.
  std::function<std::vector<float>()> rows;
};

class MediaEncoders {
 public:
  // Keeps a reference to the checkpoint. Nothing is allocated before the first medium comes.
  MediaEncoders(const Checkpoint& checkpoint, int threads, CpuLevel level);

  // The soft tokens of each input, in order. Throws Error: kUnsupported where the checkpoint lacks
  // the encoder, kInvalidArgument (grids, see VisionEncoder), kResource (memory).
  SoftBlocks Encode(std::span<const SoftInput> inputs);

  // What the encoder had before its output was projected to the text model, and the soft tokens;
  // each valid until the next call. Of one input. For looking at what it does.
  struct States {
    View<const float, 2> states;  // [patches, blocks or steps, width]
    View<const float, 2> soft;    // [tokens, hidden]
  };
  States EncodeOne(const SoftInput& input);

  // Held now for weights, activations and soft tokens.
  std::uint64_t allocated_bytes();
  // Bytes that encoding one picture of `image_tokens`, or a sound of 30 s, needs at once.
  static std::uint64_t PlannedBytes(const Checkpoint& checkpoint, std::int64_t image_tokens,
                                    int threads);

  // Soft tokens that are kept beyond their use.
  static constexpr std::uint64_t kKeptBytes = std::uint64_t{64} << 20;

 private:
  struct Kept {
    std::string key;
    std::shared_ptr<const SoftBlock> block;
  };

  std::shared_ptr<const SoftBlock> Find(const std::string& key);
  void Keep(const std::string& key, std::shared_ptr<const SoftBlock> block);
  // Those of `inputs` that `which` names, into their places of `blocks`.
  void EncodePictures(std::span<const SoftInput> inputs, std::span<const std::size_t> which,
                      SoftBlocks* blocks);
  View<const float, 2> RunVision(std::span<const SoftInput* const> inputs);
  View<const float, 2> RunAudio(const SoftInput& input);
  void NeedEncoder(const SoftInput& input) const;

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  const int threads_;
  const CpuLevel level_;

  std::mutex mutex_;  // guards what follows
  std::unique_ptr<MappedMediaWeights> weights_;
  std::unique_ptr<Context> context_;
  std::unique_ptr<VisionEncoder> vision_;
  std::unique_ptr<AudioEncoder> audio_;
  std::int64_t vision_units_ = 0, audio_rows_ = 0;  // that the encoders are made for
  std::list<Kept> kept_;                            // used last in front
  std::unordered_map<std::string, std::list<Kept>::iterator> index_;
  // Of blocks that are not kept any more but live in a sequence or a request.
  std::unordered_map<std::string, std::weak_ptr<const SoftBlock>> living_;
  std::uint64_t kept_bytes_ = 0;
};

}  // namespace culet
