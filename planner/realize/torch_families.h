// The families that eager torch is realized for: one function each, in a file of its own (group). Internal to
// planner/realize.
#pragma once

#include "planner/realize/torch_words.h"

namespace stowage::torch_eager {

// Writes one pass: adopts the cache, makes the inputs, runs the root module, keeps what the caller holds. What is not
// realized is refused before anything else; what the model lacks is found in TorchWords::status() afterwards.
using Forward = Status (*)(TorchWords& t);

Status ForwardBert(TorchWords& t);
Status ForwardBloom(TorchWords& t);
Status ForwardClipText(TorchWords& t);
Status ForwardCohere(TorchWords& t);
Status ForwardDeepseekV2(TorchWords& t);
Status ForwardDeepseekV3(TorchWords& t);
Status ForwardFalcon(TorchWords& t);
Status ForwardGemma(TorchWords& t);
Status ForwardGemma2(TorchWords& t);
Status ForwardGemma3(TorchWords& t);
Status ForwardGpt2(TorchWords& t);
Status ForwardGptJ(TorchWords& t);
Status ForwardGptNeoX(TorchWords& t);
Status ForwardGptOss(TorchWords& t);
Status ForwardLlama(TorchWords& t);
Status ForwardLlama4(TorchWords& t);
Status ForwardMistral(TorchWords& t);
Status ForwardMixtral(TorchWords& t);
Status ForwardOlmo2(TorchWords& t);
Status ForwardOpt(TorchWords& t);
Status ForwardPhi3(TorchWords& t);
Status ForwardQwen2(TorchWords& t);
Status ForwardQwen3(TorchWords& t);
Status ForwardQwen3Moe(TorchWords& t);
Status ForwardSmolLm3(TorchWords& t);
Status ForwardStarcoder2(TorchWords& t);
Status ForwardT5(TorchWords& t);
Status ForwardVit(TorchWords& t);
Status ForwardWhisper(TorchWords& t);

// nullptr: not realized.
Forward FindForward(std::string_view family);

}  // namespace stowage::torch_eager
