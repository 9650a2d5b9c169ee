#include "runtime/media_encoders.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace culet {
namespace {

std::uint64_t BytesOf(const SoftBlock& block) {
  return static_cast<std::uint64_t>(block.count() * block.hidden()) * sizeof(float);
}

// Pictures that go through the tower together, in units: the products of a few small ones are as
// wide as those of a large one, and more would only cost memory.
constexpr std::int64_t kUnitsTogether = 2520;

// Rows of the encoder's operand that a sound of 30 s has.
std::int64_t MostSoundRows(const AudioConfig& audio) {
  return audio.kind == EncoderKind::kTower ? 3000 : 750;
}

}  // namespace

MediaEncoders::MediaEncoders(const Checkpoint& checkpoint, int threads, CpuLevel level)
    : checkpoint_(checkpoint), config_(checkpoint.config()), threads_(threads), level_(level) {}

std::uint64_t MediaEncoders::PlannedBytes(const Checkpoint& checkpoint, std::int64_t image_tokens,
                                          int threads) {
  const ModelConfig& config = checkpoint.config();
  std::uint64_t vision = 0, audio = 0;
  if (checkpoint.vision_error().empty()) {
    const std::int64_t units = image_tokens * config.vision->units_per_token();
    vision = VisionEncoder::ActivationBytes(config, units) +
             VisionEncoder::ScratchBytes(config, units, threads);
  }
  if (checkpoint.audio_error().empty()) {
    const std::int64_t rows = MostSoundRows(*config.audio);
    audio = AudioEncoder::ActivationBytes(config, rows) +
            AudioEncoder::ScratchBytes(config, rows, threads);
  }
  return vision + audio == 0 ? 0 : vision + audio + kKeptBytes;
}

std::uint64_t MediaEncoders::allocated_bytes() {
  const std::lock_guard lock(mutex_);
  std::uint64_t bytes = kept_bytes_;
  if (weights_) bytes += weights_->bytes() + context_->scratch_bytes();
  if (vision_) bytes += VisionEncoder::ActivationBytes(config_, vision_units_);
  if (audio_) bytes += AudioEncoder::ActivationBytes(config_, audio_rows_);
  return bytes;
}

std::shared_ptr<const SoftBlock> MediaEncoders::Find(const std::string& key) {
  const auto kept = index_.find(key);
  if (kept != index_.end()) {
    kept_.splice(kept_.begin(), kept_, kept->second);
    return kept->second->block;
  }
  const auto living = living_.find(key);
  if (living == living_.end()) return nullptr;
  std::shared_ptr<const SoftBlock> block = living->second.lock();
  if (block) Keep(key, block);
  return block;
}

void MediaEncoders::Keep(const std::string& key, std::shared_ptr<const SoftBlock> block) {
  std::erase_if(living_, [](const auto& entry) { return entry.second.expired(); });
  living_[key] = block;
  kept_bytes_ += BytesOf(*block);
  kept_.push_front({key, std::move(block)});
  index_[key] = kept_.begin();
  while (kept_bytes_ > kKeptBytes && kept_.size() > 1) {
    kept_bytes_ -= BytesOf(*kept_.back().block);
    index_.erase(kept_.back().key);
    kept_.pop_back();
  }
}

void MediaEncoders::NeedEncoder(const SoftInput& input) const {
  const std::string& error = input.visual ? checkpoint_.vision_error() : checkpoint_.audio_error();
  if (!error.empty()) throw Error(ErrorKind::kUnsupported, input.name + ": " + error);
}

