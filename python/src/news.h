// What long calls tell Python on their way.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <future>
#include <mutex>
#include <string>
#include <utility>

#include "gil.h"
#include "handles.h"

namespace culet::python {

struct News {
  std::string kind;
  std::string text;
  std::uint64_t done = 0, total = 0;
  bool is_progress = false;  // of progress only the last is worth a call
};

// Between the thread that works and the one of Python that waits for it.
class NewsBox {
 public:
  void Put(News news) {
    const std::lock_guard lock(mutex_);
    if (news.is_progress && !news_.empty() && news_.back().kind == news.kind) news_.pop_back();
    news_.push_back(std::move(news));
  }
  std::deque<News> Take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(news_, {});
  }

 private:
  std::mutex mutex_;  // guards news_
  std::deque<News> news_;
};

// work() on a thread of its own, while this one hands news to Python (on_news(kind, text, done,
// total)) and looks for Ctrl-C. What ends it so, or is raised by on_news, sets `stop`, which work()
// must heed, and goes through when work() is over.
template <typename Work>
auto WhileTelling(NewsBox& box, StopFlag& stop, const nb::object& on_news, const Work& work) {
  const CallInside inside;
  auto future = std::async(std::launch::async, work);
  const auto interval = std::chrono::duration<double>(kAskEverySeconds);
  try {
    for (bool done = false; !done;) {
      {
        const WithoutGil released;
        done = future.wait_for(interval) == std::future_status::ready;
      }
      for (const News& news : box.Take()) on_news(news.kind, news.text, news.done, news.total);
      if (!done) CheckInterrupts();
    }
  } catch (...) {
    stop.stopped = true;
    const WithoutGil released;
    future.wait();
    throw;
  }
  return future.get();
}

}  // namespace culet::python
