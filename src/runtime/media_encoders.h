// The encoders of a model's media beside its engine: with memory and threads of their own, which
// have low priority, so that a picture in one request holds up nobody's tokens, and with what they
// made last, so that the next turn of a chat, or another caller with the same picture, computes
// nothing.
//
// Threads: any number of callers; one encodes at a time.
#pragma once

#include <condition_variable>
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
  ImageGrid grid;                // of a picture
  std::int64_t sound_width = 0;  // of a sound: values of a frame or block
  std::int64_t sound_rows = 0;   // and how many of them
  // The encoder's operand: patches or blocks of a picture, frames or blocks of a sound. Called only
  // where they are needed.
  std::function<std::vector<float>()> rows;
};

// Told how many multiply-adds of an encoding are done, on the caller's thread, between layers and
// while it waits for another's; false ends it.
using EncodeProgress = std::function<bool(std::uint64_t done, std::uint64_t total)>;

// Thrown where an EncodeProgress ended an encoding.
struct EncodingStopped {};

class MediaEncoders {
 public:
  // Keeps a reference to the checkpoint. Nothing is allocated before the first medium comes.
  MediaEncoders(const Checkpoint& checkpoint, int threads, CpuLevel level);
  ~MediaEncoders();

  // The soft tokens of each input, in order. Throws Error: kUnsupported where the checkpoint lacks
  // the encoder, kInvalidArgument (grids, see VisionEncoder), kResource (memory); EncodingStopped.
  // What is done by then is kept.
  SoftBlocks Encode(std::span<const SoftInput> inputs, const EncodeProgress& progress = {});

  // What the encoder had before its output was projected to the text model, and the soft tokens;
  // each valid until the next call; for looking at what it does. Of one sound, or of pictures in
  // one pass, none of them taken from what is kept. `tap` sees the states between layers.
  struct States {
    View<const float, 2> states;  // [patches, blocks or steps, width]
    View<const float, 2> soft;    // [tokens, hidden]
  };
  States EncodeAnew(std::span<const SoftInput> inputs, const EncoderTap& tap = {});
  // How many of these pictures, from the first on, Encode takes through the tower together.
  static std::size_t Together(std::span<const SoftInput> pictures);

  // What the encoders' threads do at most, for weights like theirs; see MeasurePeakGflops. Not
  // while another encodes.
  double PeakGflops();

  // Held now for weights, activations and soft tokens.
  std::uint64_t allocated_bytes();
  // Bytes that stay allocated once a picture of `image_tokens`, a video and 60 s of sound were
  // encoded, soft tokens included; and what encoding needs besides while it goes on.
  struct Plan {
    std::uint64_t kept_bytes = 0;
    std::uint64_t passing_bytes = 0;
  };
  static Plan PlanMemory(const Checkpoint& checkpoint, std::int64_t image_tokens, int threads);

  // Soft tokens that are kept beyond their use.
  static constexpr std::uint64_t kKeptBytes = std::uint64_t{64} << 20;

 private:
  struct Kept {
    std::string key;
    std::shared_ptr<const SoftBlock> block;
  };

  class Turn;
  class Progress;

  std::shared_ptr<const SoftBlock> Find(const std::string& key);
  void Keep(const std::string& key, std::shared_ptr<const SoftBlock> block);
  View<const float, 2> RunVision(std::span<const SoftInput> pictures, const EncoderTap& tap);
  View<const float, 2> RunAudio(const SoftInput& input, const EncoderTap& tap);
  void Prepare();  // what both need
  void CheckInput(const SoftInput& input) const;
  std::uint64_t WorkOf(const SoftInput& input) const;

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  const int threads_;
  const CpuLevel level_;

  std::mutex mutex_;  // guards busy_; the rest is whose turn it is
  std::condition_variable free_;
  bool busy_ = false;
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
