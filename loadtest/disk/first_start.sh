#!/usr/bin/env bash
# What does a first start take of the disk, and what does it say?
#
# Usage: first_start.sh [MQBROKER]          (root: it mounts ext4 images on loop devices; sparse, so 100 GB need little)
#
# Disks of 24 MB (too small), 200 MB, 1.5 GB, 3 GB and 100 GB, each with 1, 2 and 64 shards. One line for each: what the data directory takes,
# what is free then, how the start ended, how many names are on the disk when it was refused; and below it what the broker said about the disk.
set -euo pipefail

broker=${1:-target/release/mqbroker}
broker=$(realpath "$broker")
work=$(mktemp -d)
mount=$work/disk
pid=
cleanup() {
    [ -n "$pid" ] && kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    umount -l "$mount" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
mkdir "$mount"

printf '%-8s %-7s %12s %12s  %s\n' disk shards taken free ended
for disk in 24M 200M 1500M 3G 100G; do
    for shards in 1 2 64; do
        truncate -s "$disk" "$work/image"
        mkfs.ext4 -q -m 0 -E lazy_itable_init=1,lazy_journal_init=1 "$work/image"
        mount -o loop "$work/image" "$mount"
        cat >"$work/broker.conf" <<CONF
storePathRootDir=$mount/data
listenPort=21911
standaloneNamesrvPort=21876
shards=$shards
CONF
        RUST_LOG=info "$broker" --standalone -c "$work/broker.conf" >"$work/log" 2>&1 &
        pid=$!
        ended="did not start in 60 s"
        for _ in $(seq 600); do
            if grep -q "boot success" "$work/log"; then ended=serves; break; fi
            if ! kill -0 "$pid" 2>/dev/null; then
                wait "$pid" && code=0 || code=$?
                ended="refused with code $code, $(find "$mount" -mindepth 1 ! -name lost+found | wc -l) names left"
                break
            fi
            sleep 0.1
        done
        taken=$(du -s --block-size=1M "$mount/data" 2>/dev/null | cut -f1 || true)
        free=$(df --block-size=1M --output=avail "$mount" | tail -1)
        printf '%-8s %-7s %8s MiB %8s MiB  %s\n' "$disk" "$shards" "${taken:-0}" "$free" "$ended"
        grep -oE "first start: .*|mqbroker: .*" "$work/log" | sort -u | sed 's/^/    /' || true
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
        pid=
        umount "$mount"
        rm -f "$work/image"
    done
done
