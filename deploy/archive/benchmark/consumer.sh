#!/bin/sh
# Java's benchmark/consumer.sh: consumes, and tells how long messages were on their way, in the background, with Java's options (consumer.sh -h).

exec "$(dirname "$(readlink -f "$0")")/runclass.sh" org.apache.rocketmq.example.benchmark.Consumer "$@" &
