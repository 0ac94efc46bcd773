#include "exec/run/issuer.h"

#include <fmt/format.h>

#include <algorithm>

namespace stowage {

StepIssuer::StepIssuer(const Schedule* schedule, RunMemory* memory, const WeightFiles* files,
                       const ExecuteOptions* options)
    : schedule_(schedule), memory_(memory), files_(files), options_(options) {}

Result<std::unique_ptr<StepIssuer>> StepIssuer::Create(const Schedule* schedule, DeviceSet* devices, RunMemory* memory,
                                                       const WeightFiles* files, const ExecuteOptions* options) {
  std::unique_ptr<StepIssuer> out(new StepIssuer(schedule, memory, files, options));
  for (const Queue& queue : schedule->queues) {
    auto state = std::make_unique<QueueState>();
    state->device = devices->Find(queue.name.substr(0, queue.name.find('/')));
    if (state->device == nullptr) state->device = devices->Find("host");
    if (state->device == nullptr) {
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("queue '{}': there is neither its device nor 'host'", queue.name)};
    }
    STOWAGE_TRY(state->queue, state->device->OpenQueue(queue.name));
    out->queues_.push_back(std::move(state));
  }
  out->LocateSteps();
  out->MarkRecorded();
  STOWAGE_RETURN_IF_ERROR(out->PlaceCaptures());
  return out;
}

void StepIssuer::LocateSteps() {
  where_.resize(schedule_->steps.size());
  names_.reserve(schedule_->steps.size());
  for (std::size_t p = 0; p < schedule_->phases.size(); ++p) {
    const Phase& phase = schedule_->phases[p];
    const auto mark = [&](const Section& section, bool body) {
      for (StepId i = section.begin; i < section.end; ++i) {
        where_[i] = {.phase = static_cast<std::int32_t>(p),
                     .body_begin = body ? section.begin : -1,
                     .times = body ? phase.iterations : 1};
      }
    };
    mark(phase.prologue, false);
    mark(phase.body, true);
    mark(phase.epilogue, false);
    sections_.insert(sections_.end(), {{phase.prologue, 1}, {phase.body, phase.iterations}, {phase.epilogue, 1}});
  }
  for (StepId i = 0; i < static_cast<StepId>(schedule_->steps.size()); ++i) names_.push_back(schedule_->StepName(i));
}

void StepIssuer::MarkRecorded() {
  states_.resize(schedule_->steps.size());
  for (const Step& step : schedule_->steps) {
    for (const StepRef& ref : step.after) {
      if (step.queue < 0 || schedule_->steps[ref.step].queue != step.queue) states_[ref.step].recorded = true;
    }
    if (step.kind == StepKind::kWait) states_[step.target.step].recorded = true;
    if (step.blocking) states_[&step - schedule_->steps.data()].recorded = true;
  }
}

Status StepIssuer::PlaceCaptures() {
  for (const Capture& capture : options_->captures) {
    StepId last = -1;
    BufferId buffer = -1;
    for (StepId i = 0; i < static_cast<StepId>(schedule_->steps.size()); ++i) {
      if (schedule_->phases[where_[i].phase].name != capture.phase) continue;
      for (const Slice& slice : schedule_->steps[i].writes) {
        if (schedule_->buffers[slice.buffer].name != capture.buffer) continue;
        last = i;
        buffer = slice.buffer;
      }
    }
    if (last < 0) {
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("nothing in phase '{}' writes '{}'", capture.phase, capture.buffer)};
    }
    where_[last].capture = buffer;
    states_[last].recorded = true;
  }
  return OkStatus();
}

Seconds StepIssuer::Now() const {
  return Seconds(std::chrono::duration<double>(Device::Clock::now() - epoch_).count());
}

void StepIssuer::Fail() {
  {
    const std::lock_guard lock(mutex_);
    failed_ = true;
  }
  changed_.notify_all();
}

StepIssuer::Cursor StepIssuer::First(std::int32_t issuer) const {
  return From({.step = sections_.empty() ? 0 : sections_[0].first.begin}, issuer);
}

StepIssuer::Cursor StepIssuer::Next(Cursor cursor, std::int32_t issuer) const {
  ++cursor.step;
  return From(cursor, issuer);
}

StepIssuer::Cursor StepIssuer::From(Cursor cursor, std::int32_t issuer) const {
  while (!AtEnd(cursor)) {
    const auto& [section, iterations] = sections_[cursor.section];
    if (cursor.iteration < iterations) {
      while (cursor.step < section.end && schedule_->steps[cursor.step].issuer != issuer) ++cursor.step;
      if (cursor.step < section.end) break;
      cursor = {cursor.section, cursor.iteration + 1, section.begin};
    } else {
      cursor = {.section = cursor.section + 1};
      if (!AtEnd(cursor)) cursor.step = sections_[cursor.section].first.begin;
    }
  }
  return cursor;
}

