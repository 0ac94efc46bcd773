// Arenas of a native run and what lies where in them, before any step exists.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/strategy/native/on_host.h"
#include "planner/strategy/native/proposal.h"

namespace stowage {

inline constexpr Bytes kAlignment{256};  // of every buffer: cudaMalloc's guarantee, and enough for 16-byte loads

// A row range of a matrix that passes through the ring once a pass.
struct StreamItem {
  TensorId tensor = kNoId;
  std::int64_t row_begin = 0;
  std::int64_t row_end = 0;
  Bytes bytes;
};

// One launch: a whole kernel, the part of a grouped one whose matrices are wholly resident, or a row tile of a matrix.
struct Unit {
  enum class Part : std::uint8_t { kWhole, kResident, kTile };
  std::int32_t kernel = 0;  // index into NativeProgram::kernels
  std::int16_t tile = 0;    // of how many: see UnitsOf
  Part part = Part::kWhole;
  std::int32_t matrix = 0;  // kTile: which of the kernel's, and its rows
  std::int64_t row_begin = 0;
  std::int64_t row_end = 0;
  std::int32_t item = -1;  // the StreamItem it consumes; -1: its weights are resident, or gathered
};

struct PassUnits {
  std::vector<Unit> units;          // in execution order
  std::vector<std::int16_t> tiles;  // by kernel
  std::vector<StreamItem> items;    // in order of use
};

// `on_host`: the proposal's, of this program.
PassUnits UnitsOf(const NativeProgram& program, const std::vector<bool>& on_host, const NativeModel& native,
                  const Model& model, const NativeProposal& proposal);

// By matrix of the kernel: whether all of its rows are resident.
std::vector<bool> WhollyResident(const NativeKernel& kernel, const Model& model, const NativeProposal& proposal);

// The activations of one program that one side touches, packed.
struct SideActivations {
  std::vector<Bytes> at;    // by activation
  std::vector<bool> there;  // by activation: the side touches it
  Bytes size;
  Bytes lower_bound;
};

struct NativeLayout {
  std::vector<Bytes> weight_offset;  // by TensorId: of its resident rows in "weights"
  Bytes weights;
  std::vector<std::int64_t> master_begin;  // by TensorId: first row kept in "host_weights"; == rows: none
  std::vector<Bytes> master_offset;
  Bytes masters;
  Bytes kv;                               // keys of layer 0, values of layer 0, keys of layer 1, …
  Bytes host_kv;                          // likewise, of the layers whose caches are on the host
  std::vector<Bytes> keys_at, values_at;  // by layer, in "kv" or "host_kv"
  SideActivations prefill, decode, host_prefill, host_decode;
  Bytes activations;  // the larger of a side's two
  Bytes host_activations;
  Bytes tokens;
  Bytes device_tokens;       // nothing when no kernel of the device reads or writes them
  bool ids_on_host = false;  // each pass's tokens go to "tokens_out": the host embeds or chooses them
  Bytes host_buffers;        // prompt or other input, answer, logits and computed tables in host memory
  Crossings prefill_crossings, decode_crossings;
};

// "layers.3.keys": what a cache of NativeProgram::caches is called. Those of cross attention come after all layers' own.
std::string CacheName(const Model& model, std::size_t cache, std::string_view what);

NativeLayout LayOut(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal);

}  // namespace stowage
