# shellcheck shell=sh
# What the launchers share; read with `.`, by sh, dash or bash. Sets `installation`, the directory that was unpacked, from the
# path of the script that reads it, and ROCKETMQ_HOME where nobody has set it.
#
# The programs are those of this directory, whatever ROCKETMQ_HOME says: it may still name a Java installation.

installation=$(dirname "$(dirname "$(readlink -f "$0")")")
ROCKETMQ_HOME=${ROCKETMQ_HOME:-$installation}
export ROCKETMQ_HOME

# Options for a virtual machine mean nothing to programs that have none.
ignore_java_options() {
  if [ -n "${JAVA_OPT:-}${JAVA_OPT_EXT:-}" ]; then
    echo "$1: note: JAVA_OPT and JAVA_OPT_EXT are ignored: there is no Java in here (memory: memoryBudgetMiB)" >&2
  fi
}

# Logs go where Java's do, unless the configuration (logDir) or the environment says otherwise, or standard error leads to the
# journal of systemd.
choose_log_dir() {
  [ -z "${RINGMQ_LOG_DIR+set}" ] && [ -n "${HOME:-}" ] || return 0
  if [ -n "${JOURNAL_STREAM:-}" ] && [ "$(stat -L -c %d:%i /proc/$$/fd/2)" = "$JOURNAL_STREAM" ]; then
    return 0
  fi
  dir=$HOME/logs/rocketmqlogs
  if mkdir -p "$dir" 2>/dev/null && [ -w "$dir" ]; then
    RINGMQ_LOG_DIR=$dir
    export RINGMQ_LOG_DIR
  fi
}

# The path of the program $1.
program() {
  if [ ! -x "$installation/lib/$1" ]; then
    echo "$1 is not part of this installation: $installation/lib/$1 is missing" >&2
    return 1
  fi
  echo "$installation/lib/$1"
}
