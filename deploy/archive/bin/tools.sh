#!/bin/sh
# Java's tools.sh CLASS ARGUMENTS: the classes that its documents name, as programs of ours.

# shellcheck source-path=SCRIPTDIR source=installation.sh
. "$(dirname "$(readlink -f "$0")")/installation.sh"
ignore_java_options tools.sh
class=${1:-}
[ $# -gt 0 ] && shift
case $class in
  org.apache.rocketmq.example.quickstart.Producer) set -- mqbench quickstart producer "$@" ;;
  org.apache.rocketmq.example.quickstart.Consumer) set -- mqbench quickstart consumer "$@" ;;
  org.apache.rocketmq.example.benchmark.Producer) set -- mqbench benchmark producer "$@" ;;
  org.apache.rocketmq.example.benchmark.BatchProducer) set -- mqbench benchmark batchproducer "$@" ;;
  org.apache.rocketmq.example.benchmark.TransactionProducer) set -- mqbench benchmark tproducer "$@" ;;
  org.apache.rocketmq.example.benchmark.Consumer) set -- mqbench benchmark consumer "$@" ;;
  org.apache.rocketmq.tools.command.MQAdminStartup) set -- mqadmin "$@" ;;
  "")
    echo "usage: tools.sh CLASS [ARGUMENTS], such as org.apache.rocketmq.example.quickstart.Producer" >&2
    exit 2
    ;;
  *)
    echo "tools.sh: $class is not here. These are: org.apache.rocketmq.example.quickstart.Producer and Consumer," \
      "org.apache.rocketmq.example.benchmark.Producer, BatchProducer, TransactionProducer and Consumer," \
      "org.apache.rocketmq.tools.command.MQAdminStartup" >&2
    exit 2
    ;;
esac
name=$1
shift
binary=$(program "$name") || exit 1
exec "$binary" "$@"