SoftBlocks MediaEncoders::Encode(std::span<const SoftInput> inputs) {
  for (const SoftInput& input : inputs) NeedEncoder(input);
  const std::lock_guard lock(mutex_);
  SoftBlocks blocks(inputs.size());
  std::vector<std::size_t> pictures;  // that go through the tower together
  std::int64_t units = 0;
  const auto encode_pictures = [&] {
    EncodePictures(inputs, pictures, &blocks);
    pictures.clear();
    units = 0;
  };
  for (std::size_t index = 0; index < inputs.size(); ++index) {
    const SoftInput& input = inputs[index];
    blocks[index] = Find(input.key);
    if (blocks[index]) continue;
    if (!input.visual) {
      const View<const float, 2> soft = RunAudio(input);
      blocks[index] = std::make_shared<const SoftBlock>(
          std::vector<float>(soft.data(), soft.data() + soft.extent(0) * soft.extent(1)),
          soft.extent(1), input.placeholder, false);
      Keep(input.key, blocks[index]);
      continue;
    }
    if (!pictures.empty() && units + input.grid.units() > kUnitsTogether) encode_pictures();
    pictures.push_back(index);
    units += input.grid.units();
  }
  encode_pictures();
  return blocks;
}

void MediaEncoders::EncodePictures(std::span<const SoftInput> inputs,
                                   std::span<const std::size_t> which, SoftBlocks* blocks) {
  if (which.empty()) return;
  std::vector<const SoftInput*> pictures;
  for (const std::size_t index : which) pictures.push_back(&inputs[index]);
  const View<const float, 2> soft = RunVision(pictures);
  const float* row = soft.data();
  for (const std::size_t index : which) {
    const SoftInput& input = inputs[index];
    const std::int64_t values =
        input.grid.units() / config_.vision->units_per_token() * soft.extent(1);
    // A picture that stands twice in the prompt is one.
    (*blocks)[index] = Find(input.key);
    if (!(*blocks)[index]) {
      (*blocks)[index] = std::make_shared<const SoftBlock>(std::vector<float>(row, row + values),
                                                           soft.extent(1), input.placeholder, true);
      Keep(input.key, (*blocks)[index]);
    }
    row += values;
  }
}

View<const float, 2> MediaEncoders::RunVision(std::span<const SoftInput* const> inputs) {
  std::vector<ImageGrid> grids;
  std::int64_t units = 0;
  for (const SoftInput* input : inputs) {
    grids.push_back(input->grid);
    units += input->grid.units();
  }
  if (!weights_) weights_ = std::make_unique<MappedMediaWeights>(checkpoint_);
  if (!context_) context_ = std::make_unique<Context>(threads_, level_);
  if (!vision_ || vision_units_ < units) {
    vision_.reset();  // first, so that both are never there at once
    vision_ = VisionEncoder::Make(config_, *weights_->vision(), units);
    vision_units_ = units;
    context_->Scratch(VisionEncoder::ScratchBytes(config_, units, threads_));
  }
  const std::int64_t width = config_.vision->unit_width();
  std::vector<float> rows;
  rows.reserve(static_cast<std::size_t>(units * width));
  for (const SoftInput* input : inputs) {
    const std::vector<float> own = input->rows();
    CULET_DCHECK(static_cast<std::int64_t>(own.size()) == input->grid.units() * width);
    rows.insert(rows.end(), own.begin(), own.end());
  }
  return vision_->Forward(*context_, View<const float, 2>(rows.data(), {units, width}), grids);
}

View<const float, 2> MediaEncoders::RunAudio(const SoftInput& input) {
  const std::vector<float> rows = input.rows();
  const std::int64_t count = static_cast<std::int64_t>(rows.size()) / input.sound_width;
  if (!weights_) weights_ = std::make_unique<MappedMediaWeights>(checkpoint_);
  if (!context_) context_ = std::make_unique<Context>(threads_, level_);
  if (!audio_ || audio_rows_ < count) {
    audio_.reset();
    audio_ = AudioEncoder::Make(config_, *weights_->audio(), count);
    audio_rows_ = count;
    context_->Scratch(AudioEncoder::ScratchBytes(config_, count, threads_));
  }
  return audio_->Forward(*context_, View<const float, 2>(rows.data(), {count, input.sound_width}));
}

MediaEncoders::States MediaEncoders::EncodeOne(const SoftInput& input) {
  NeedEncoder(input);
  const std::lock_guard lock(mutex_);
  if (!input.visual) {
    const View<const float, 2> soft = RunAudio(input);
    return {audio_->states(), soft};
  }
  const SoftInput* one = &input;
  const View<const float, 2> soft = RunVision(std::span(&one, 1));
  return {vision_->states(), soft};
}

}  // namespace culet
