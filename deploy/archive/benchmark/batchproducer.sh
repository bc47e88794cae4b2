#!/bin/sh
# Java's benchmark/batchproducer.sh: sends batches, in the background, with Java's options (batchproducer.sh -h).

exec "$(dirname "$(readlink -f "$0")")/runclass.sh" org.apache.rocketmq.example.benchmark.BatchProducer "$@" &
