#include "runtime/scheduler.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"

namespace culet {

struct Scheduler::Active {
  Active(Request&& what, std::int64_t vocab)
      : sampler(what.sampling, vocab), request(std::move(what)) {}

  // Of its request or of all.
  bool is_cancelled() const { return cancelled || (request.cancelled && *request.cancelled); }

  bool wants_hidden() const { return request.hidden != Wanted::kNone; }
  std::int64_t prompt_tokens() const { return static_cast<std::int64_t>(request.prompt.size()); }

  Sampler sampler;  // before the request: where it throws, nothing was moved
  Request request;
  RequestReport report;
  int sequence = -1;
  bool paused = false;  // gave its pages back and waits for room
  bool cancelled = false;
  bool ended = false;
  bool prompt_done = false;
  std::int64_t hidden_end = 0;  // rows before this one were given to on_hidden
  std::int64_t last_step = 0;   // that it had a row in
};

Scheduler::Scheduler(Engine& engine, const SchedulerOptions& options)
    : engine_(engine), options_(options) {}

Scheduler::~Scheduler() {
  CancelAll();
  DropEnded(waiting_);
  DropEnded(running_);
}

void Scheduler::Submit(Request&& request) {
  const std::int64_t context = engine_.kv().plan().context;
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  if (prompt == 0) {
    throw Error(ErrorKind::kInvalidArgument, "the prompt is empty; at least <bos> is needed");
  }
  engine_.CheckTokens(request.prompt, request.soft);
  const bool answer = request.hidden == Wanted::kNone;
  if (prompt + (answer ? 1 : 0) > context) {
    throw Error(ErrorKind::kResource, "the prompt has " + std::to_string(prompt) +
                                          " tokens; the context of " + std::to_string(context) +
                                          " must hold them" +
                                          (answer ? " and at least one token of the answer" : ""));
  }
  if (request.sequence >= 0) {
    const auto same = [&](const auto& other) {
      return other->request.sequence == request.sequence;
    };
    if (std::ranges::any_of(waiting_, same) || std::ranges::any_of(running_, same)) {
      throw Error(ErrorKind::kInvalidArgument,
                  "this session is answering already; wait for it, or use a session for each");
    }
  }
  if (waiting() >= options_.queue) {
    throw Error(ErrorKind::kResource, "the queue is full: " + std::to_string(running()) +
                                          " requests are being answered and " +
                                          std::to_string(waiting()) +
                                          " wait, the most that are allowed; try again later");
  }
  waiting_.emplace_back();  // first, for what fails must leave the request whole
  try {
    waiting_.back() = std::make_unique<Active>(std::move(request), engine_.config().vocab);
  } catch (...) {
    waiting_.pop_back();
    throw;
  }
}

void Scheduler::CancelAll() {
  for (List* list : {&waiting_, &running_}) {
    for (const auto& active : *list) active->cancelled = true;
  }
}

void Scheduler::End(Active& active, RequestEnd end, std::exception_ptr error) {
  if (active.ended) return;
  active.ended = true;
  active.report.end = end;
  active.report.error = std::move(error);
  if (active.sequence >= 0 && active.request.sequence < 0) {
    engine_.MarkPrefixEnd(active.sequence);
    engine_.RemoveSequence(active.sequence);
  }
  active.sequence = -1;
  ++(active.wants_hidden() ? statistics_.texts : statistics_.finished);
  if (active.request.on_end) active.request.on_end(active.report);
}

// Ends what was cancelled or is late, and forgets what has ended; whether there was any.
bool Scheduler::DropEnded(List& list) {
  std::optional<std::chrono::steady_clock::time_point> now;
  for (const auto& active : list) {
    if (active->is_cancelled()) {
      End(*active, RequestEnd::kCancelled);
    } else if (active->request.deadline) {
      if (!now) now = std::chrono::steady_clock::now();
      if (*now >= *active->request.deadline) End(*active, RequestEnd::kDeadline);
    }
  }
  return std::erase_if(list, [](const auto& active) { return active->ended; }) > 0;
}

// Texts leave a sequence to the answers that come meanwhile. Their lengths are known, so none
// begins that would take the pages which another, half read, still needs.
bool Scheduler::HasRoomForText(const Active& next) const {
  const auto pages_of = [](std::int64_t tokens) {
    return (tokens + kPageTokens - 1) / kPageTokens;
  };
  std::int64_t texts = 0;
  std::int64_t pages = pages_of(next.prompt_tokens());
  for (const auto& active : running_) {
    if (!active->wants_hidden()) continue;
    ++texts;
    pages += pages_of(active->prompt_tokens()) - pages_of(engine_.computed(active->sequence));
  }
  return texts == 0 || (engine_.FreeSequences() > 1 && engine_.kv().available_pages() >= pages);
}

void Scheduler::Admit() {
  // Who gave pages back goes first, the oldest before the others, one a step: the pages that it
  // takes show whether there is room for the next.
  const auto paused = std::ranges::find_if(running_, [](const auto& a) { return a->paused; });
  if (paused != running_.end()) {
    Active& active = **paused;
    const bool alone = std::ranges::all_of(running_, [](const auto& a) { return a->paused; });
    const auto tokens = static_cast<std::int64_t>(engine_.tokens(active.sequence).size());
    const std::int64_t pages = tokens / kPageTokens + 1;
    if (alone || engine_.kv().available_pages() >= pages) {
      active.paused = false;
      if (!active.wants_hidden()) engine_.AdoptPrefix(active.sequence);
    }
    return;  // nobody new while somebody waits for room
  }
  bool texts_wait = false;
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    Active& next = **at;
    if (next.wants_hidden() && (texts_wait || !HasRoomForText(next))) {
      texts_wait = true;  // in order of arrival among themselves; answers go on
      ++at;
      continue;
    }
    if (next.request.sequence < 0 && !engine_.HasFreeSequence()) {
      const bool one_will_be_free =
          std::ranges::any_of(running_, [](const auto& a) { return a->request.sequence < 0; });
      if (one_will_be_free) return;
      End(next, RequestEnd::kFailed,
          std::make_exception_ptr(
              Error(ErrorKind::kResource,
                    "sessions hold all " + std::to_string(engine_.kv().plan().sequences) +
                        " sequences of this model; end one, or load it with more sequences")));
      at = waiting_.erase(at);
      continue;
    }
    const std::int64_t pages = next.prompt_tokens() / kPageTokens + 1;
    if (!running_.empty() && engine_.kv().available_pages() < pages) return;
    running_.push_back(std::move(*at));
    at = waiting_.erase(at);
    try {
      Start(next);
    } catch (...) {
      End(next, RequestEnd::kFailed, std::current_exception());
    }
  }
}

