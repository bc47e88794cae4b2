#!/bin/sh
# What the machine needs and has: limits and settings of the kernel that matter here (see deploy/tuning.md of the sources).
#
# Java's os.sh changes the page cache's settings, which mean nothing here: data files are read and written past it. This one only
# shows, unless it is called with --apply by root: then it writes limits of open files and locked memory for users, and two
# settings of the kernel.

limits=/etc/security/limits.d/ringmq.conf
settings=/etc/sysctl.d/90-ringmq.conf

case ${1:-} in
  "") ;;
  --apply)
    [ "$(id -u)" = 0 ] || { echo "os.sh --apply: only root can do this" >&2; exit 1; }
    {
      echo "# Written by os.sh of RingMQ: a descriptor for each connection, locked memory for io_uring."
      echo "* hard nofile 655350"
      echo "* soft nofile 655350"
      echo "* hard memlock unlimited"
      echo "* soft memlock unlimited"
    } >"$limits" || exit 1
    {
      echo "# Written by os.sh of RingMQ: memory of the broker stays in memory; many clients may connect at one moment."
      echo "vm.swappiness=1"
      echo "net.core.somaxconn=4096"
    } >"$settings" || exit 1
    sysctl -q -p "$settings" || exit 1
    echo "written: $limits (for new sessions) and $settings"
    ;;
  *)
    echo "usage: os.sh [--apply]" >&2
    exit 2
    ;;
esac

show() {
  printf '%-34s %s\n' "$1" "${2:-not there}"
}
show "kernel (5.8 or newer)" "$(uname -r)"
show "kernel.io_uring_disabled (0)" "$(cat /proc/sys/kernel/io_uring_disabled 2>/dev/null)"
show "vm.swappiness (1)" "$(cat /proc/sys/vm/swappiness 2>/dev/null)"
show "net.core.somaxconn (4096)" "$(cat /proc/sys/net/core/somaxconn 2>/dev/null)"
limit() {
  sed -n "s/^Max $1 *\([^ ]*\).*/\1/p" /proc/self/limits
}
show "open files (655350)" "$(limit 'open files')"
show "locked memory (unlimited), bytes" "$(limit 'locked memory')"