Status StepIssuer::Walk(std::int32_t issuer) {
  Thread thread{issuer, std::vector<std::int64_t>(queues_.size(), 0)};
  for (Cursor at = First(issuer); !AtEnd(at); at = Next(at, issuer)) {
    if (Status status = Issue(thread, at.step, at.iteration); !status) {
      Fail();
      return status;
    }
  }
  return OkStatus();
}

Status StepIssuer::WalkInTurn(std::int32_t first) {
  const auto count = static_cast<std::int32_t>(schedule_->issuers.size());
  std::vector<Thread> threads;
  std::vector<Cursor> cursors;
  for (std::int32_t i = 0; i < count; ++i) {
    const std::int32_t issuer = (first + i) % count;
    threads.push_back({issuer, std::vector<std::int64_t>(queues_.size(), 0)});
    cursors.push_back(First(issuer));
  }
  for (;;) {
    const auto next = std::ranges::find_if(cursors, [&](const Cursor& at) { return !AtEnd(at) && MayIssue(at); });
    if (next == cursors.end()) break;
    Thread& thread = threads[static_cast<std::size_t>(next - cursors.begin())];
    STOWAGE_RETURN_IF_ERROR(Issue(thread, next->step, next->iteration));
    *next = Next(*next, thread.issuer);
  }
  for (const Cursor& at : cursors) {
    if (AtEnd(at)) continue;
    return Error{ErrorCode::kInternal,
                 fmt::format("the issuers wait for each other, one of them at '{}'", names_[at.step])};
  }
  return OkStatus();
}

bool StepIssuer::MayIssue(const Cursor& at) {
  const std::lock_guard lock(mutex_);
  const auto issued = [&](const StepRef& ref) {
    return Instance(at.step, at.iteration, ref) < states_[ref.step].issued;
  };
  const Step& step = schedule_->steps[at.step];
  return std::ranges::all_of(step.after, issued) && (step.kind != StepKind::kWait || issued(step.target));
}

std::int64_t StepIssuer::Instance(StepId from, std::int64_t iteration, const StepRef& ref) const {
  const Where& target = where_[ref.step];
  const bool same_body = target.body_begin >= 0 && target.body_begin == where_[from].body_begin;
  return same_body ? iteration - ref.back : target.times - 1;
}

Result<std::optional<StepIssuer::Reached>> StepIssuer::Find(StepId from, std::int64_t iteration, const StepRef& ref) {
  const std::int64_t instance = Instance(from, iteration, ref);
  if (instance < 0) return std::optional<Reached>();
  std::unique_lock lock(mutex_);
  const StepState& state = states_[ref.step];
  changed_.wait(lock, [&] { return failed_ || state.issued > instance; });
  if (state.issued <= instance) {
    return Error{ErrorCode::kInternal, fmt::format("'{}' stopped: another issuer failed", names_[from])};
  }
  // An event older than the last two is implied by the newer ones: its queue is in order.
  const std::size_t slot = static_cast<std::size_t>(std::max(instance, state.issued - 2)) & 1;
  return std::optional<Reached>(Reached{state.events[slot], state.numbers[slot]});
}

Status StepIssuer::HostWait(Thread& thread, StepId from, std::int64_t iteration, const StepRef& ref) {
  STOWAGE_TRY(const auto reached, Find(from, iteration, ref));
  if (!reached || reached->event == nullptr) return OkStatus();
  STOWAGE_RETURN_IF_ERROR(reached->event->HostWait());
  std::int64_t& waited = thread.waited[schedule_->steps[ref.step].queue];
  waited = std::max(waited, reached->number);
  return OkStatus();
}

void StepIssuer::MarkIssued(StepId id, EventPtr event, std::int64_t number) {
  {
    const std::lock_guard lock(mutex_);
    StepState& state = states_[id];
    const std::size_t slot = static_cast<std::size_t>(state.issued) & 1;
    state.events[slot] = std::move(event);
    state.numbers[slot] = number;
    ++state.issued;
  }
  if (schedule_->issuers.size() > 1) changed_.notify_all();
}

Status StepIssuer::Issue(Thread& thread, StepId id, std::int64_t iteration) {
  const Step& step = schedule_->steps[id];
  const Seconds issued = Now();
  switch (step.kind) {
    case StepKind::kRead:
    case StepKind::kCopy:
    case StepKind::kCompute:
      return IssueQueued(thread, id, iteration, issued);
    case StepKind::kAllocate:
    case StepKind::kFree:
      for (const StepRef& ref : step.after) STOWAGE_RETURN_IF_ERROR(HostWait(thread, id, iteration, ref));
      if (Status status = step.kind == StepKind::kAllocate ? memory_->Allocate(step.buffer, id, issued)
                                                           : memory_->Free(step.buffer, id, issued);
          !status) {
        return std::move(status).error().In(fmt::format("step '{}'", names_[id]));
      }
      break;
    case StepKind::kWait:
      STOWAGE_RETURN_IF_ERROR(HostWait(thread, id, iteration, step.target));
      break;
    case StepKind::kReduce:
    case StepKind::kEmptyCache:
    case StepKind::kRecordStream:
      return Error{ErrorCode::kInvalidInput, fmt::format("step '{}' ({}) is simulated only: no device here executes it",
                                                         names_[id], Name(step.kind))};
  }
  MarkIssued(id, nullptr, 0);
  const std::lock_guard lock(mutex_);
  spans_.push_back({id, iteration, issued, issued, Now()});
  return OkStatus();
}

