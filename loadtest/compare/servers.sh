# Starts, awaits and ends the servers that the scripts beside this file measure; those source it.
#
# Who sources it runs under `set -euo pipefail` and sets `work` (a directory of its own, where each server has one by its
# name), `broker_core`, and in `port` the port of each server; ours needs one in `namesrv_port`, too. Afterwards `pid_of`
# has the process of each that runs. A server that does not start ends the script with the last lines of its output.
# Java's servers need `root` and `target` besides, and take memory from `heap`.

script=$(basename "$0" .sh)
declare -A port namesrv_port pid_of

require() { # TOOLS...
  local tool
  for tool in "$@"; do
    command -v "$tool" > /dev/null || { echo "$script: $tool is missing" >&2; exit 1; }
  done
}

takes_connections() { # PORT
  (: < "/dev/tcp/127.0.0.1/$1") 2> /dev/null
}

# Ours share their ports willingly, so that a forgotten server would take a part of the connections.
require_free() { # PORT
  ! takes_connections "$1" || { echo "$script: somebody listens on port $1 already" >&2; exit 1; }
}

await_server() { # NAME COMMAND...   until the command succeeds, for a minute at most
  local name=$1
  shift
  for _ in $(seq 300); do
    "$@" && return
    kill -0 "${pid_of[$name]}" 2> /dev/null || break
    sleep 0.2
  done
  echo "$script: $name did not start; its output ends with:" >&2
  tail -20 "$work/$name/out" >&2
  exit 1
}

stop_servers() { # NAMES...   all of them without names; what they stored goes with them
  local name names=("$@")
  (($#)) || names=("${!pid_of[@]}")
  for name in "${names[@]}"; do kill "${pid_of[$name]}" 2> /dev/null || true; done
  for name in "${names[@]}"; do
    wait "${pid_of[$name]}" 2> /dev/null || true
    unset "pid_of[$name]"
    rm -rf "${work:?}/$name"
  done
}

start_ringmq() { # NAME PROGRAM LINES_OF_ITS_CONFIGURATION...
  local name=$1 program=$2 dir=$work/$1
  shift 2
  require_free "${port[$name]}"
  mkdir -p "$dir"
  cat > "$dir/broker.conf" << CONF
brokerName=$name
brokerIP1=127.0.0.1
listenPort=${port[$name]}
standaloneNamesrvPort=${namesrv_port[$name]}
storePathRootDir=$dir/data
shards=1
shardCores=$broker_core
CONF
  printf '%s\n' "$@" >> "$dir/broker.conf"
  taskset -c "$broker_core" "$program" --standalone -c "$dir/broker.conf" > "$dir/out" 2>&1 &
  pid_of[$name]=$!
  await_server "$name" grep -q "boot success" "$dir/out"
}

start_null() { # NAME PROGRAM   one of the servers that store nothing (runtime/examples/null_*.rs)
  local name=$1 dir=$work/$1
  require_free "${port[$name]}"
  mkdir -p "$dir"
  taskset -c "$broker_core" "$2" "${port[$name]}" "$broker_core" > "$dir/out" 2>&1 &
  pid_of[$name]=$!
  await_server "$name" grep -q "listening on" "$dir/out"
}

java_flags=(--add-opens java.base/java.nio=ALL-UNNAMED --add-opens java.base/sun.nio.ch=ALL-UNNAMED
  --add-opens java.base/java.lang=ALL-UNNAMED --add-opens java.base/jdk.internal.ref=ALL-UNNAMED
  --add-exports java.base/jdk.internal.ref=ALL-UNNAMED)

fetch_java() { # VERSION   sets `jars`
  jars=$target/java-peer-$1
  [ -d "$jars" ] || mvn -q -B -f "$root/loadtest/interop/java-peer/pom.xml" dependency:copy-dependencies -Drmq="$1" \
    -DoutputDirectory="$jars"
}

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

start_java_namesrv() { # The name server that Java's brokers want to see, on the port of `namesrv`.
  local dir=$work/namesrv
  require_free "${port[namesrv]}"
  java_home "$dir"
  echo "listenPort=${port[namesrv]}" > "$dir/namesrv.conf"
  ROCKETMQ_HOME=$dir/home java -Xms256m -Xmx256m "${java_flags[@]}" -Duser.home="$dir" -Drocketmq.home.dir="$dir/home" \
    -cp "$jars/*" org.apache.rocketmq.namesrv.NamesrvStartup -c "$dir/namesrv.conf" > "$dir/out" 2>&1 &
  pid_of[namesrv]=$!
  await_server namesrv takes_connections "${port[namesrv]}"
}

start_java_broker() { # NAME FLUSH   takes its port, +1 (replication) and -2 (VIP)
  local name=$1 dir=$work/$1
  require_free "${port[$name]}"
  java_home "$dir"
  cat > "$dir/broker.conf" << CONF
brokerClusterName=Compare
brokerName=$name
brokerId=0
brokerIP1=127.0.0.1
namesrvAddr=127.0.0.1:${port[namesrv]}
listenPort=${port[$name]}
storePathRootDir=$dir/store
storePathCommitLog=$dir/store/commitlog
flushDiskType=$2
CONF
  ROCKETMQ_HOME=$dir/home taskset -c "$broker_core" java "-Xms$heap" "-Xmx$heap" -XX:+UseG1GC "${java_flags[@]}" \
    -Duser.home="$dir" -Drocketmq.home.dir="$dir/home" -cp "$jars/*" \
    org.apache.rocketmq.broker.BrokerStartup -c "$dir/broker.conf" > "$dir/out" 2>&1 &
  pid_of[$name]=$!
  await_server "$name" takes_connections "${port[$name]}"
}
