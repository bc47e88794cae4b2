#!/bin/sh
# Ends the benchmark's programs of this user, as Java's benchmark/shutdown.sh. Exit code: 0 all have ended, 1 there was none, 2 wrong
# arguments, 3 some still run after 30 s. With --here only those that were started from this directory.

# shellcheck source-path=SCRIPTDIR source=../bin/installation.sh
. "$(dirname "$(readlink -f "$0")")/../bin/installation.sh"
# shellcheck source-path=SCRIPTDIR source=../bin/processes.sh
. "$installation/bin/processes.sh"

usage() {
  echo "usage: shutdown.sh producer | consumer | tproducer | bproducer [--here]" >&2
  exit 2
}

case $#,${2:-} in
  1,) from= ;;
  2,--here) from=$installation/lib ;;
  *) usage ;;
esac
case $1 in
  producer | consumer | tproducer) end_processes mqbench "benchmark $1 " "$from" "$1" 30 ;;
  bproducer | batchproducer) end_processes mqbench "benchmark batchproducer " "$from" bproducer 30 ;;
  *) usage ;;
esac
