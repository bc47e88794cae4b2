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
for tool in java mvn cargo taskset; do
  command -v "$tool" > /dev/null || { echo "java_vs_ringmq: $tool is missing" >&2; exit 1; }
done
(cd "$root" && cargo build --release -q -p broker -p loadtest --bins)
mkdir -p "$out"
jars=$target/java-peer-$version
if [ ! -d "$jars" ]; then
  mvn -q -B -f "$root/loadtest/interop/java-peer/pom.xml" dependency:copy-dependencies -Drmq="$version" -DoutputDirectory="$jars"
fi

work=$(mktemp -d "$out/run.XXXXXX")
pids=()
end_all() {
  for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2> /dev/null || true; done
  rm -rf "$work"
}
trap end_all EXIT

# Ports: each broker takes its own, +1 (replication) and -2 (VIP).
declare -A port=([java-sync]=27911 [java-async]=28911 [ringmq-sync]=29911)
declare -A pid_of

await_port() { # NAME LOG
  for _ in $(seq 300); do
    (: < "/dev/tcp/127.0.0.1/${port[$1]}") 2> /dev/null && return
    sleep 0.2
  done
  echo "java_vs_ringmq: $1 did not start; its output ends with:" >&2
  tail -20 "$2" >&2
  exit 1
}

# The name server that the Java brokers want to see.
namesrv_port=27876
java_flags=(--add-opens java.base/java.nio=ALL-UNNAMED --add-opens java.base/sun.nio.ch=ALL-UNNAMED
  --add-opens java.base/java.lang=ALL-UNNAMED --add-opens java.base/jdk.internal.ref=ALL-UNNAMED
  --add-exports java.base/jdk.internal.ref=ALL-UNNAMED)

java_home() { # DIR: configuration home with quiet logs
  mkdir -p "$1/home/conf"
  local name
  for name in logback_namesrv logback_broker; do
    cat > "$1/home/conf/$name.xml" << XML
<configuration><appender name="F" class="ch.qos.logback.core.FileAppender"><file>$1/java.log</file>
<encoder><pattern>%d %p %m%n</pattern></encoder></appender><root level="WARN"><appender-ref ref="F"/></root></configuration>
XML
  done
}

start_java_namesrv() {
  local dir=$work/namesrv
  java_home "$dir"
  echo "listenPort=$namesrv_port" > "$dir/namesrv.conf"
  ROCKETMQ_HOME=$dir/home java -Xms256m -Xmx256m "${java_flags[@]}" -Duser.home="$dir" -Drocketmq.home.dir="$dir/home" \
    -cp "$jars/*" org.apache.rocketmq.namesrv.NamesrvStartup -c "$dir/namesrv.conf" > "$dir/out" 2>&1 &
  pids+=($!)
  port[namesrv]=$namesrv_port
  await_port namesrv "$dir/out"
}

start_java_broker() { # NAME FLUSH
  local dir=$work/$1
  java_home "$dir"
  cat > "$dir/broker.conf" << CONF
brokerClusterName=Compare
brokerName=$1
brokerId=0
brokerIP1=127.0.0.1
namesrvAddr=127.0.0.1:$namesrv_port
listenPort=${port[$1]}
storePathRootDir=$dir/store
storePathCommitLog=$dir/store/commitlog
flushDiskType=$2
CONF
  ROCKETMQ_HOME=$dir/home taskset -c "$broker_core" java "-Xms$heap" "-Xmx$heap" -XX:+UseG1GC "${java_flags[@]}" \
    -Duser.home="$dir" -Drocketmq.home.dir="$dir/home" -cp "$jars/*" \
    org.apache.rocketmq.broker.BrokerStartup -c "$dir/broker.conf" > "$dir/out" 2>&1 &
  pid_of[$1]=$!
  pids+=($!)
  await_port "$1" "$dir/out"
}

start_ringmq() { # NAME
  local dir=$work/$1
  mkdir -p "$dir"
  cat > "$dir/broker.conf" << CONF
brokerClusterName=Compare
brokerName=$1
brokerIP1=127.0.0.1
listenPort=${port[$1]}
standaloneNamesrvPort=29876
storePathRootDir=$dir/data
flushDiskType=SYNC_FLUSH
shards=1
shardCores=$broker_core
CONF
  taskset -c "$broker_core" "$target/release/mqbroker" --standalone -c "$dir/broker.conf" > "$dir/out" 2>&1 &
  pid_of[$1]=$!
  pids+=($!)
  await_port "$1" "$dir/out"
}

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
start_ringmq ringmq-sync
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
