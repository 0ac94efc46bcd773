#include "planner/realize/testing/offload_trace.h"

#include <fmt/format.h>

namespace stowage {
namespace {

class Recorder {
 public:
  explicit Recorder(const TorchProgram& program) : program_(program) {}

  std::vector<std::string> Record() {
    for (const TorchEvent& event : program_.events) Note(event);
    for (const StorageId id : program_.kept) {
      if (program_.storages[id].role != TorchRole::kCache) NoteStorage(id, -1);
    }
    return std::move(lines_);
  }

 private:
  std::int64_t BytesOf(StorageId id) const { return program_.storages[id].bytes.at(0).value(); }

  // That recorder does not write down what is empty.
  void NoteStorage(StorageId id, int sign) {
    if (BytesOf(id) == 0) return;
    const TorchStorage& s = program_.storages[id];
    const std::string_view name = s.place == TorchPlace::kDevice     ? s.op
                                  : s.place == TorchPlace::kPageable ? std::string_view("host")
                                                                     : std::string_view("pin");
    lines_.push_back(fmt::format("{} {}", name, sign * BytesOf(id)));
  }

  void Note(const TorchEvent& event) {
    switch (event.kind) {
      case TorchEventKind::kAllocate:
        return NoteStorage(event.storage, 1);
      case TorchEventKind::kRelease:
        return NoteStorage(event.storage, -1);
      case TorchEventKind::kUpload: {
        const bool pinned = program_.storages[event.reads[0]].place == TorchPlace::kPinned;
        lines_.push_back(fmt::format("h2d {} {}{}", BytesOf(event.storage), pinned ? "pinned" : "pageable",
                                     event.async ? " async" : ""));
        return;
      }
      case TorchEventKind::kDownload:
        lines_.push_back(fmt::format("d2h {} pageable", BytesOf(event.reads[0])));
        return;
      case TorchEventKind::kReadFile:
        lines_.push_back(fmt::format("read {}", BytesOf(event.writes[0])));
        return;
      case TorchEventKind::kUseStream:
        lines_.push_back(fmt::format("stream {}", event.stream));
        return;
      case TorchEventKind::kWaitStream:
        lines_.push_back(fmt::format("sync {}", event.stream));
        return;
      case TorchEventKind::kRecordStream:
        lines_.push_back(fmt::format("record_stream {}", BytesOf(event.storage)));
        return;
      case TorchEventKind::kEmptyCache:
        lines_.emplace_back("empty_cache");
        return;
      case TorchEventKind::kCompute:
      case TorchEventKind::kMove:
      case TorchEventKind::kEnter:
      case TorchEventKind::kExit:
      case TorchEventKind::kPin:
        return;
    }
  }

  const TorchProgram& program_;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> OffloadTrace(const TorchProgram& program) { return Recorder(program).Record(); }

}  // namespace stowage
