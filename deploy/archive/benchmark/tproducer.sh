#!/bin/sh
# Java's benchmark/tproducer.sh: sends half messages and decides on them, in the background, with Java's options (tproducer.sh -h).

exec "$(dirname "$(readlink -f "$0")")/runclass.sh" org.apache.rocketmq.example.benchmark.TransactionProducer "$@" &