void Scheduler::Start(Active& active) {
  const Request& request = active.request;
  active.sequence = request.sequence >= 0 ? request.sequence : engine_.AddSequence();
  // At least the last token is left to compute: its logits are wanted.
  const std::span<const std::int32_t> have = engine_.tokens(active.sequence);
  const std::size_t most = std::min(have.size(), request.prompt.size() - 1);
  const auto common = static_cast<std::int64_t>(
      std::mismatch(have.begin(), have.begin() + static_cast<std::ptrdiff_t>(most),
                    request.prompt.begin())
          .first -
      have.begin());
  const std::int64_t kept = engine_.BeginOfBlockAt(active.sequence, common);
  engine_.Rewind(active.sequence, kept);
  engine_.Append(active.sequence, std::span(request.prompt).subspan(static_cast<std::size_t>(kept)),
                 request.soft);
  if (active.wants_hidden()) return;
  const std::int64_t own = engine_.computed(active.sequence);
  active.report.cached_tokens = engine_.AdoptPrefix(active.sequence);
  statistics_.prompt_tokens += static_cast<std::int64_t>(request.prompt.size());
  statistics_.shared_tokens += std::max<std::int64_t>(0, active.report.cached_tokens - own);
  active.sampler.Observe(request.prompt);
}

std::int64_t Scheduler::RowsLeft(const Active& active) const {
  return static_cast<std::int64_t>(engine_.tokens(active.sequence).size()) -
         engine_.computed(active.sequence);
}

void Scheduler::PlanRows() {
  parts_.clear();
  owners_.clear();
  std::vector<Active*> decoding, reading;
  for (const auto& active : running_) {
    if (active->paused) continue;
    const bool decodes = RowsLeft(*active) == 1 && !active->wants_hidden();
    (decodes ? decoding : reading).push_back(active.get());
  }
  // Where a step has less rows than there are requests, those that waited longest have them.
  std::int64_t budget = engine_.kv().plan().chunk;
  for (std::vector<Active*>* list : {&decoding, &reading}) {
    std::ranges::stable_sort(*list, {}, &Active::last_step);
    if (list == &reading && !parts_.empty()) {
      budget = std::min(budget, options_.prompt_rows_beside_decoding);
    }
    list->resize(std::min(list->size(), static_cast<std::size_t>(budget)));
    if (list == &reading) break;
    for (Active* active : *list) AddPart(*active, 1);
    budget -= static_cast<std::int64_t>(list->size());
  }
  PlanPrompts(reading, budget,
              engine_.kv().plan().chunk - static_cast<std::int64_t>(decoding.size()));
}

