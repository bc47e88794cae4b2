#!/bin/sh
# Java's benchmark/runclass.sh [-Dproperty ...] CLASS ARGUMENTS: one of the benchmark's programs, in the foreground.

bin=$(dirname "$(readlink -f "$0")")/../bin
while [ $# -gt 0 ]; do
  case $1 in
    # Properties of a virtual machine.
    -D* | -X*) shift ;;
    *) break ;;
  esac
done
exec "$bin/tools.sh" "$@"
