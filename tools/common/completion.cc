#include "tools/common/completion.h"

#include <fmt/format.h>

namespace stowage {
namespace {

// @COMMAND@: what fills `command` with the command typed so far, for tools that have commands.
constexpr std::string_view kBash =
    R"sh(# bash completion of @TOOL@: source it, or install it as share/bash-completion/completions/@TOOL@
_stowage_@TOOL@() {
  local tool=$1 current=$2 command=()
@COMMAND@  [[ $current == -* || $COMP_CWORD -eq 1 ]] || return 0
  mapfile -t COMPREPLY < <(compgen -W "$("$tool" "${command[@]}" --completion words 2>/dev/null)" -- "$current")
}
complete -o default -o bashdefault -F _stowage_@TOOL@ @TOOL@
)sh";
constexpr std::string_view kBashCommand =
    "  [[ $COMP_CWORD -gt 1 && ${COMP_WORDS[1]} != -* ]] && command=(\"${COMP_WORDS[1]}\")\n";

constexpr std::string_view kZsh =
    R"sh(#compdef @TOOL@
# zsh completion of @TOOL@: source it, or install it as _@TOOL@ in a folder of fpath
_stowage_@TOOL@() {
  local -a command candidates
@COMMAND@  if [[ $PREFIX == -* ]] || (( CURRENT == 2 )); then
    candidates=(${(f)"$($words[1] $command --completion words 2>/dev/null)"})
    compadd -- $candidates
  fi
  [[ $PREFIX == -* ]] || _files
}
if [[ ${funcstack[1]} == _@TOOL@ ]]; then _stowage_@TOOL@ "$@"; else compdef _stowage_@TOOL@ @TOOL@; fi
)sh";
constexpr std::string_view kZshCommand = "  (( CURRENT > 2 )) && [[ $words[2] != -* ]] && command=($words[2])\n";

constexpr std::string_view kFish =
    R"sh(# fish completion of @TOOL@: source it, or install it as share/fish/vendor_completions.d/@TOOL@.fish
function __stowage_@TOOL@
  set -l words (commandline -opc)
  set -l command
@COMMAND@  @TOOL@ $command --completion words 2>/dev/null
end
complete -c @TOOL@ -n 'string match -q -- "-*" (commandline -ct); or test (count (commandline -opc)) -eq 1' -a '(__stowage_@TOOL@)'
)sh";
constexpr std::string_view kFishCommand =
    "  if test (count $words) -gt 1; and not string match -q -- '-*' $words[2]\n    set command $words[2]\n  end\n";

std::string Filled(std::string_view script, std::string_view tool, std::string_view command) {
  std::string out(script);
  const auto replace = [&](std::string_view mark, std::string_view text) {
    for (std::size_t at = out.find(mark); at != std::string::npos; at = out.find(mark, at + text.size()))
      out.replace(at, mark.size(), text);
  };
  replace("@COMMAND@", command);
  replace("@TOOL@", tool);
  return out;
}

}  // namespace

Result<std::string> CompletionScript(std::string_view shell, std::string_view tool, bool commands) {
  if (shell == "bash") return Filled(kBash, tool, commands ? kBashCommand : "");
  if (shell == "zsh") return Filled(kZsh, tool, commands ? kZshCommand : "");
  if (shell == "fish") return Filled(kFish, tool, commands ? kFishCommand : "");
  return Error{ErrorCode::kInvalidInput, fmt::format("'{}' is not bash, zsh or fish", shell)};
}

}  // namespace stowage
