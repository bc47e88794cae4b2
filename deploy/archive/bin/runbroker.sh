#!/bin/sh
# Java's runbroker.sh CLASS ARGUMENTS, for scripts that call it: starts mqbroker with the arguments.

bin=$(dirname "$(readlink -f "$0")")
case ${1:-} in
  org.apache.rocketmq.broker.BrokerStartup) shift ;;
  org.apache.rocketmq.*)
    echo "runbroker.sh: $1 is not part of RingMQ; only org.apache.rocketmq.broker.BrokerStartup is" >&2
    exit 1
    ;;
esac
exec "$bin/mqbroker" "$@"
