// Eager PyTorch: what one pass of a Hugging Face model allocates, launches and releases, in order.
//
// Eager torch has no plan. Every operator allocates its result when Python calls it, and a result dies when Python
// drops its last reference: a temporary as soon as the operator that used it returns, a local variable when it is
// assigned again or its function returns. So the order of events is a property of the Python text. RealizeTorch follows
// that text (transformers 5.23, scaled_dot_product_attention by a fused kernel, DynamicCache that grows by
// concatenation) reference by reference; a family's file reads side by side with its modeling_*.py.
//
// Long because the noun is one: what is made here, what hooks add to it (torch_hooks.h too) and what is compared.
//
// Truth: tests/goldens/torch_traces, recorded from the real code under fake tensors; equal event by event.
//
//   kAllocate  #7 mm.default 4194304          model.layers.0.self_attn.q_proj
//   kCompute   mm.default  reads #5, weight   writes #7
//   kRelease   #5
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "planner/base/check.h"
#include "planner/base/result.h"
#include "planner/base/units.h"
#include "planner/model/model.h"
#include "planner/model/request.h"

namespace stowage {

using StorageId = std::int32_t;

// A few items in place: an event has so few operands that a heap block for each list would cost more than the rest.
template <class T, std::size_t N>
class ShortList {
 public:
  void push_back(T item) {
    STOWAGE_CHECK(size_ < N);
    items_[size_++] = item;
  }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const T* begin() const { return items_.data(); }
  const T* end() const { return items_.data() + size_; }
  T operator[](std::size_t i) const { return items_[i]; }

