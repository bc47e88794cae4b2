#!/usr/bin/env bash
# What does a wake cost: how much of its core does each server use below saturation, and how many system calls does a message take?
#
#   loadtest/compare/wakes.sh OLD_MQBROKER NEW_MQBROKER [OUT_DIR]
#                     ROUNDS=5 SECONDS_EACH=6 WARMUP=2 BROKER_CORE=0 LOADER_CORE=1 CALLS_SECONDS=2
#                     JAVA=0 JAVA_WARMUP=60 JAVA_HEAP=4g
#
# Five servers on BROKER_CORE: epoll and ring (runtime/examples/null_epoll.rs and null_broker.rs, which answer and store nothing:
# the floor, and the floor of our runtime), the old and the new build of our broker with one shard, and with JAVA=1 Apache
# RocketMQ's 4.9.7; brokers flush before they answer. Only one is loaded at a time, from LOADER_CORE: open loops far below
# saturation, where each message wakes the server, then closed loops. Every second round goes through the servers backwards.
# The old and the new build begin each round with an empty data directory and a load that is not measured; Java's keeps going,
# because it needs a minute (JAVA_WARMUP, once) to become as fast as it gets.
#
# System calls of the whole process are counted by perf during a run of their own of CALLS_SECONDS, so that counting costs the
# measured run nothing; what the server does on its own meanwhile, and the creation of the topic, is among them. Where perf
# may not count, the column stays empty. All results stay in OUT_DIR (default: target/compare) as JSON lines.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: wakes.sh OLD_MQBROKER NEW_MQBROKER [OUT_DIR]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
declare -A program=([epoll]=$target/release/examples/null_epoll [ring]=$target/release/examples/null_broker [old]=$1 [new]=$2)
out=${3:-$target/compare}
rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-6} warmup=${WARMUP:-2} calls_seconds=${CALLS_SECONDS:-2}
broker_core=${BROKER_CORE:-0} loader_core=${LOADER_CORE:-1} heap=${JAVA_HEAP:-4g}
systems=(epoll ring old new)
. "$here/servers.sh"
require cargo taskset
(cd "$root" && cargo build --release -q -p loadtest --bin mqbench \
  && cargo build --release -q -p runtime --example null_epoll --example null_broker)
for system in "${systems[@]}"; do
  [ -x "${program[$system]}" ] || { echo "wakes: ${program[$system]} is no program" >&2; exit 1; }
done
mkdir -p "$out"
if [ "${JAVA:-0}" != 0 ]; then
  require java mvn
  fetch_java 4.9.7
  systems+=(java)
fi

work=$(mktemp -d "$out/run.XXXXXX")
trap 'stop_servers; rm -rf "$work"' EXIT
port=([epoll]=21911 [ring]=22911 [old]=23911 [new]=24911 [java]=20911 [namesrv]=20876) namesrv_port=([old]=23876 [new]=24876)

works=(1k 5k 20k 1x1 4x64)
declare -A loads=(
  [1k]="--connections 4 --rate 1000"
  [5k]="--connections 4 --rate 5000"
  [20k]="--connections 4 --rate 20000"
  [1x1]="--connections 1 --window 1 --spin"
  [4x64]="--connections 4 --window 64"
)

sending() { # SYSTEM WORK SECONDS WARMUP   sets `command`
  # The arguments of a load are words.
  # shellcheck disable=SC2206
  command=("$target/release/mqbench" send --addr "127.0.0.1:${port[$1]}" --core "$loader_core" --broker-pid "${pid_of[$1]}"
    --topic compare --queues 8 --body 128 --seconds "$3" --warmup "$4" --json --label "$1/$2" ${loads[$2]})
}

event=raw_syscalls:sys_enter
counts=yes
perf stat -x, -e "$event" -o /dev/null -- true 2> /dev/null || counts=no
[ $counts = yes ] || echo "wakes: perf cannot count system calls here; their column stays empty" >&2

calls_per_message() { # SYSTEM WORK   prints nothing when nothing was counted
  [ $counts = yes ] || return 0
  local calls acked
  sending "$1" "$2" "$calls_seconds" 0
  perf stat -x, -e "$event" -p "${pid_of[$1]}" -o "$work/calls" -- "${command[@]}" > "$work/counted" || return 0
  calls=$(awk -F, -v event="$event" '$3 == event && $1 ~ /^[0-9]+$/ { print $1 }' "$work/calls")
  acked=$(sed -nE 's/.*"acked":([0-9]+).*/\1/p' "$work/counted")
  awk -v calls="${calls:-0}" -v acked="${acked:-0}" 'BEGIN { if (calls > 0 && acked > 0) printf "%.4f", calls / acked }'
}

measure() { # SYSTEM WORK
  local line calls
  sending "$1" "$2" "$seconds" "$warmup"
  line=$("${command[@]}")
  calls=$(calls_per_message "$1" "$2")
  [ -z "$calls" ] || line="${line%\}},\"calls_per_message\":$calls}"
  echo "$line" >> "$results"
  sed -E 's/.*"label":"([^"]*)".*/  \1/; s/$/  '"${calls:--}"' calls per message/' <<< "$line" >&2
}

warm_up() { # SYSTEM SECONDS
  sending "$1" 4x64 "$2" 0
  "${command[@]}" > /dev/null
}

round() { # SYSTEMS...
  local name system
  for system in old new; do
    start_ringmq "$system" "${program[$system]}" flushDiskType=SYNC_FLUSH tailCacheMiB=128
    warm_up "$system" 4
  done
  for name in "${works[@]}"; do
    for system in "$@"; do measure "$system" "$name"; done
  done
  stop_servers old new
}

for system in epoll ring; do start_null "$system" "${program[$system]}"; done
if [ "${JAVA:-0}" != 0 ]; then
  start_java_namesrv
  start_java_broker java SYNC_FLUSH
  warm_up java "${JAVA_WARMUP:-60}"
fi
backwards=()
for system in "${systems[@]}"; do backwards=("$system" "${backwards[@]}"); done
results=$out/wakes-$(date +%Y%m%d-%H%M%S).jsonl
: > "$results"
for number in $(seq "$rounds"); do
  echo "round $number of $rounds" >&2
  if ((number % 2)); then round "${systems[@]}"; else round "${backwards[@]}"; fi
done
"$target/release/mqbench" compare --against old "$results"
echo "all results: $results" >&2
