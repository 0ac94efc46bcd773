// Facts of public models by name, so that a question needs no download: sizes only, from the published config.json
// files. Spelling is forgiven: case, separators, the organisation and endings such as -Instruct or -hf do not matter
// ("meta-llama/Llama-3.1-8B-Instruct", "llama3.1:8b" and "llama-3.1-8b" are one model).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/model.h"

namespace stowage {

struct ZooEntry {
  std::string name;                  // "llama-3.1-8b"
  std::string hub_id;                // "meta-llama/Llama-3.1-8B"
  std::vector<std::string> aliases;  // "llama-8b"
};

std::vector<ZooEntry> ZooEntries();  // in the order of the table
bool IsInZoo(std::string_view name);

// kInvalidInput for an unknown name, with the nearest known one.
Result<Model> ZooModel(std::string_view name);

// The name of the table that `name` stands for ("llama-3.1-8b"); "" for an unknown one.
std::string ZooName(std::string_view name);

// The model `what` stands for: an existing folder, an existing file, a repository in the local Hugging Face cache `hub`
// (its folder; "": none), or a zoo name, tried in this order. Model::origin says which it was.
//   folder                     its config.json; with safetensors beside it, also where each tensor lies, after checking
//                              that both agree; without config.json its only GGUF model
//   *.safetensors, *.index.json  the same, with the config.json of its folder and no other weights than these
//                              Weights without a config.json, or with a model_type that is not known, are a model of
//                              their headers alone: its class_name starts with "weights only"
//   *.bin.index.json           names and shards only: shapes are those of the config.json beside it, if there is one
//   *.modules.json             a module tree of any PyTorch model (tools/python/dump_modules.py)
//   *.gguf                     names, shapes and stored types; sizes of the cache for the architecture llama
//   other *.json               a config.json alone: no weights
//   org/name, org/name@revision  the snapshot in `hub`. If the zoo knows org/name too, the snapshot is taken when it has
//                              weights: files that are there say more than facts about them. A name without a slash is
//                              the zoo's if it knows it
// Headers only are read. kIo: cannot be read; kInvalidInput: anything wrong in the files.
Result<Model> LoadModel(const std::string& what, const std::string& hub = "");

}  // namespace stowage
