// What a module is given is what it reads of what was there before it, and what it does not read: rotary embeddings get
// the hidden states (for their dtype), layers the position ids and, where they do not rotate, the rotary tables, layers of
// a decoder the encoder's rows, which they need in the first pass alone. T5's position biases are what the layers return
// to each other: the copy that one was given is the next one's. So is that of the embeddings which T5Stack's dropout hands
// through, until the first layer returns.
#include "planner/realize/torch_calls.h"

#include <algorithm>
#include <string>
#include <utility>

namespace stowage {
namespace {

void AddOnce(std::vector<StorageId>& ids, StorageId id) {
  if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
}

class CallFinder {
 public:
  CallFinder(const TorchProgram& program, const Model& model)
      : program_(program), model_(model), made_(program.storages.size(), 0), gone_(program.storages.size(), 0) {}

  std::vector<GivenCall> Run() {
    for (std::size_t i = 0; i < program_.events.size(); ++i) Note(i);
    AddUnread();
    return std::move(calls_);
  }

 private:
  void Note(std::size_t i) {
    const TorchEvent& event = program_.events[i];
    if (event.kind == TorchEventKind::kAllocate) made_[event.storage] = i;
    if (event.kind == TorchEventKind::kRelease) gone_[event.storage] = i;
    if (event.kind == TorchEventKind::kEnter) {
      open_.push_back(calls_.size());
      calls_.push_back({.module = event.module, .enter = i, .given = {event.reads.begin(), event.reads.end()}});
    }
    if (event.kind == TorchEventKind::kExit) {
      calls_[open_.back()].exit = i;
      open_.pop_back();
    }
    if (event.kind != TorchEventKind::kCompute) return;
    for (const StorageId id : event.reads) {
      const TorchRole role = program_.storages[id].role;
      if (role == TorchRole::kCache || role == TorchRole::kUpload) continue;
      for (auto call = open_.rbegin(); call != open_.rend(); ++call) {
        if (made_[id] > calls_[*call].enter) break;  // made within it, and within all around it
        AddOnce(calls_[*call].given, id);
      }
    }
  }

  bool IsRotary(const GivenCall& call) const { return model_.modules[call.module].name.ends_with("rotary_emb"); }
  bool TakesPositions(const GivenCall& call) const {
    const std::string& name = model_.modules[call.module].name;
    return name.ends_with(".wpe") || name.ends_with(".embed_positions");
  }
  bool TakesEncoded(const GivenCall& call) const {
    const std::string& name = model_.modules[call.module].name;
    const std::size_t at = name.starts_with("model.") ? 6 : 0;
    return name.compare(at, std::string::npos, "decoder") == 0 ||
           (IsBlock(call) && name.compare(at, 8, "decoder.") == 0);
  }
  bool IsBlock(const GivenCall& call) const { return model_.BlockOf(call.module) == call.module; }
  bool Lives(StorageId id, const GivenCall& call) const {
    return made_[id] < call.enter && (gone_[id] == 0 || gone_[id] > call.exit);
  }

  void AddUnread() {
    for (auto call = calls_.begin(); call != calls_.end(); ++call) {
      if (IsRotary(*call)) {
        positions_.insert(positions_.end(), call->given.begin(), call->given.end());
        const auto block = std::find_if(call, calls_.end(), [&](const GivenCall& c) { return IsBlock(c); });
        if (block != calls_.end() && !block->given.empty() && Lives(block->given[0], *call)) {
          call->given.insert(call->given.begin(), block->given[0]);
        }
        NoteTables(*call);
      } else if (TakesPositions(*call)) {
        positions_.insert(positions_.end(), call->given.begin(), call->given.end());
      } else if (IsBlock(*call)) {
        AddToBlock(*call);
      }
      if (program_.crossed && TakesEncoded(*call)) AddOnce(call->given, EncodedRows(program_));
    }
  }

  void NoteTables(const GivenCall& rotary) {
    last_tables_ = tables_.size();
    for (std::size_t s = 0; s < made_.size(); ++s) {
      if (made_[s] > rotary.enter && made_[s] < rotary.exit && (gone_[s] == 0 || gone_[s] > rotary.exit)) {
        tables_.push_back(static_cast<StorageId>(s));
      }
    }
  }

  void AddToBlock(GivenCall& block) {
    const auto given = [&](StorageId id) {
      return std::find(block.given.begin(), block.given.end(), id) != block.given.end();
    };
    if (std::none_of(tables_.begin(), tables_.end(), given)) {
      for (std::size_t i = last_tables_; i < tables_.size(); ++i) {
        if (Lives(tables_[i], block)) block.given.push_back(tables_[i]);
      }
    }
    for (const StorageId id : positions_) {
      if (Lives(id, block)) AddOnce(block.given, id);
    }
  }

  const TorchProgram& program_;
  const Model& model_;
  std::vector<std::size_t> made_, gone_;  // by storage: events
  std::vector<GivenCall> calls_;
  std::vector<std::size_t> open_;
  std::vector<StorageId> positions_, tables_;  // so far
  std::size_t last_tables_ = 0;                // those of the last rotary embedding start here
};

}  // namespace

StorageId EncodedRows(const TorchProgram& program) { return program.cache.front(); }

std::vector<GivenCall> FindCalls(const TorchProgram& program, const Model& model) {
  return CallFinder(program, model).Run();
}

}  // namespace stowage
