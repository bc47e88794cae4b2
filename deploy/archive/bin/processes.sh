# shellcheck shell=sh
# Finding and ending processes of ours, for mqshutdown and benchmark/shutdown.sh; read with `.`.
#
# A process counts when its program file has the name, it belongs to this user, and it lives in this PID namespace: what runs in
# a container has its own tools.

own_user=$(id -u)
own_namespace=$(readlink /proc/self/ns/pid)

# State and start of process $1, which tell one process from a later one with its number. Fails when there is none, or only what its
# parent has not asked for yet.
identity_of() {
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # Behind the name, which may hold blanks and parentheses: the state, and at place 20 the moment of the start.
  # shellcheck disable=SC2086
  set -- ${stat##*) }
  [ "$1" != Z ] && [ "$1" != X ] && echo "${20}"
}

# What runs in process $1, as words in a line.
command_of() {
  tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null
}

# Prints `PID START` for each process of program $1 of which the words begin with $2, from directory $3; empty is any.
find_processes() {
  for dir in /proc/[0-9]*; do
    pid=${dir#/proc/}
    file=$(readlink "$dir/exe" 2>/dev/null) || continue
    # Where an update has replaced it.
    file=${file% (deleted)}
    [ "${file##*/}" = "$1" ] || continue
    [ -z "$3" ] || [ "$file" = "$3/$1" ] || continue
    [ "$(stat -c %u "$dir" 2>/dev/null)" = "$own_user" ] || continue
    [ "$(readlink "$dir/ns/pid" 2>/dev/null)" = "$own_namespace" ] || continue
    words=$(command_of "$pid")
    case ${words#* } in "$2"*) ;; *) continue ;; esac
    start=$(identity_of "$pid") && echo "$pid $start"
  done
}

# Ends all processes of program $1 with words $2 from directory $3, told as $4, and waits for their end, $5 seconds at most.
# 0: all have ended. 1: there was none. 3: some still run.
end_processes() {
  found=$(find_processes "$1" "$2" "$3")
  if [ -z "$found" ]; then
    echo "No $4 running."
    return 1
  fi
  # All are shown before the first is ended.
  echo "$found" | while read -r pid start; do
    echo "The $4($pid) is running... $(command_of "$pid")"
  done
  echo "$found" | while read -r pid start; do
    [ "$(identity_of "$pid")" = "$start" ] || continue
    kill "$pid" && echo "Send shutdown request to $4($pid) OK"
  done
  rounds=$(($5 * 10))
  while :; do
    left=$(echo "$found" | while read -r pid start; do
      [ "$(identity_of "$pid")" != "$start" ] || echo "$pid"
    done)
    if [ -z "$left" ]; then
      echo "$found" | while read -r pid start; do echo "The $4($pid) has ended."; done
      return 0
    fi
    [ "$rounds" -gt 0 ] || break
    rounds=$((rounds - 1))
    sleep 0.1
  done
  for pid in $left; do
    echo "The $4($pid) still runs after $5 s: look at its log, or send it SIGTERM again to end it at once." >&2
  done
  return 3
}
