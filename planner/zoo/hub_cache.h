// Models in the local cache of Hugging Face's hub library:
//
//   HUB/models--meta-llama--Llama-3.1-8B/refs/main               the commit, as text
//                                       /snapshots/<commit>/...  the files: symbolic links into blobs/
//                                       /blobs/...               a name in ".incomplete" is still being downloaded
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "planner/base/result.h"

namespace stowage {

struct HubId {
  std::string repo;               // "meta-llama/Llama-3.1-8B", or without an organisation: "gpt2"
  std::string revision = "main";  // a branch, a tag or a commit
  bool has_revision = false;      // the user gave it
};

// "org/name", "name", either with "@revision". Nothing for what cannot be a repository's name.
std::optional<HubId> ParseHubId(std::string_view what);

struct HubSnapshot {
  std::string folder;
  std::string commit;
};

// Nothing when the cache folder `hub` (or "") does not know the repository. kInvalidInput: it knows it, but not this
// revision, or its snapshot is gone.
Result<std::optional<HubSnapshot>> FindHubSnapshot(const std::string& hub, const HubId& id);

// Whether a download into the repository's folder has not ended.
bool IsHubDownloadIncomplete(const std::string& hub, const HubId& id);

}  // namespace stowage