// Rows of prompts: `budget` of them in all, and up to `room` where a picture must be computed
// whole.
void Scheduler::PlanPrompts(std::vector<Active*>& reading, std::int64_t budget, std::int64_t room) {
  std::vector<std::pair<Active*, std::int64_t>> shares;
  const auto take = [&](Active* active, std::int64_t count) {
    const std::int64_t rows = engine_.WholeRows(active->sequence, count, room);
    if (rows > 0) shares.emplace_back(active, rows);
    budget = std::max<std::int64_t>(0, budget - rows);
    room -= rows;
  };
  // Pictures that come now first, for they need much room at once: who waited longest has it.
  const auto text = std::stable_partition(
      reading.begin(), reading.end(),
      [&](const Active* active) { return engine_.WholeRows(active->sequence, 1, room) != 1; });
  // An even share each, the shortest first: what it does not need goes to the longer ones.
  std::stable_sort(text, reading.end(),
                   [&](const Active* a, const Active* b) { return RowsLeft(*a) < RowsLeft(*b); });
  for (auto active = reading.begin(); active != reading.end(); ++active) {
    const std::int64_t share = std::min(RowsLeft(**active), budget / (reading.end() - active));
    take(*active, active < text ? std::max<std::int64_t>(share, 1) : share);
  }
  // Rows that become logits stand together, those of which only the hidden state is wanted last.
  // (Not std::ranges': clang 14 cannot compile what that returns.)
  std::stable_partition(shares.begin(), shares.end(),
                        [](const auto& share) { return !share.first->wants_hidden(); });
  for (const auto& [active, count] : shares) AddPart(*active, count);
}

void Scheduler::AddPart(Active& active, std::int64_t rows) {
  const bool last = rows == RowsLeft(active);
  StepPart part = {active.sequence, rows, last ? Wanted::kLast : Wanted::kNone};
  if (active.request.hidden == Wanted::kAll) part.wanted = Wanted::kAll;
  part.publish = !active.wants_hidden();
  parts_.push_back(part);
  owners_.push_back(&active);
}

bool Scheduler::MakeRoom() {
  if (engine_.Fits(parts_)) return true;
  // The youngest gives its pages back; the oldest always goes on, so every request ends.
  for (auto at = running_.rbegin(); at + 1 < running_.rend(); ++at) {
    Active& active = **at;
    if (active.paused) continue;
    active.paused = true;
    ++active.report.preemptions;
    ++statistics_.preemptions;
    engine_.GiveBack(active.sequence);
    return false;
  }
  const auto busy = [&](int sequence) {
    return std::ranges::any_of(running_, [&](const auto& a) { return a->sequence == sequence; });
  };
  // Then those that only wait for their next turn.
  if (engine_.GiveBackIdle(busy)) return false;
  throw Error(ErrorKind::kInternal, "the KV pool cannot hold one sequence, against the plan");
}

void Scheduler::Deliver(Active& active, std::span<const float> logits) {
  const std::int32_t token = active.sampler.Sample(logits);
  active.sampler.Observe(std::span(&token, 1));
  if (!active.prompt_done) {
    active.prompt_done = true;
    // Where the next turn goes back to when it drops this answer's thought.
    if (active.request.sequence >= 0) engine_.Pin(active.sequence);
    engine_.MarkPrefixEnd(active.sequence);
  }
  if (!active.request.on_token(token, logits)) {
    End(active, RequestEnd::kEnough);
  } else if (static_cast<std::int64_t>(engine_.tokens(active.sequence).size()) + 1 >=
             engine_.kv().plan().context) {
    End(active, RequestEnd::kContextFull);
  } else {
    engine_.Append(active.sequence, std::span(&token, 1));
  }
}

