#include "tools/common/completion.h"

#include <fmt/format.h>

namespace stowage {
namespace {

// {0} is the tool; {1} what fills `command` with the command typed so far.
constexpr std::string_view kBash = R"(# bash completion of {0}: source it, or install it as share/bash-completion/completions/{0}
_stowage_{0}() {{
  local tool=$1 current=$2 command=()
{1}  [[ $current == -* || $COMP_CWORD -eq 1 ]] || return 0
  mapfile -t COMPREPLY < <(compgen -W "$("$tool" "${{command[@]}}" --completion words 2>/dev/null)" -- "$current")
}
}
complete -o default -o bashdefault -F _stowage_{0} {0}
)";
constexpr std::string_view kBashCommand =
    "  [[ $COMP_CWORD -gt 1 && ${COMP_WORDS[1]} != -* ]] && command=(\"${COMP_WORDS[1]}\")\n";

constexpr std::string_view kZsh = R"(#compdef {0}
# zsh completion of {0}: source it, or install it as _{0} in a folder of fpath
_stowage_{0}() {{
  local -a command candidates
{1}  if [[ $PREFIX == -* ]] || (( CURRENT == 2 )); then
    candidates=(${{(f)" $($words[1] $command-- completion words 2 > / dev / null) "}})
                                  compadd-- $candidates fi [[$PREFIX == -*]] ||
                                  _files
}
}
if
  [[${{funcstack[1]}} == _{0}]];
then _stowage_ { 0 }
"$@";
else compdef _stowage_{0} {0}; fi
)";
constexpr std::string_view kZshCommand = "  (( CURRENT > 2 )) && [[ $words[2] != -* ]] && command=($words[2])\n";

constexpr std::string_view kFish =
    R"(# fish completion of {0}: source it, or install it as share/fish/vendor_completions.d/{0}.fish
function __stowage_{0}
  set -l words (commandline -opc)
  set -l command
{1}  {0} $command --completion words 2>/dev/null
end
complete -c {0} -n 'string match -q -- "-*" (commandline -ct); or test (count (commandline -opc)) -eq 1' -a '(__stowage_{0})'
)";
constexpr std::string_view kFishCommand =
    "  if test (count $words) -gt 1; and not string match -q -- '-*' $words[2]\n    set command $words[2]\n  end\n";

}  // namespace

Result<std::string> CompletionScript(std::string_view shell, std::string_view tool, bool commands) {
  if (shell == "bash") return fmt::format(kBash, tool, commands ? kBashCommand : "");
  if (shell == "zsh") return fmt::format(kZsh, tool, commands ? kZshCommand : "");
  if (shell == "fish") return fmt::format(kFish, tool, commands ? kFishCommand : "");
  return Error{ErrorCode::kInvalidInput, fmt::format("'{}' is not bash, zsh or fish", shell)};
}

}  // namespace stowage
