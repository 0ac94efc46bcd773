#include "planner/strategy/native/on_host.h"

#include <algorithm>

#include "planner/strategy/native/proposal.h"

namespace stowage {
namespace {

// Which side has the latest bytes of an activation, interval by interval.
class Freshness {
 public:
  // Notes that bytes [begin, end) were written on a side, and are stale on the other.
  void Write(std::int64_t begin, std::int64_t end, bool host) {
    std::vector<Piece> kept;
    for (const Piece& p : pieces_) {
      if (p.begin < begin) kept.push_back({p.begin, std::min(p.end, begin), p.host, p.device});
      if (p.end > end) kept.push_back({std::max(p.begin, end), p.end, p.host, p.device});
    }
    kept.push_back({begin, end, host, !host});
    pieces_ = std::move(kept);
  }

  bool Nowhere() const { return pieces_.empty(); }

  // What of [begin, end) the side lacks; it has it from now on. Bytes that nothing wrote are on neither side.
  std::vector<std::pair<std::int64_t, std::int64_t>> Fetch(std::int64_t begin, std::int64_t end, bool host) {
    std::vector<std::pair<std::int64_t, std::int64_t>> lacking;
    for (const Piece& p : pieces_) {
      if (p.end <= begin || end <= p.begin || (host ? p.host : p.device)) continue;
      lacking.emplace_back(std::max(p.begin, begin), std::min(p.end, end));
    }
    std::vector<Piece> cut;
    for (Piece& p : pieces_) {
      if (p.end <= begin || end <= p.begin) {
        cut.push_back(p);
        continue;
      }
      if (p.begin < begin) cut.push_back({p.begin, begin, p.host, p.device});
      if (p.end > end) cut.push_back({end, p.end, p.host, p.device});
      cut.push_back({std::max(p.begin, begin), std::min(p.end, end), p.host || host, p.device || !host});
    }
    pieces_ = std::move(cut);
    std::sort(lacking.begin(), lacking.end());
    return lacking;
  }

 private:
  struct Piece {
    std::int64_t begin = 0, end = 0;
    bool host = false, device = false;
  };
  std::vector<Piece> pieces_;
};

// The first to read the input finds it on its side.
void GiveInput(const NativeProgram& program, bool host, std::vector<Freshness>& fresh) {
  Freshness& input = fresh[program.input];
  if (input.Nowhere()) input.Write(0, program.activations[program.input].bytes.value(), host);
}

bool IsActivation(const Operand& o) { return o.source == Operand::Source::kActivation; }

void NoteReaders(const NativeProgram& program, const std::vector<bool>& on_host, Readers& out) {
  for (std::size_t k = 0; k < program.kernels.size(); ++k) {
    for (const Operand& o : program.kernels[k].reads) {
      if (o.source == Operand::Source::kWeight) (OnHost(on_host, k) ? out.host : out.device)[o.id] = true;
    }
  }
}

bool TouchesTokensIn(bool host, const NativeProgram& program, const std::vector<bool>& on_host) {
  const auto tokens = [](const Operand& o) { return o.source == Operand::Source::kTokens; };
  for (std::size_t k = 0; k < program.kernels.size(); ++k) {
    const NativeKernel& kernel = program.kernels[k];
    if (OnHost(on_host, k) != host) continue;
    if (std::any_of(kernel.reads.begin(), kernel.reads.end(), tokens)) return true;
    if (std::any_of(kernel.writes.begin(), kernel.writes.end(), tokens)) return true;
  }
  return false;
}

}  // namespace

Crossings CrossingsOf(const NativeProgram& program, const std::vector<bool>& on_host) {
  if (std::find(on_host.begin(), on_host.end(), true) == on_host.end()) return {};
  Crossings out(program.kernels.size());
  std::vector<Freshness> fresh(program.activations.size());
  for (std::size_t k = 0; k < program.kernels.size(); ++k) {
    const bool host = OnHost(on_host, k);
    for (const Operand& o : program.kernels[k].reads) {
      if (!IsActivation(o)) continue;
      if (o.id == program.input) GiveInput(program, host, fresh);
      for (const auto& [begin, end] : fresh[o.id].Fetch(o.offset.base, o.offset.base + o.bytes.base, host)) {
        out[k].push_back({o.id, Bytes(begin), Bytes(end - begin)});
      }
    }
    for (const Operand& o : program.kernels[k].writes) {
      if (IsActivation(o)) fresh[o.id].Write(o.offset.base, o.offset.base + o.bytes.base, host);
    }
  }
  return out;
}

std::vector<Lifetime> LifetimesOn(bool host, const NativeProgram& program, const std::vector<bool>& on_host,
                                  const Crossings& crossings) {
  std::vector<Lifetime> out(program.activations.size());
  const auto touch = [&](std::int32_t activation, std::size_t k) {
    Lifetime& life = out[activation];
    if (life.first > life.last) life.first = activation == program.input ? 0 : static_cast<std::int32_t>(k);
    life.last = static_cast<std::int32_t>(k);
  };
  for (std::size_t k = 0; k < program.kernels.size(); ++k) {
    if (k < crossings.size()) {
      for (const Crossing& c : crossings[k]) touch(c.activation, k);  // both sides: read on one, written on the other
    }
    if (OnHost(on_host, k) != host) continue;
    for (const Operand& o : program.kernels[k].reads) {
      if (IsActivation(o)) touch(o.id, k);
    }
    for (const Operand& o : program.kernels[k].writes) {
      if (IsActivation(o)) touch(o.id, k);
    }
  }
  // What is fetched after the last kernel.
  for (const std::int32_t fetched : {program.logits, program.output.id}) {
    if (fetched == kNoId || out[fetched].first > out[fetched].last) continue;
    out[fetched].last = std::max(out[fetched].last, program.activations[fetched].last);
  }
  return out;
}

Readers ReadersOf(const NativeProgram& program, const std::vector<bool>& on_host, std::size_t tensors) {
  Readers out{std::vector<bool>(tensors), std::vector<bool>(tensors)};
  NoteReaders(program, on_host, out);
  return out;
}

Readers ReadersOf(const NativeModel& native, const NativeProposal& proposal, std::size_t tensors) {
  Readers out{std::vector<bool>(tensors), std::vector<bool>(tensors)};
  const auto note = [&](const WeightReads& reads, const std::vector<bool>& on_host) {
    for (std::size_t k = 0; k + 1 < reads.begin.size(); ++k) {
      std::vector<bool>& side = OnHost(on_host, k) ? out.host : out.device;
      for (std::size_t i = reads.begin[k]; i < reads.begin[k + 1]; ++i) side[reads.tensors[i]] = true;
    }
  };
  note(native.prefill_weights, proposal.prefill_on_host);
  note(native.decode_weights, proposal.decode_on_host);
  return out;
}

std::vector<bool> HostReaders(const NativeModel& native, const NativeProposal& proposal, std::size_t tensors) {
  if (proposal.prefill_on_host.empty() && proposal.decode_on_host.empty()) return std::vector<bool>(tensors);
  return ReadersOf(native, proposal, tensors).host;
}

bool TouchesTokens(bool host, const NativeModel& native, const NativeProposal& proposal) {
  return TouchesTokensIn(host, native.prefill, proposal.prefill_on_host) ||
         TouchesTokensIn(host, native.decode, proposal.decode_on_host);
}

}  // namespace stowage