void Scheduler::DeliverHidden(Active& active, View<const float, 2> rows) {
  const std::int64_t end = engine_.computed(active.sequence);
  const std::int64_t begin = end - rows.extent(0);
  // Whoever gave pages back computes rows again that were delivered before.
  const std::int64_t known = std::clamp<std::int64_t>(active.hidden_end - begin, 0, rows.extent(0));
  if (known < rows.extent(0)) {
    active.request.on_hidden(
        begin + known,
        View<const float, 2>(rows.row(known), {rows.extent(0) - known, rows.extent(1)}));
    active.hidden_end = end;
  }
  if (RowsLeft(active) == 0) End(active, RequestEnd::kEnough);
}

// Of the step that is being computed: a share of its rows for every layer that is done.
void Scheduler::ReportProgress(std::int64_t layers_done, std::int64_t layers) const {
  for (std::size_t index = 0; index < parts_.size(); ++index) {
    const Active& active = *owners_[index];
    if (!active.request.on_progress || active.prompt_done) continue;
    const std::int64_t total =
        static_cast<std::int64_t>(active.request.prompt.size()) - active.report.cached_tokens;
    const std::int64_t before = active.report.computed_tokens;
    active.request.on_progress(std::min(total, before + parts_[index].count * layers_done / layers),
                               total);
  }
}

void Scheduler::Compute() {
  LayerTap tap;
  if (std::ranges::any_of(owners_, [](const Active* active) {
        return active->request.on_progress && !active->prompt_done;
      })) {
    // Layers behind the last with KV of its own do not see the rows that nobody asks for.
    const int layers = engine_.config().first_shared_layer();
    tap = [this, layers](int layer, View<const float, 2>) {
      ReportProgress(std::min(layer, layers), layers);
    };
  }
  View<const float, 2> hidden = engine_.Step(parts_, tap);
  ++statistics_.steps;
  std::vector<Active*> asked;
  for (std::size_t index = 0; index < parts_.size(); ++index) {
    Active& active = *owners_[index];
    statistics_.rows += parts_[index].count;
    active.report.computed_tokens += parts_[index].count;
    active.last_step = statistics_.steps;
    if (active.wants_hidden()) continue;
    if (parts_[index].wanted == Wanted::kLast) asked.push_back(&active);
  }
  DeliverTokens(asked, hidden);
  auto row = static_cast<std::int64_t>(asked.size());
  for (std::size_t index = 0; index < parts_.size(); ++index) {
    Active& active = *owners_[index];
    if (!active.wants_hidden() || parts_[index].wanted == Wanted::kNone) continue;
    const std::int64_t rows = parts_[index].wanted == Wanted::kAll ? parts_[index].count : 1;
    try {
      DeliverHidden(active, View<const float, 2>(hidden.row(row), {rows, hidden.extent(1)}));
    } catch (...) {
      End(active, RequestEnd::kFailed, std::current_exception());
    }
    row += rows;
  }
}

// `hidden`: first the rows of those that asked for a token, in their order.
void Scheduler::DeliverTokens(std::span<Active* const> asked, View<const float, 2> hidden) {
  for (std::size_t begin = 0; begin < asked.size(); begin += Engine::kHeadRows) {
    const std::size_t rows = std::min<std::size_t>(Engine::kHeadRows, asked.size() - begin);
    const View<const float, 2> logits =
        engine_.Logits(View<const float, 2>(hidden.row(static_cast<std::int64_t>(begin)),
                                            {static_cast<std::int64_t>(rows), hidden.extent(1)}));
    for (std::size_t row = 0; row < rows; ++row) {
      Active& active = *asked[begin + row];
      try {
        Deliver(active, {logits.row(static_cast<std::int64_t>(row)),
                         static_cast<std::size_t>(logits.extent(1))});
      } catch (...) {
        End(active, RequestEnd::kFailed, std::current_exception());
      }
    }
  }
}

bool Scheduler::Step() {
  DropEnded(waiting_);
  DropEnded(running_);
  Admit();
  DropEnded(running_);  // what failed at its start
  owners_.clear();
  try {
    do {
      PlanRows();
    } while (!parts_.empty() && !MakeRoom());
    if (parts_.empty()) return !idle();
    Compute();
  } catch (...) {
    // What fails a step fails those that were in it, and nobody else.
    for (Active* active : owners_) End(*active, RequestEnd::kFailed, std::current_exception());
  }
  DropEnded(running_);
  return true;
}

void Scheduler::FailAll(const std::exception_ptr& error) {
  for (List* list : {&waiting_, &running_}) {
    for (const auto& active : *list) End(*active, RequestEnd::kFailed, error);
    DropEnded(*list);
  }
}

}  // namespace culet
