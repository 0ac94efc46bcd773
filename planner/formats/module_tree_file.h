// A module tree file: any PyTorch model as tools/python/dump_modules.py writes it, to be planned without its code.
//
//   {"root": NODE, "tied_groups": [[name, ...], ...], "no_split_modules": [class, ...]}
//   NODE = {"class": str, "params": [{"name", "shape", "dtype", "id"}], "buffers": [{..., "persistent": bool}],
//           "children": [[name, NODE], ...], "same_module_object_as": dotted name}
//
// Order is registration order. Every field may be absent: a tensor is then float32, a scalar, persistent. Tensors are
// tied when they have the same id (an integer or a string) or stand in one tied group; they must agree in shape and
// dtype, and the first registered owns the storage. Model::tied_groups has the order of the file's, as accelerate's maps
// may depend on it (infer.h). A node with same_module_object_as is the module of that name again,
// which must come before it: it gets copies of that module's tensors and children, tied to them, and what it lists itself
// is not read. Unknown keys are skipped.
//
// The file is treated as hostile: nesting is limited (20 modules deep), names to 1000 bytes, the model to 2^22 modules and
// 2^22 tensors, sums of bytes to 2^62, and the sum of all names to a small multiple of the file.
#pragma once

#include <string>
#include <string_view>

#include "planner/base/result.h"
#include "planner/model/model.h"

namespace stowage {

// Model::family is "module tree", Model::shape all zeros: what the tensors compute is not known. kIo: cannot be read;
// kInvalidInput names the module or tensor at fault.
Result<Model> ReadModuleTree(const std::string& path);

// The same from text; `where` starts every message, `name` becomes Model::name.
Result<Model> ParseModuleTree(std::string_view text, const std::string& where, std::string name);

}  // namespace stowage
