#include "planner/zoo/hub_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <vector>

#include "planner/base/text.h"
#include "planner/formats/file.h"

namespace stowage {
namespace {

constexpr std::size_t kLongestName = 96;    // the hub's own limit
constexpr std::int64_t kLongestRef = 4096;  // bytes of a file that holds a commit
constexpr std::size_t kShownRevisions = 5;

// The hub's rule: letters, digits, '-', '_', '.'; no "--" or "..", neither '-' nor '.' at the ends.
bool IsRepoPart(std::string_view part) {
  const auto is_outer = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  if (part.empty() || !is_outer(part.front()) || !is_outer(part.back())) return false;
  if (part.find("--") != std::string_view::npos || part.find("..") != std::string_view::npos) return false;
  return std::all_of(part.begin(), part.end(), [&](char c) { return is_outer(c) || c == '-' || c == '.'; });
}

// Branches may have slashes ("refs/pr/1"), but stay below their folder.
bool IsRevision(std::string_view revision) {
  for (std::size_t begin = 0; begin <= revision.size();) {
    const std::size_t end = std::min(revision.find('/', begin), revision.size());
    const std::string_view part = revision.substr(begin, end - begin);
    if (part.empty() || part == "." || part == ".." || part.find('\0') != std::string_view::npos) return false;
    begin = end + 1;
  }
  return true;
}

std::string RepoFolder(const std::string& hub, const HubId& id) {
  std::string name = "models--" + id.repo;
  if (const std::size_t slash = name.find('/'); slash != std::string::npos) name.replace(slash, 1, "--");
  return JoinPath(hub, name);
}

std::string Trimmed(std::string text) {
  const auto is_space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!text.empty() && is_space(text.back())) text.pop_back();
  return text;
}

Error UnknownRevision(const std::string& folder, const HubId& id) {
  std::vector<std::string> known = NamesIn(JoinPath(folder, "refs"));
  if (known.empty()) known = NamesIn(JoinPath(folder, "snapshots"));
  const std::size_t count = known.size();
  known.resize(std::min(count, kShownRevisions));
  std::string there = count == 0 ? "no revision at all" : Join(known, ", ");
  if (count > kShownRevisions) there += ", ...";
  return {ErrorCode::kInvalidInput, fmt::format("{}: the Hugging Face cache has no revision '{}' of it; {} holds {}",
                                                id.repo, id.revision, folder, there)};
}

}  // namespace

std::optional<HubId> ParseHubId(std::string_view what) {
  HubId id;
  if (const std::size_t at = what.find('@'); at != std::string_view::npos) {
    id.revision = what.substr(at + 1);
    id.has_revision = true;
    what = what.substr(0, at);
  }
  const std::size_t slash = what.find('/');
  const bool named = slash == std::string_view::npos
                         ? IsRepoPart(what)
                         : IsRepoPart(what.substr(0, slash)) && IsRepoPart(what.substr(slash + 1));
  if (!named || what.size() > kLongestName || !IsRevision(id.revision)) return std::nullopt;
  id.repo = what;
  return id;
}

Result<std::optional<HubSnapshot>> FindHubSnapshot(const std::string& hub, const HubId& id) {
  const std::string folder = RepoFolder(hub, id);
  if (hub.empty() || !IsFolder(folder)) return std::optional<HubSnapshot>();
  std::string commit = id.revision;
  if (const std::string ref = JoinPath(folder, "refs/" + id.revision); IsFile(ref)) {
    STOWAGE_TRY(const std::string text, ReadTextFile(ref, kLongestRef));
    commit = Trimmed(text);
    if (!IsRevision(commit) || commit.find('/') != std::string::npos) {
      return Error{ErrorCode::kInvalidInput, fmt::format("{}: does not hold a commit", ref)};
    }
  }
  std::string snapshot = JoinPath(folder, "snapshots/" + commit);
  if (IsFolder(snapshot)) return std::optional(HubSnapshot{std::move(snapshot), std::move(commit)});
  return UnknownRevision(folder, id);
}

bool IsHubDownloadIncomplete(const std::string& hub, const HubId& id) {
  const std::vector<std::string> blobs = NamesIn(JoinPath(RepoFolder(hub, id), "blobs"));
  return std::any_of(blobs.begin(), blobs.end(), [](const std::string& name) { return name.ends_with(".incomplete"); });
}

}  // namespace stowage