Status StepIssuer::IssueQueued(Thread& thread, StepId id, std::int64_t iteration, Seconds issued) {
  const Step& step = schedule_->steps[id];
  QueueState& queue = *queues_[step.queue];
  std::vector<std::pair<StepId, EventPtr>> waits;
  for (const StepRef& ref : step.after) {
    const std::int32_t other = schedule_->steps[ref.step].queue;
    STOWAGE_TRY(const auto reached, Find(id, iteration, ref));
    if (!reached || reached->event == nullptr || other == step.queue) continue;
    if (thread.waited[other] < reached->number) waits.emplace_back(ref.step, reached->event);
  }
  StepTag tag{.step = id, .iteration = iteration, .issued = issued};
  if (options_->pace) tag.at_least = options_->pace(id, iteration);
  EventPtr event;
  std::int64_t number = 0;
  {
    const std::lock_guard lock(queue.mutex);
    for (const auto& [other, wait] : waits) {
      if (Status status = queue.device->WaitFor(queue.queue, wait); !status) {
        return std::move(status).error().In(fmt::format("step '{}' on {} after step '{}' on {}", names_[id],
                                                        schedule_->queues[step.queue].name, names_[other],
                                                        schedule_->queues[schedule_->steps[other].queue].name));
      }
    }
    STOWAGE_RETURN_IF_ERROR(Command(queue, step, id, tag));
    if (states_[id].recorded) {
      STOWAGE_TRY(event, queue.device->Record(queue.queue));
      number = ++queue.events;
    }
  }
  MarkIssued(id, event, number);
  const bool capture = where_[id].capture >= 0 && iteration == where_[id].times - 1;
  if (step.blocking || capture) {
    STOWAGE_RETURN_IF_ERROR(event->HostWait());
    thread.waited[step.queue] = std::max(thread.waited[step.queue], number);
  }
  if (capture) {
    STOWAGE_TRY(auto bytes, memory_->Fetch(where_[id].capture));
    const std::lock_guard lock(mutex_);
    captured_[schedule_->buffers[where_[id].capture].name] = std::move(bytes);
  }
  return OkStatus();
}

Status StepIssuer::Command(QueueState& queue, const Step& step, StepId id, const StepTag& tag) {
  if (step.kind == StepKind::kCompute) return Launch(queue, step, tag);
  if (step.reads.size() != 1 || step.writes.size() != 1 ||
      step.reads[0].bytes.at(tag.iteration) != step.writes[0].bytes.at(tag.iteration)) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("step '{}' needs one source and one target of the same size", names_[id])};
  }
  STOWAGE_TRY(const DeviceSlice to, memory_->Resolve(step.writes[0], tag.iteration));
  if (step.kind == StepKind::kCopy) {
    STOWAGE_TRY(const DeviceSlice from, memory_->Resolve(step.reads[0], tag.iteration));
    return queue.device->Copy(queue.queue, {to.data, from.data, to.bytes, names_[id]}, tag);
  }
  const Buffer& source = schedule_->buffers[step.reads[0].buffer];
  if (source.file < 0) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("step '{}' reads '{}', which comes from no file", names_[id], source.name)};
  }
  return queue.device->Read(queue.queue,
                            {.to = to.data,
                             .files = files_,
                             .file = source.file,
                             .offset = source.file_offset + step.reads[0].offset.at(tag.iteration).value(),
                             .bytes = to.bytes,
                             .name = source.name},
                            tag);
}

Status StepIssuer::Launch(QueueState& queue, const Step& step, const StepTag& tag) {
  KernelCall call{.kernel = &schedule_->kernels[step.kernel], .iteration = tag.iteration};
  if (step.reads.size() > KernelCall::kMaxOperands || step.writes.size() > KernelCall::kMaxOperands) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("step '{}' has {} reads and {} writes; a kernel takes {} at most", names_[tag.step],
                             step.reads.size(), step.writes.size(), KernelCall::kMaxOperands)};
  }
  for (const Slice& slice : step.reads) {
    STOWAGE_TRY(call.reads[call.read_count++], memory_->Resolve(slice, tag.iteration));
  }
  for (const Slice& slice : step.writes) {
    STOWAGE_TRY(call.writes[call.write_count++], memory_->Resolve(slice, tag.iteration));
  }
  return queue.device->Launch(queue.queue, call, tag);
}

}  // namespace stowage
