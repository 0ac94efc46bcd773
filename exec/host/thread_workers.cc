#include <sys/prctl.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "exec/host/workers.h"

namespace stowage {
namespace {

using Clock = Device::Clock;

class HostEvent final : public Event {
 public:
  bool Done() override {
    const std::lock_guard lock(mutex_);
    return result_.has_value();
  }
  Status HostWait() override {
    std::unique_lock lock(mutex_);
    reached_.wait(lock, [this] { return result_.has_value(); });
    return *result_;
  }
  void Set(const Status& result, Clock::time_point due) {
    {
      const std::lock_guard lock(mutex_);
      result_ = result;
      due_ = due;
    }
    reached_.notify_all();
  }

  // When it would have happened had no thread woken up late; of an event that is set.
  Clock::time_point due() {
    const std::lock_guard lock(mutex_);
    return due_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable reached_;
  std::optional<Status> result_;
  Clock::time_point due_;
};

// Exactly one of the first three members is set.
struct Task {
  EventPtr wait;
  std::shared_ptr<HostEvent> record;
  std::optional<Work> work;
  Clock::time_point posted = {};
};

class ThreadQueue {
 public:
  ThreadQueue() : thread_([this] { Loop(); }) {}
  ~ThreadQueue() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

  void Post(Task task) {
    task.posted = Clock::now();
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
  }

  EventPtr Record() {
    auto event = std::make_shared<HostEvent>();
    Post({.wait = nullptr, .record = event, .work = std::nullopt});
    return event;
  }

  void StartClock(Clock::time_point epoch) {
    const std::lock_guard lock(mutex_);
    epoch_ = epoch;
  }

  std::vector<StepSpan> TakeSpans() {
    const std::lock_guard lock(mutex_);
    return std::exchange(spans_, {});
  }

 private:
  void Loop() {
    ::prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);  // paced steps of microseconds: the default wakes 50 us late
    Status status = OkStatus();              // of this queue: the first failure sticks
    for (;;) {
      Task task;
      Clock::time_point epoch;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stop_ || !tasks_.empty(); });
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
        epoch = epoch_;
      }
      if (task.record) {
        task.record->Set(status, due_);
      } else if (!status) {
        continue;
      } else if (task.wait) {
        status = task.wait->HostWait();
        auto* paced = dynamic_cast<HostEvent*>(task.wait.get());
        due_ = paced != nullptr ? std::max(due_, paced->due()) : Clock::now();
      } else {
        status = RunWork(*task.work, epoch, task.posted);
      }
    }
  }

  static Clock::duration Ticks(Seconds time) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(time.value()));
  }

  Status RunWork(const Work& work, Clock::time_point epoch, Clock::time_point posted) {
    const Clock::time_point start = Clock::now();
    Status status = work.run();
    if (!status) return status;
    const Clock::time_point ran = Clock::now();
    if (work.tag.at_least > Seconds(0)) {
      // A sleeper wakes late, by as much as a short step lasts: the next one is not to pay for it.
      due_ = std::max(due_, posted) + std::max(ran - start, Ticks(work.tag.at_least));
      std::this_thread::sleep_until(due_);
    } else {
      due_ = ran;
    }
    const auto since = [epoch](Clock::time_point t) {
      return Seconds(std::chrono::duration<double>(t - epoch).count());
    };
    const StepSpan span{work.tag.step, work.tag.iteration, work.tag.issued, since(start), since(Clock::now())};
    const std::lock_guard lock(mutex_);
    spans_.push_back(span);
    return status;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  bool stop_ = false;
  Clock::time_point epoch_;
  std::vector<StepSpan> spans_;
  Clock::time_point due_;  // the queue's thread's own: when what it did so far would have ended had it never woken late
  std::thread thread_;     // last: it uses all of the above
};

class ThreadWorkers final : public Workers {
 public:
  int OpenQueue(std::string_view) override {
    queues_.push_back(std::make_unique<ThreadQueue>());
    return static_cast<int>(queues_.size()) - 1;
  }
  void Wait(int queue, EventPtr event) override {
    queues_[queue]->Post({.wait = std::move(event), .record = nullptr, .work = std::nullopt});
  }
  void Run(int queue, Work work) override {
    queues_[queue]->Post({.wait = nullptr, .record = nullptr, .work = std::move(work)});
  }
  EventPtr Record(int queue) override { return queues_[queue]->Record(); }
  void StartClock(Clock::time_point epoch) override {
    for (auto& queue : queues_) queue->StartClock(epoch);
  }
  Status Drain() override {
    Status first = OkStatus();
    for (auto& queue : queues_) {
      Status status = queue->Record()->HostWait();
      if (!status && first) first = std::move(status);
    }
    return first;
  }
  std::vector<StepSpan> TakeSpans() override {
    std::vector<StepSpan> out;
    for (auto& queue : queues_) {
      const std::vector<StepSpan> spans = queue->TakeSpans();
      out.insert(out.end(), spans.begin(), spans.end());
    }
    return out;
  }

 private:
  std::vector<std::unique_ptr<ThreadQueue>> queues_;
};

}  // namespace

std::unique_ptr<Workers> MakeThreadWorkers() { return std::make_unique<ThreadWorkers>(); }

}  // namespace stowage
