#!/bin/sh
# Ends the benchmark's programs of this user, as Java's benchmark/shutdown.sh. Exit code: 0 all have ended, 1 there was none, 2 wrong
# arguments, 3 some still run after 30 s. With --here only those that were started from this directory.

. "$(dirname "$(readlink -f "$0")")/../bin/installation.sh"
. "$installation/bin/processes.sh"

only_here=
[ "${2:-}" = --here ] && only_here=yes
case ${1:-} in
  producer | consumer | tproducer) end_processes mqbench "benchmark $1 " "$1" 30 ;;
  bproducer | batchproducer) end_processes mqbench "benchmark batchproducer " bproducer 30 ;;
  *)
    echo "usage: shutdown.sh producer | consumer | tproducer | bproducer [--here]" >&2
    exit 2
    ;;
esac
