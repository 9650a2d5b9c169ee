#include "runtime/media_encoders.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/error.h"
#include "ops/machine_limits.h"

namespace culet {
namespace {

std::uint64_t BytesOf(const SoftBlock& block) {
  return static_cast<std::uint64_t>(block.count() * block.hidden()) * sizeof(float);
}

// Pictures that go through the tower together, in units: the products of a few small ones are as
// wide as those of a large one, and more would only cost memory.
constexpr std::int64_t kUnitsTogether = 2520;

// Rows of the audio encoder's operand: mel frames of 30 s, of which a longer sound is made; sample
// blocks of 60 s.
constexpr std::int64_t kMostMelFrames = 3000;
constexpr std::int64_t kMostSampleBlocks = 1500;

// How long who waits for another's encoding sleeps between two looks at whether he still wants to.
constexpr std::chrono::milliseconds kLookEvery{20};

}  // namespace

// One encodes at a time.
class MediaEncoders::Turn {
 public:
  // `waiting` is called until it is this caller's turn; it may throw.
  Turn(MediaEncoders& owner, const std::function<void()>& waiting) : owner_(owner) {
    std::unique_lock lock(owner_.mutex_);
    while (!owner_.free_.wait_for(lock, kLookEvery, [&] { return !owner_.busy_; })) {
      lock.unlock();
      waiting();
      lock.lock();
    }
    owner_.busy_ = true;
  }
  ~Turn() {
    {
      const std::lock_guard lock(owner_.mutex_);
      owner_.busy_ = false;
    }
    owner_.free_.notify_one();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  MediaEncoders& owner_;
};

// What is done of an encoding, in multiply-adds. Throws EncodingStopped where the caller says so.
class MediaEncoders::Progress {
 public:
  Progress(const EncodeProgress& tell, std::uint64_t total) : tell_(tell), total_(total) {}

  void SetTotal(std::uint64_t total) { total_ = total; }
  void Tell() const {
    if (tell_ && !tell_(done_, total_)) throw EncodingStopped();
  }
  // For an encoder that does so much in so many layers.
  EncoderTap Tap(std::uint64_t work, std::int64_t layers) {
    if (!tell_) return {};
    const auto all = static_cast<std::uint64_t>(std::max<std::int64_t>(1, layers));
    return [this, share = work / all, before = done_](int layer, View<const float, 2>) {
      done_ = before + share * static_cast<std::uint64_t>(layer);
      Tell();
    };
  }
  // The encoder is done with it.
  void Did(std::uint64_t work) {
    did_ += work;
    done_ = did_;
    Tell();
  }

