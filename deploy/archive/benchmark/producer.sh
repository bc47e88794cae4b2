#!/bin/sh
# Java's benchmark/producer.sh: sends single messages, in the background, with Java's options (producer.sh -h).

exec "$(dirname "$(readlink -f "$0")")/runclass.sh" org.apache.rocketmq.example.benchmark.Producer "$@" &
