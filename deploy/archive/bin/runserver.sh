#!/bin/sh
# Java's runserver.sh CLASS ARGUMENTS, for scripts that call it: starts mqnamesrv with the arguments.

bin=$(dirname "$(readlink -f "$0")")
case ${1:-} in
  org.apache.rocketmq.namesrv.NamesrvStartup) shift ;;
  org.apache.rocketmq.*)
    echo "runserver.sh: $1 is not part of RingMQ; only org.apache.rocketmq.namesrv.NamesrvStartup is" >&2
    exit 1
    ;;
esac
exec "$bin/mqnamesrv" "$@"
