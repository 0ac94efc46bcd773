#!/usr/bin/env bash
# What a machine with a CUDA device is asked: do the kernels agree with their references, and does what was predicted
# happen? Self-contained: lies in the pack that `./dev gpu-check` makes, beside bin/ tests/ bench/, and needs nothing
# else but bash, awk and the driver.
#
#   ./gpu_check.sh [OUT]      OUT (default ./gpu_check_out) gets device.csv, one log per test, one JSON per run
set -uo pipefail
pack=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
readonly pack
out=${1:-./gpu_check_out}
mkdir -p "$out/tests" "$out/bench" "$out/runs"
out=$(cd "$out" && pwd)
readonly out
passed=0 failed=0 skipped=0

# The closed loop: a model, then runs of it. Each run executes on the device and writes predicted beside measured.
#   model  NAME ARGUMENTS OF fabricate
#   run    NAME MODEL ARGUMENTS OF execute
closed_loop() {
  model small --model llama-8b --layers 4 --hidden 512 --vocab 2048
  model medium --model llama-8b --layers 8
  run small-resident small --gpu 200MB --strategy resident --tokens 1,2,3 --new 32
  run small-ring small --gpu 20MB --strategy ring --tokens 1,2,3 --new 32
  run medium-resident medium --gpu 12GB --cpu 16GB --strategy resident --prompt 512 --new 64
  run medium-ring-half medium --gpu 4GB --cpu 16GB --strategy ring --prompt 512 --new 64
  run medium-ring-tight medium --gpu 3GB --cpu 16GB --strategy ring --prompt 512 --new 64
  same_tokens small-resident small-ring
  same_tokens medium-resident medium-ring-half
  same_tokens medium-resident medium-ring-tight
}

# What is streamed must not change what is computed.
same_tokens() {
  local a=$out/runs/$1.json b=$out/runs/$2.json
  [ -s "$a" ] && [ -s "$b" ] || return 0
  if [ "$(tokens_of "$a")" = "$(tokens_of "$b")" ]; then
    result passed "tokens of $1 and $2 are the same"
  else
    result failed "tokens of $1 and $2 differ"
  fi
}
tokens_of() { sed -n '/"tokens"/,/\]/p' "$1"; }

model() {
  local name=$1 log=$out/runs/fabricate-$1.log
  shift
  [ -x "$pack/bin/fabricate" ] || return 0
  if "$pack/bin/fabricate" "$@" --out "$models/$name" >"$log" 2>&1; then
    echo "fabricated $name ($(du -sh "$models/$name" | cut -f1))"
  else
    result failed "fabricate $name: $(tail -n 1 "$log")"
  fi
}

run() {
  local name=$1 folder=$models/$2
  shift 2
  if [ ! -x "$pack/bin/execute" ] || [ ! -d "$folder" ]; then
    result skipped "run $name: no $([ -x "$pack/bin/execute" ] && echo "model" || echo "execute tool")"
  elif timeout 300 "$pack/bin/execute" --model "$folder" --devices cuda --json "$@" \
    >"$out/runs/$name.json" 2>"$out/runs/$name.log"; then
    result passed "run $name"
  else
    result failed "run $name (exit code $?): $(tail -n 1 "$out/runs/$name.log")"
  fi
}

result() { # result passed|failed|skipped WHAT
  case $1 in
    passed) passed=$((passed + 1)) ;;
    failed) failed=$((failed + 1)) ;;
    skipped) skipped=$((skipped + 1)) ;;
  esac
  echo "$1: $2"
}

describe_machine() {
  nvidia-smi --query-gpu=name,driver_version,memory.total,pcie.link.gen.max,pcie.link.width.max,clocks.max.sm \
    --format=csv >"$out/device.csv" 2>&1
  { nproc; sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1; grep MemTotal /proc/meminfo; } >"$out/host.txt"
  cp "$pack/VERSION" "$out/VERSION" 2>/dev/null
  tail -n +2 "$out/device.csv"
}

number_after() { # number_after LABEL LOG: gtest's "[  PASSED  ] 12 tests."
  awk -v label="$1" '$1 == "[" && $2 == label && $4 ~ /^[0-9]+$/ { n = $4 } END { print n + 0 }' "$2"
}

run_tests() {
  local test name log rc p f s
  for test in "$pack"/tests/*; do
    [ -x "$test" ] || continue
    name=$(basename "$test") log=$out/tests/$(basename "$test").log
    (cd "$out" && timeout 300 "$test" --gtest_color=no --gtest_output="json:$out/tests/$name.json") >"$log" 2>&1
    rc=$?
    p=$(number_after PASSED "$log") f=$(number_after FAILED "$log") s=$(number_after SKIPPED "$log")
    [ $rc -ne 0 ] && [ "$f" -eq 0 ] && f=1 # crashed or timed out
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    echo "$name: $p passed, $f failed, $s skipped"
    [ "$f" -gt 0 ] && tail -n 40 "$log"
  done
}

run_benchmarks() { # each prints JSON
  local bench name
  for bench in "$pack"/bench/*_bench; do
    [ -x "$bench" ] || continue
    name=$(basename "$bench")
    if timeout 300 "$bench" >"$out/bench/$name.json" 2>"$out/bench/$name.log"; then
      result passed "bench $name"
    else
      result failed "bench $name (exit code $?): $(tail -n 1 "$out/bench/$name.log")"
    fi
  done
}

if ! nvidia-smi -L >/dev/null 2>&1; then
  echo "skipped: no CUDA device (nvidia-smi -L fails)"
  exit 0
fi
models=$(mktemp -d "${TMPDIR:-/tmp}/stowage-gpu-check.XXXXXX")
trap 'rm -rf "$models"' EXIT
describe_machine
run_tests
run_benchmarks
closed_loop
echo "results in $out"
echo "$passed passed, $failed failed, $skipped skipped" | tee "$out/summary.txt"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
