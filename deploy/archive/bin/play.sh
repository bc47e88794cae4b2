#!/bin/sh
# A name server and a broker on this machine, in the background; mqshutdown broker and mqshutdown namesrv end them.

bin=$(dirname "$(readlink -f "$0")")
nohup "$bin/mqnamesrv" >mqnamesrv.out 2>&1 &
nohup "$bin/mqbroker" -n localhost:9876 >mqbroker.out 2>&1 &
echo "name server and broker start; see mqnamesrv.out and mqbroker.out, and ~/logs/rocketmqlogs"
