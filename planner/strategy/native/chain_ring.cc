#include "planner/strategy/native/chain_ring.h"

#include <utility>

namespace stowage {

ChainRings::ChainRings(ScheduleBuilder* b, const ChainCase* c, const ChainBuffers* buffers)
    : b_(*b), c_(*c), buffers_(*buffers) {
  slots_.resize(c->gpus());
  for (std::size_t g = 0; g < c->proposal.slots.size(); ++g) slots_[g].resize(c->proposal.slots[g]);
}

ChainRings::Slot& ChainRings::SlotOf(bool decode, std::int32_t item) {
  const ChainPass& pass = PassOf(decode);
  return slots_[c_.proposal.gpu[pass.units.items[item].tensor]][pass.item_slot[item]];
}

StepId ChainRings::Bring(bool decode, std::int32_t item) {
  const StreamItem& piece = PassOf(decode).units.items[item];
  const std::int64_t skipped = piece.row_begin - c_.whole.master_begin[piece.tensor];
  const Slice from = {buffers_.master[piece.tensor], AffineBytes(RowBytes(c_.model().tensors[piece.tensor]) * skipped),
                      AffineBytes(piece.bytes)};
  const BufferId to = (decode ? buffers_.decode_pieces : buffers_.prefill_pieces)[item];
  Slot& slot = SlotOf(decode, item);
  std::vector<StepRef> after;
  if (slot.read >= 0) after.push_back({slot.read});
  const Lane& lane = buffers_.gpus[c_.proposal.gpu[piece.tensor]].in;
  const StepId copy = b_.Copy(lane, from, b_.Whole(to), std::move(after));
  if (slot.first < 0) slot.first = copy;
  return copy;
}

void ChainRings::WasRead(bool decode, std::int32_t item, StepId launch) { SlotOf(decode, item).read = launch; }

void ChainRings::BeginBody() {
  for (auto& gpu : slots_) {
    for (Slot& slot : gpu) slot.first = -1;
  }
}

// The first iteration waited for the prefill's launches, where those used the slot at all.
void ChainRings::EndBody() {
  for (auto& gpu : slots_) {
    for (Slot& slot : gpu) {
      if (slot.first >= 0) b_.step(slot.first).after.push_back({slot.read, 1});
    }
  }
}

}  // namespace stowage