 private:
  std::array<T, N> items_ = {};
  std::uint8_t size_ = 0;
};

// What a storage is for, as far as a peak's list of buffers or the next pass needs to know.
// kModel: the model made it for its next passes and never lets go. The last five are of torch_hooks.h: a weight that
// stays on the device, its place on the host, that of a buffer held twice, and a buffer that a pass found there, left there.
enum class TorchRole : std::uint8_t {
  kTemporary,
  kTokenIds,
  kCache,
  kLogits,
  kUpload,
  kModel,
  kMoved,
  kMaster,
  kTwin,
  kLingering,
  kLingers
};
enum class TorchPlace : std::uint8_t { kDevice, kPageable, kPinned };

// One torch storage: an allocation of the caching allocator. Views share it. Bytes of iteration i, before rounding.
struct TorchStorage {
  std::string_view op = {};  // the operator that made it ("mm.default"), or "past"; static text
  AffineBytes bytes = {};
  ModuleId module = kNoId;  // where it was made
  TorchRole role = TorchRole::kTemporary;
  TensorId tensor = kNoId;  // kUpload, and kMoved to kLingers: the weight it is a copy of
  std::int16_t gpu = 0;     // whose memory it is in
  // Of the view that modules are given and that a copy takes, where it is not the whole: expanded masks, last positions.
  std::optional<AffineBytes> view = std::nullopt;
  bool returned = false;  // a module that is given it returns it, and its caller goes on with what was returned
  // Of hooks that are not accelerate's leaf-wise ones (torch_hooks.h):
  TorchPlace place = TorchPlace::kDevice;
  std::int8_t stream = 0;  // kDevice: whose memory it comes from; 0 computes, 1 copies
};

enum class TorchEventKind : std::uint8_t {
  kAllocate,  // storage
  kRelease,   // storage: its last reference is gone
  kCompute,   // a kernel is launched on the default stream
  kUpload,    // a copy of host memory into `storage`; without a source (`reads`) a blocking one of the pageable weight
  kMove,      // reads[0], on another GPU, is copied into `storage`, on the stream of the former
  kEmptyCache,  // torch.cuda.empty_cache()
  kEnter,       // a module's forward begins (before its hooks)
  kExit,        // and ends (after its hooks)
  // torch_hooks.h only:
  kDownload,      // a blocking copy of reads[0] to pageable memory, writes[0]
  kPin,           // reads[0], pageable, is copied to pinned memory, writes[0]
  kReadFile,      // a weight's bytes come from a file to pageable memory, writes[0]
  kUseStream,     // what follows is allocated and copied on `stream`
  kWaitStream,    // the host waits for all work of `stream`
  kRecordStream,  // `storage` is not reused before stream 0 has done its work so far
};

struct TorchEvent {
  TorchEventKind kind = TorchEventKind::kCompute;
  StorageId storage = kNoId;
  ModuleId module = kNoId;  // the innermost module that runs; kEnter, kExit: the module itself
  std::int16_t gpu = 0;     // kCompute: where the kernel runs
  std::int8_t stream = 0;   // kUseStream, kWaitStream
  bool async = false;       // kUpload: on stream 1, and the host goes on
  // kCompute only (`reads` of kEnter: what the module is given, but does not read):
  std::string_view op = {};  // static text
  DType dtype = DType::kBF16;
  ShortList<StorageId, 6> reads = {};
  ShortList<StorageId, 2> writes = {};
  ShortList<TensorId, 2> weights =
      {};  // parameters and buffers; resident ones and, after hooks were added, uploaded ones alike
  AffineFlops flops = {};
  AffineBytes moved = {};  // device memory traffic, each operand once; an embedding reads only the rows it gathers
};

struct TorchProgram {
  Pass pass;
  DType dtype = DType::kBF16;
  std::vector<TorchStorage> storages;
  std::vector<TorchEvent> events;
  std::vector<StorageId> past;   // alive before the pass: per layer keys, values (static: and the count of positions).
                                 // A decode pass releases them, but what it hands on as it is (static ones, those of
                                 // cross attention), which has the same place in `cache`
  std::vector<StorageId> kept;   // alive after it: what the caller holds, in the order in which it would let go: the
                                 // logits (hidden states without a head), then per layer keys, values
  std::vector<StorageId> cache;  // of `kept`, the keys and values (static: and counts): the `past` of the next pass
  // A mask's .to() of a static layer's count of positions: nothing on one GPU. Over several, it is copied to where the
  // mask is made, from the allocation of `first` to the release of `last`.
  struct Offset {
    StorageId count, first, last;
  };
  std::vector<Offset> offsets;
  bool crossed = false;      // `cache` is the encoder's result, then per layer own keys and values, and those of it
  std::vector<bool> hooked;  // by ModuleId, whether one of accelerate's hooks is attached; empty: none at all
  bool own_text = false;     // a decode pass that is no repetition of the first pass's text (it runs no encoder)
  std::int64_t buffers = 0;  // offloaded: buffers that the hooks moved to the device when they were attached
};

// Pass::keeps_cache false is use_cache=False as generate() runs it, with an attention mask of ones: keys and values die with
// their layer's attention.
//
// Iteration i of a decode pass has pass.past + i * pass.past_step positions in its cache; all sizes are affine in i. Where
// a sliding window is full, masks appear and its cache stops growing: if iteration 0 is on one side of TurnOf, the
// program describes the iterations of that side only. There, `past` has what a pass sees of its cache; the storages are
// those that the pass before it left as `cache`.
// kInvalidInput: a family or an option of one that is not realized, more than one new token over a cache, a module or
// weight that the Python class has and the model lacks.
Result<TorchProgram> RealizeTorch(const Model& model, const Pass& pass);

// The number of cached positions from which on a pass of one token sees a full sliding window; nothing without windows,
// or where a static cache is no longer than they are. All windows of a model are equally wide.
std::optional<std::int64_t> TurnOf(const Model& model, const Pass& pass);

// accelerate's cpu_offload: each module that owns parameters uploads them, one blocking copy and one flush of the cache
// each, before its forward, and drops them after it. Buffers stay on the device. A tied weight is uploaded by each of
// its users: cpu_offload passes no map of tied weights.
TorchProgram AddSequentialOffloadHooks(TorchProgram program, const Model& model);

// accelerate's dispatch_model on a map with parts off the GPU: `offloaded` parameters (by TensorId) are uploaded by the
// modules that own them, as above; the others stay. Every module that holds something of a state_dict has a hook that
// does at least nothing. Of a tied weight all users must be offloaded, or none.
TorchProgram AddDispatchHooks(TorchProgram program, const Model& model, const std::vector<bool>& offloaded);

// A program in the form of the trace recorder: [name, bytes], positive for an allocation, negative for a release.
struct TorchTrace {
  Bytes parameters;  // and buffers, a tied weight once
  Bytes peak_live;
  Bytes peak_rounded;  // each storage rounded up to 512 bytes
  Bytes kept;
  std::vector<std::pair<std::string, std::int64_t>> events;
};

// The recorder's view of one iteration. It sees the caller drop its results at the end; of a decode pass it sees the
// cache appear first ("past"); and flushes even while it is not recording: those of attaching hooks, one per buffer,
// and of the prefill that fills the cache for a decode pass. `modules` adds "> path" and "< path".
TorchTrace RecorderForm(const TorchProgram& program, const Model& model, std::int64_t iteration = 0,
                        bool modules = false);

}  // namespace stowage
