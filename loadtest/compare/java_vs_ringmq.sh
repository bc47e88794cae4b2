#!/usr/bin/env bash
# How much does a message cost here, and how much at Apache RocketMQ 4.9.7, measured in the same minutes on the same machine?
#
#   loadtest/compare/java_vs_ringmq.sh [OUT_DIR]        ROUNDS=3 SECONDS_EACH=8 WARMUP=4 BROKER_CORE=0 LOADER_CORE=1 JAVA_HEAP=4g
#
# Runs three brokers, all pinned to BROKER_CORE: Java SYNC_FLUSH, Java ASYNC_FLUSH, ours SYNC_FLUSH with one shard. Only one of
# them is loaded at a time; the loader has LOADER_CORE for itself. Rounds are interleaved, so that a noisy minute hits everybody;
# the table shows medians. Needs java, mvn and cargo; jars come from the pom in loadtest/interop/java-peer. All results stay in
# OUT_DIR (default: target/compare) as JSON lines.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
out=${1:-$target/compare}
rounds=${ROUNDS:-3} seconds=${SECONDS_EACH:-8} warmup=${WARMUP:-4}
broker_core=${BROKER_CORE:-0} loader_core=${LOADER_CORE:-1} heap=${JAVA_HEAP:-4g}
version=4.9.7
. "$here/servers.sh"
require java mvn cargo taskset
(cd "$root" && cargo build --release -q -p broker -p loadtest --bins)
mkdir -p "$out"
fetch_java "$version"

work=$(mktemp -d "$out/run.XXXXXX")
trap 'stop_servers; rm -rf "$work"' EXIT
port=([namesrv]=27876 [java-sync]=27911 [java-async]=28911 [ringmq-sync]=29911) namesrv_port=([ringmq-sync]=29876)

measure() { # SYSTEM WORK ARGS...
  local system=$1 name=$2
  shift 2
  "$target/release/mqbench" send --addr "127.0.0.1:${port[$system]}" --core "$loader_core" --broker-pid "${pid_of[$system]}" \
    --topic compare --queues 8 --body 128 --seconds "$seconds" --warmup "$warmup" --json --label "$system/$name" "$@" \
    >> "$results"
  tail -1 "$results" | sed -E 's/.*"label":"([^"]*)".*"acked_per_second":([0-9]+).*/  \1  \2 per second/' >&2
}

start_java_namesrv
start_java_broker java-sync SYNC_FLUSH
start_java_broker java-async ASYNC_FLUSH
start_ringmq ringmq-sync "$target/release/mqbroker" brokerClusterName=Compare flushDiskType=SYNC_FLUSH
results=$out/results-$(date +%Y%m%d-%H%M%S).jsonl
: > "$results"
for round in $(seq "$rounds"); do
  echo "round $round of $rounds" >&2
  for system in java-sync java-async ringmq-sync; do
    measure "$system" 1x1 --connections 1 --window 1
    measure "$system" 1x64 --connections 1 --window 64
    measure "$system" 4x64 --connections 4 --window 64
    measure "$system" open-20k --connections 4 --rate 20000
  done
done
"$target/release/mqbench" compare "$results"
echo "all results: $results" >&2
