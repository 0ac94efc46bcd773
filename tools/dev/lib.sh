# What the subcommands of ./dev are made of: messages, progress, packages, Bazel. Sourced by it, in the repository root.
# shellcheck shell=bash

say() { printf '%s\n' "dev: $*" >&2; }
die() { # die EXIT_CODE MESSAGE
  say "$2"
  exit "$1"
}

work_dir() { # a private temporary directory, removed at exit
  if [ -z "${tmp:-}" ]; then
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
  fi
}

draw_progress() { # draw_progress LOG WHAT PATTERN: a line on stderr each second, the last of LOG that matches
  local shown=0 line
  while sleep 1; do
    line=$(grep -aoE "$3" "$1" 2>/dev/null | tail -n 1 | cut -c -90 || true)
    if [ -t 2 ]; then
      printf '\r\033[K%s  %s' "$2" "$line" >&2
    elif [ $((shown % 30)) -eq 0 ]; then
      printf '%s  %s\n' "$2" "$line" >&2
    fi
    shown=$((shown + 1))
  done
}

with_progress() { # with_progress LOG WHAT PATTERN COMMAND...: its output goes to LOG; silent when it is quick
  local rc=0 drawer
  draw_progress "$1" "$2" "$3" &
  drawer=$!
  "${@:4}" >"$1" 2>&1 </dev/null || rc=$?
  kill "$drawer" 2>/dev/null || true
  wait "$drawer" 2>/dev/null || true
  [ -t 2 ] && printf '\r\033[K' >&2
  return $rc
}

# ---- packages -------------------------------------------------------------------------------------------------------

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif ! command -v sudo >/dev/null; then
    return 1
  elif [ -t 0 ]; then
    sudo "$@"
  else
    sudo -n "$@" # without a terminal a password prompt would hang
  fi
}

missing_packages() { # prints those of the arguments that are not installed
  local installed
  # shellcheck disable=SC2016  # dpkg-query's own format
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
  local p
  for p in "$@"; do
    case $'\n'"$installed"$'\n' in
      *$'\n'"$p installed"$'\n'*) ;;
      *) echo "$p" ;;
    esac
  done
}

apt() { # quiet when it works: what it says goes to a log
  work_dir
  with_progress "$tmp/apt.log" "apt-get $1" '^(Get:|Unpacking|Setting up).*' \
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq "$@"
}

need() { # need WHY PACKAGE...: installs what is missing
  local why=$1
  shift
  if ! command -v dpkg-query >/dev/null; then
    command -v bazel >/dev/null || die 3 "not a Debian or Ubuntu system: install the equivalents of: $*"
    return 0
  fi
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -eq 0 ] && return 0
  say "installing what is needed to $why and missing: ${missing[*]}"
  # Asks for the password, if it must, before anything is drawn.
  as_root true || die 3 "not root, and sudo is missing or refuses; as root: apt-get install ${missing[*]}"
  apt install -y --no-install-recommends "${missing[@]}" && return 0
  say "updating the package lists, which seem to be old or empty"
  apt update || say "apt-get update failed; trying with the lists there are: $(tail -n 1 "$tmp/apt.log")"
  apt install -y --no-install-recommends "${missing[@]}" && return 0
  tail -n 20 "$tmp/apt.log" >&2
  die 3 "could not install: ${missing[*]}"
}

# ---- bazel ----------------------------------------------------------------------------------------------------------

bazel() { # Debian's, even when another one (bazelisk) comes first in PATH
  if [ -x /usr/bin/bazel ]; then /usr/bin/bazel "$@"; else command bazel "$@"; fi
}

query() { bazel query --noshow_progress "$@" 2>/dev/null; }

quiet_build() { # quiet_build WHAT BAZEL_ARGUMENTS...: silent when quick; the log on stderr when it fails
  work_dir
  local what=$1
  shift
  with_progress "$tmp/build.log" "building $what" '^\[[0-9,]+ / [0-9,]+\].*|^Another command.*' \
    bazel build --curses=no --color=no --show_progress_rate_limit=1 "$@" && return 0
  grep -avE '^\[[0-9,]+ / [0-9,]+\]|^(Loading|Analyzing):' "$tmp/build.log" >&2 || true
  return 3
}

tool_labels() { query "attr(testonly, 0, kind('cc_binary rule', //tools:all)) except filter('_bench$', //tools:all)"; }

binary_of() { # //a/b:c -> bazel-bin/a/b/c
  local label=${1#//}
  echo "bazel-bin/${label/://}"
}

existing() { # keeps the //folder/... patterns whose folder has packages: Bazel refuses one that matches nothing
  local pattern folder
  for pattern in "$@"; do
    folder=${pattern#//}
    folder=${folder%%:*}
    folder=${folder%...}
    if [ -n "$(find "./$folder" -name BUILD -print -quit 2>/dev/null)" ]; then echo "$pattern"; fi
  done
}

everything_unless() { # everything_unless ARGUMENTS...: prints //... when none of them names a target
  local argument
  for argument in "$@"; do
    case $argument in //* | -//* | @*) return 0 ;; esac
  done
  echo //...
}

count() { echo "$1 passed, $2 failed, $3 skipped"; }

run_tests() { # run_tests BAZEL_ARGUMENTS...: ends with the count line; non-zero if a test failed or none ran
  work_dir
  local rc=0 view=(--curses=no --color=no --show_progress_rate_limit=60)
  [ -t 1 ] && view=(--curses=auto)
  if [ -z "${STOWAGE_SHARED:-}" ] && [ -d ../shared ]; then
    STOWAGE_SHARED=$(cd ../shared && pwd)
    export STOWAGE_SHARED
  fi
  bazel test --keep_going "${view[@]}" --build_event_json_file="$tmp/events.json" "$@" </dev/null || rc=$?
  python3 tools/dev/test_summary.py "$tmp/events.json" || rc=1
  return $rc
}
