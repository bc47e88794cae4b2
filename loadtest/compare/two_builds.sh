#!/usr/bin/env bash
# Is one build of our broker slower than another, measured in the same minutes on the same machine?
#
#   loadtest/compare/two_builds.sh OLD_MQBROKER NEW_MQBROKER [OUT_DIR]
#                      ROUNDS=5 SECONDS_EACH=6 WARMUP=2 BROKER_CORE=0 LOADER_CORE=1 FLUSH=SYNC_FLUSH
#
# Both brokers have one shard on BROKER_CORE; only one of them is loaded at a time, and the loader has LOADER_CORE for itself.
# Each round begins with empty data directories and a load that is not measured, until the tail cache has wrapped: memory that
# is touched for the first time costs more. Each work is then measured with both builds one after the other, and every second
# round begins with the new one, so that a noisy minute hits both. Prints medians, and the ratio new/old of each round's pair:
# median, lowest, highest. All results stay in OUT_DIR (default: target/compare) as JSON lines.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: two_builds.sh OLD_MQBROKER NEW_MQBROKER [OUT_DIR]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
declare -A program=([old]=$1 [new]=$2)
out=${3:-$target/compare}
rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-6} warmup=${WARMUP:-2} flush=${FLUSH:-SYNC_FLUSH}
broker_core=${BROKER_CORE:-0} loader_core=${LOADER_CORE:-1}
. "$here/servers.sh"
require taskset
for build in old new; do
  [ -x "${program[$build]}" ] || { echo "two_builds: ${program[$build]} is no program" >&2; exit 1; }
done
(cd "$root" && cargo build --release -q -p loadtest --bin mqbench)
mkdir -p "$out"

work=$(mktemp -d "$out/run.XXXXXX")
trap 'stop_servers; rm -rf "$work"' EXIT
port=([old]=25911 [new]=26911) namesrv_port=([old]=25876 [new]=26876)

bench() { # BUILD WORK VERB ARGS...
  local build=$1 name=$2 verb=$3
  shift 3
  "$target/release/mqbench" "$verb" --addr "127.0.0.1:${port[$build]}" --core "$loader_core" \
    --broker-pid "${pid_of[$build]}" --queues 8 --json --label "$build/$name" "$@" >> "$results"
}

send() { # BUILD WORK ARGS...
  bench "$1" "$2" send --topic compare --body 128 --seconds "$seconds" --warmup "$warmup" "${@:3}"
}

measure() { # BUILD WORK
  case $2 in
    1x1) send "$1" "$2" --connections 1 --window 1 --spin ;;
    4x64) send "$1" "$2" --connections 4 --window 64 ;;
    16x64) send "$1" "$2" --connections 16 --window 64 ;;
    batch32) send "$1" "$2" --connections 4 --window 8 --batch 32 ;;
    pull)
      # Fits the tail cache: pulls measure the broker, not the disk.
      "$target/release/mqbench" fill --addr "127.0.0.1:${port[$1]}" --core "$loader_core" --topic pulled --queues 8 \
        --body 128 --messages 200000 > /dev/null
      bench "$1" "$2" pull --topic pulled --connections 1 --repeat 8
      ;;
  esac
}

round() { # BUILDS...
  local name build
  for build in "$@"; do
    start_ringmq "$build" "${program[$build]}" flushDiskType="$flush" tailCacheMiB=128
    seconds=1 warmup=3 results=/dev/null send "$build" warm-up --connections 4 --window 64
  done
  for name in 1x1 4x64 16x64 batch32 pull; do
    for build in "$@"; do measure "$build" "$name"; done
  done
  stop_servers
}

results=$out/two-builds-$(date +%Y%m%d-%H%M%S).jsonl
: > "$results"
for number in $(seq "$rounds"); do
  echo "round $number of $rounds" >&2
  if ((number % 2)); then round old new; else round new old; fi
done
"$target/release/mqbench" compare --against old "$results"
echo "all results: $results" >&2