 private:
  const EncodeProgress& tell_;
  std::uint64_t total_;
  std::uint64_t done_ = 0;  // with layers of what is being encoded
  std::uint64_t did_ = 0;
};

MediaEncoders::MediaEncoders(const Checkpoint& checkpoint, int threads, CpuLevel level)
    : checkpoint_(checkpoint), config_(checkpoint.config()), threads_(threads), level_(level) {}

MediaEncoders::~MediaEncoders() = default;

MediaEncoders::Plan MediaEncoders::PlanMemory(const Checkpoint& checkpoint,
                                              std::int64_t image_tokens, int threads) {
  const ModelConfig& config = checkpoint.config();
  Plan plan;
  std::uint64_t scratch = 0;
  const auto add = [&](std::size_t activations, std::size_t for_ops, std::int64_t operand) {
    plan.kept_bytes += activations;
    scratch = std::max<std::uint64_t>(scratch, for_ops);
    plan.passing_bytes =
        std::max(plan.passing_bytes, static_cast<std::uint64_t>(operand) * sizeof(float));
  };
  if (checkpoint.vision_error().empty()) {
    const std::int64_t units =
        std::max(image_tokens * config.vision->units_per_token(), kUnitsTogether);
    add(VisionEncoder::ActivationBytes(config, units),
        VisionEncoder::ScratchBytes(config, units, threads), units * config.vision->unit_width());
  }
  if (checkpoint.audio_error().empty()) {
    const bool tower = config.audio->kind == EncoderKind::kTower;
    const std::int64_t rows = tower ? kMostMelFrames : kMostSampleBlocks;
    add(AudioEncoder::ActivationBytes(config, rows),
        AudioEncoder::ScratchBytes(config, rows, threads),
        rows * (tower ? config.audio->mel_bins() : config.audio->audio_embed_dim));
  }
  if (plan.kept_bytes > 0) {
    plan.kept_bytes += scratch + kKeptBytes + MappedMediaWeights::PlannedBytes(checkpoint);
  }
  return plan;
}

std::uint64_t MediaEncoders::allocated_bytes() {
  const Turn turn(*this, [] {});
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

void MediaEncoders::CheckInput(const SoftInput& input) const {
  const std::string& error = input.visual ? checkpoint_.vision_error() : checkpoint_.audio_error();
  if (!error.empty()) throw Error(ErrorKind::kUnsupported, input.name + ": " + error);
  if (input.visual) VisionEncoder::CheckGrid(config_, input.grid, input.name);
}

std::uint64_t MediaEncoders::WorkOf(const SoftInput& input) const {
  return input.visual ? VisionEncoder::Work(config_, input.grid).all()
                      : AudioEncoder::Products(config_, input.sound_rows);
}

std::size_t MediaEncoders::Together(std::span<const SoftInput> pictures) {
  std::size_t count = 0;
  std::int64_t units = 0;
  while (count < pictures.size() && pictures[count].visual) {
    units += pictures[count].grid.units();
    if (count > 0 && units > kUnitsTogether) break;
    ++count;
  }
  return count;
}

SoftBlocks MediaEncoders::Encode(std::span<const SoftInput> inputs, const EncodeProgress& tell) {
  std::uint64_t all = 0;
  for (const SoftInput& input : inputs) {
    CheckInput(input);
    all += WorkOf(input);
  }
  Progress progress(tell, all);
  const Turn turn(*this, [&] { progress.Tell(); });
  SoftBlocks blocks(inputs.size());
  std::vector<SoftInput> wanted;  // that are not known yet, each once, pictures first
  all = 0;
  for (std::size_t index = 0; index < inputs.size(); ++index) {
    const SoftInput& input = inputs[index];
    blocks[index] = Find(input.key);
    if (blocks[index] || std::ranges::count(wanted, input.key, &SoftInput::key) > 0) continue;
    wanted.push_back(input);
    all += WorkOf(input);
  }
  std::ranges::stable_partition(wanted, &SoftInput::visual);
  progress.SetTotal(all);
  SoftBlocks made;  // so that none goes before all are there
  for (std::span<const SoftInput> left = wanted; !left.empty();) {
    const std::size_t count = left.front().visual ? Together(left) : 1;
    const auto now = left.first(count);
    std::uint64_t work = 0;
    for (const SoftInput& input : now) work += WorkOf(input);
    progress.Tell();
    const View<const float, 2> soft =
        now.front().visual
            ? RunVision(now, progress.Tap(work, VisionEncoder::Layers(config_)))
            : RunAudio(now.front(), progress.Tap(work, AudioEncoder::Layers(config_)));
    std::int64_t row = 0;
    for (const SoftInput& input : now) {
      const std::int64_t rows =
          input.visual ? input.grid.units() / config_.vision->units_per_token() : soft.extent(0);
      const float* begin = soft.row(row);
      made.push_back(std::make_shared<const SoftBlock>(
          std::vector<float>(begin, begin + rows * soft.extent(1)), soft.extent(1),
          input.placeholder, input.visual));
      Keep(input.key, made.back());
      row += rows;
    }
    left = left.subspan(count);
    progress.Did(work);
  }
  for (std::size_t index = 0; index < inputs.size(); ++index) {
    if (!blocks[index]) blocks[index] = Find(inputs[index].key);
  }
  return blocks;
}

void MediaEncoders::Prepare() {
  if (!context_) context_ = std::make_unique<Context>(threads_, level_, ThreadPriority::kLow);
  if (!weights_) weights_ = std::make_unique<MappedMediaWeights>(checkpoint_, context_->pool());
}

double MediaEncoders::PeakGflops() {
  const Turn turn(*this, [] {});
  Prepare();
  return MeasurePeakGflops(*context_, checkpoint_.main_dtype());
}

View<const float, 2> MediaEncoders::RunVision(std::span<const SoftInput> pictures,
                                              const EncoderTap& tap) {
  std::vector<ImageGrid> grids;
  std::int64_t units = 0;
  for (const SoftInput& picture : pictures) {
    grids.push_back(picture.grid);
    units += picture.grid.units();
  }
  Prepare();
  if (!vision_ || vision_units_ < units) {
    vision_.reset();  // first, so that both are never there at once
    vision_ = VisionEncoder::Make(config_, *weights_->vision(), units);
    vision_units_ = units;
    context_->Scratch(VisionEncoder::ScratchBytes(config_, units, threads_));
  }
  const std::int64_t width = config_.vision->unit_width();
  std::vector<float> rows = pictures.front().rows();
  for (const SoftInput& picture : pictures.subspan(1)) {
    const std::vector<float> own = picture.rows();
    rows.insert(rows.end(), own.begin(), own.end());
  }
  CULET_DCHECK(static_cast<std::int64_t>(rows.size()) == units * width);
  return vision_->Forward(*context_, View<const float, 2>(rows.data(), {units, width}), grids, tap);
}

View<const float, 2> MediaEncoders::RunAudio(const SoftInput& input, const EncoderTap& tap) {
  const std::int64_t count = input.sound_rows;
  Prepare();
  if (!audio_ || audio_rows_ < count) {
    audio_.reset();
    audio_ = AudioEncoder::Make(config_, *weights_->audio(), count);
    audio_rows_ = count;
    context_->Scratch(AudioEncoder::ScratchBytes(config_, count, threads_));
  }
  const std::vector<float> rows = input.rows();
  CULET_DCHECK(static_cast<std::int64_t>(rows.size()) == count * input.sound_width);
  return audio_->Forward(*context_, View<const float, 2>(rows.data(), {count, input.sound_width}),
                         tap);
}

MediaEncoders::States MediaEncoders::EncodeAnew(std::span<const SoftInput> inputs,
                                                const EncoderTap& tap) {
  for (const SoftInput& input : inputs) CheckInput(input);
  const Turn turn(*this, [] {});
  if (!inputs.front().visual) {
    CULET_DCHECK(inputs.size() == 1);
    const View<const float, 2> soft = RunAudio(inputs.front(), tap);
    return {audio_->states(), soft};
  }
  const View<const float, 2> soft = RunVision(inputs, tap);
  return {vision_->states(), soft};
}

}  // namespace culet
