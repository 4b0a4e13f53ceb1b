#!/bin/sh
# Starts, stops and replaces the pool of token.fcgi workers.
#
#   spawn.sh start|stop|restart|reload|status
#
# Settings are environment variables; the workers get every TOKEN_* variable.
#
#   TOKEN_SOCKET        /run/token/token.sock   a Unix socket, or HOST:PORT on this machine
#   TOKEN_SOCKET_MODE   0660                    mode and group of the socket: nginx must be
#   TOKEN_SOCKET_GROUP  www-data                able to connect
#   TOKEN_WORKERS       number of cores         worker processes
#   TOKEN_USER          www-data, for root      the workers' user
#   TOKEN_PIDFILE       beside the socket       has the pid of the holder, see below
#   TOKEN_LOG           beside the pid file     the workers' stderr (logrotate: copytruncate,
#                                               as it stays open)
#   TOKEN_BIN           build/token.fcgi        beside this script
#
# Processes, each the parent of the next:
#
#   holder       this script as "_supervise", started by spawn-fcgi, which binds the socket and
#                drops root. It keeps the socket open during a reload, so that a connection waits
#                in the socket's queue instead of failing.
#   multiwatch   forks TOKEN_WORKERS workers, and another one for each that ends.
#   token.fcgi   serves. Until it can start, this script as "_worker" takes its place.
#
# The kernel sends each child a signal when its parent ends, even by kill -9 (setpriv --pdeathsig):
# there is never an orphan to find by its name.
set -u

script=$(readlink -f "$0")
last_error=
readonly script start_seconds=10 stop_tenths=100 reload_tenths=150 retry_seconds=0.5

note() { printf 'spawn.sh: %s\n' "$*" >&2; }
die() { note "$*"; exit 1; }

# ---- settings ------------------------------------------------------------------------------

settings() {
    : "${TOKEN_SOCKET:=/run/token/token.sock}" "${TOKEN_SOCKET_MODE:=0660}"
    : "${TOKEN_SOCKET_GROUP:=www-data}" "${TOKEN_WORKERS:=$(nproc)}"
    : "${TOKEN_BIN:=$(default_bin)}"
    if is_root; then : "${TOKEN_USER:=www-data}"; else : "${TOKEN_USER:=$(id -un)}"; fi
    case $TOKEN_SOCKET in localhost:*) TOKEN_SOCKET=127.0.0.1:${TOKEN_SOCKET#*:} ;; esac
    if is_tcp; then
        : "${TOKEN_PIDFILE:=/run/token/$TOKEN_SOCKET.pid}"
    else
        is_path "$TOKEN_SOCKET" || die "TOKEN_SOCKET: '$TOKEN_SOCKET' is neither HOST:PORT nor a path with a /"
        TOKEN_SOCKET=$(absolute "$TOKEN_SOCKET")
        : "${TOKEN_PIDFILE:=${TOKEN_SOCKET%.sock}.pid}"
    fi
    # The holder works in /, where a relative path would name another file.
    TOKEN_PIDFILE=$(absolute "$TOKEN_PIDFILE")
    TOKEN_LOG=$(absolute "${TOKEN_LOG:-${TOKEN_PIDFILE%.pid}.log}")
    TOKEN_BIN=$(absolute "$TOKEN_BIN")
    [ -z "${TOKEN_STORE:-}" ] || TOKEN_STORE=$(absolute "$TOKEN_STORE")
    [ -z "${TOKEN_SECRET:-}" ] || TOKEN_SECRET=$(absolute "$TOKEN_SECRET")
    export TOKEN_BIN TOKEN_WORKERS
}

is_root() { [ "$(id -u)" -eq 0 ]; }

is_tcp() { case $TOKEN_SOCKET in */*) return 1 ;; *:*) ;; *) return 1 ;; esac; }

# "127.0.0.1" or "localhost", without a port, is not meant as a file's name.
is_path() { case $1 in */* | ?*.sock) ;; *) return 1 ;; esac; }

absolute() { case $1 in /*) printf '%s\n' "$1" ;; *) printf '%s/%s\n' "$PWD" "$1" ;; esac; }

# Beside this script, as make install puts it, or in a checkout's build/.
default_bin() {
    folder=$(dirname "$script")
    [ -e "$folder/token.fcgi" ] || folder=$folder/build
    printf '%s/token.fcgi\n' "$folder"
}

check() {
    for tool in spawn-fcgi multiwatch cgi-fcgi flock setsid setpriv; do
        command -v "$tool" >/dev/null ||
            die "$tool is missing: apt-get install spawn-fcgi multiwatch libfcgi-bin util-linux"
    done
    is_between 1 1024 "$TOKEN_WORKERS" ||
        die "TOKEN_WORKERS: '$TOKEN_WORKERS' is not a number from 1 to 1024"
    check_user
    if is_tcp; then check_address; else check_socket; fi
    [ -f "$TOKEN_BIN" ] || die "TOKEN_BIN: there is no $TOKEN_BIN (run make first)"
    { as_worker test -x "$TOKEN_BIN" && as_worker test -r "$script"; } ||
        die "TOKEN_USER: $TOKEN_USER may not run $TOKEN_BIN (are its folders open to that user?)"
}

# At most nine digits, so that the shell's arithmetic can hold it.
is_number() { case $1 in '' | *[!0-9]* | ??????????*) return 1 ;; esac; }

is_between() { is_number "$3" && [ "$3" -ge "$1" ] && [ "$3" -le "$2" ]; }

check_user() {
    id -u -- "$TOKEN_USER" >/dev/null 2>&1 || die "TOKEN_USER: there is no user '$TOKEN_USER'"
    if is_root; then
        changes_user || note "TOKEN_USER is $TOKEN_USER: the workers run as root"
    elif [ "$(id -u -- "$TOKEN_USER")" -ne "$(id -u)" ]; then
        die "TOKEN_USER: only root can start workers as $TOKEN_USER"
    fi
}

# The workers trust the socket's peer: no address that another machine reaches.
check_address() {
    port=${TOKEN_SOCKET##*:}
    case ${TOKEN_SOCKET%:*} in
    *:*) die "TOKEN_SOCKET: cgi-fcgi, which checks that the pool answers, has no IPv6: use 127.0.0.1:$port" ;;
    127.*[!0-9.]*) die "TOKEN_SOCKET: '$TOKEN_SOCKET' has no numeric address (127.0.0.1:PORT)" ;;
    127.*.*.*) ;;
    *) die "TOKEN_SOCKET: '$TOKEN_SOCKET' is not on loopback (127.0.0.1:PORT)" ;;
    esac
    is_between 1 65535 "$port" || die "TOKEN_SOCKET: '$port' is not a port from 1 to 65535"
}

check_socket() {
    # sun_path in <sys/un.h> has 108 bytes, the last one NUL.
    [ "$(printf %s "$TOKEN_SOCKET" | wc -c)" -le 107 ] ||
        die "TOKEN_SOCKET: a Unix socket's path has at most 107 bytes: $TOKEN_SOCKET"
    case $TOKEN_SOCKET_MODE in
    [0-7][0-7][0-7] | 0[0-7][0-7][0-7]) ;;
    *) die "TOKEN_SOCKET_MODE: '$TOKEN_SOCKET_MODE' is not an octal mode such as 0660" ;;
    esac
    group=$(getent group "$TOKEN_SOCKET_GROUP" | cut -d: -f3)
    [ -n "$group" ] || die "TOKEN_SOCKET_GROUP: there is no group '$TOKEN_SOCKET_GROUP'"
    may_give_to "$group" ||
        die "TOKEN_SOCKET_GROUP: $(id -un) is not in the group '$TOKEN_SOCKET_GROUP' and can't give it the socket"
    [ ! -e "$TOKEN_SOCKET" ] || [ -S "$TOKEN_SOCKET" ] ||
        die "TOKEN_SOCKET: $TOKEN_SOCKET exists and is not a socket"
}

may_give_to() { is_root || case " $(id -G) " in *" $1 "*) ;; *) return 1 ;; esac; }

changes_user() { is_root && [ "$(id -u -- "$TOKEN_USER")" -ne 0 ]; }

as_worker() {
    if changes_user; then
        setpriv --reuid "$TOKEN_USER" --regid "$(id -g -- "$TOKEN_USER")" --init-groups "$@"
    else
        "$@"
    fi
}

# ---- processes -----------------------------------------------------------------------------

# A request through the socket: only a worker can answer it.
answers() {
    env -i PATH="$PATH" REQUEST_METHOD=OPTIONS SCRIPT_NAME=/api/token PATH_INFO=/ \
        timeout 2 cgi-fcgi -bind -connect "$TOKEN_SOCKET" </dev/null 2>/dev/null |
        grep -q '^Status: 204'
}

# Whether the caller may connect to the socket, if there is one.
may_ask() {
    ! is_tcp || return 0
    folder=${TOKEN_SOCKET%/*}
    until [ -d "$folder/" ]; do folder=${folder%/*}; done
    [ -x "$folder/" ] && { [ ! -e "$TOKEN_SOCKET" ] || [ -w "$TOKEN_SOCKET" ]; }
}

# Prints why a worker does not start, and fails. Runs it as plain CGI, which needs no socket, by a
# command that ends in env.
start_error() {
    "$@" REQUEST_METHOD=OPTIONS SCRIPT_NAME=/api/token PATH_INFO=/ \
        setpriv --pdeathsig KILL timeout --foreground 10 setpriv --pdeathsig KILL "$TOKEN_BIN" \
        </dev/null 2>&1 >/dev/null 3<&-
}

# Sets pid to the number in the pid file.
read_pid() {
    pid=
    { read -r pid <"$TOKEN_PIDFILE"; } 2>/dev/null
    is_number "$pid"
}

# Sets holder. A pid file may outlive its process, and the pid may belong to another process:
# only a holder of this socket counts.
find_holder() {
    read_pid && is_holder "$pid" && holder=$pid
}

# Once it has bound the socket: before, the process is one of the programs that "launch" runs.
is_holder() {
    case $(command_line "$1") in
    "env "* | "setsid "* | "spawn-fcgi "*) return 1 ;;
    *" _supervise $TOKEN_SOCKET ") ;;
    *) return 1 ;;
    esac
}

command_line() { { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null; }

children_of() { cat "/proc/$1/task/$1/children" 2>/dev/null; }

is_worker() { [ "$(command_line "$1")" = "$TOKEN_BIN " ]; }

# A zombie has ended too: the holder's new parent may never reap it.
has_ended() { ! grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status"; }

# wait_for TENTHS COMMAND...: until COMMAND succeeds, TENTHS of a second at most.
wait_for() {
    tenths=$1
    shift
    until "$@"; do
        tenths=$((tenths - 1))
        [ "$tenths" -gt 0 ] || return 1
        sleep 0.1
    done
}

# One start, stop or reload at a time.
lock() {
    make_folder "$TOKEN_PIDFILE"
    lock=$TOKEN_PIDFILE.lock
    # In a subshell first: an exec that cannot open its file ends the shell silently.
    (: >>"$lock") 2>/dev/null || die "TOKEN_PIDFILE: cannot write $lock (as $(id -un))"
    exec 9>>"$lock"
    flock -w 60 9 || die "another spawn.sh is running"
}

# The file's folder: nginx must be able to enter it, whatever the caller's umask.
make_folder() {
    [ -d "${1%/*}/" ] || (umask 022 && mkdir -p "${1%/*}") 2>/dev/null ||
        die "cannot create the folder ${1%/*} (as $(id -un))"
}

# ---- commands ------------------------------------------------------------------------------

start() {
    if find_holder; then
        log_start=$(log_size)
        if await_answer; then
            echo "already running, pid $holder"
            return
        fi
        # It may have been ending when it was found.
        has_ended "$holder" || fail "the pool is running (pid $holder) but does not answer"
    fi
    is_tcp || make_folder "$TOKEN_SOCKET"
    (umask 027 && : >>"$TOKEN_LOG") 2>/dev/null || die "TOKEN_LOG: cannot write $TOKEN_LOG"
    clear_stale
    log_start=$(log_size)
    launch
    await_answer || give_up "the pool did not start"
    # For root spawn-fcgi has set the group.
    is_tcp || is_root || why=$(chgrp "$TOKEN_SOCKET_GROUP" "$TOKEN_SOCKET" 2>&1) ||
        give_up "TOKEN_SOCKET_GROUP: $why"
    echo "started, pid $holder, $TOKEN_WORKERS workers on $TOKEN_SOCKET, log $TOKEN_LOG"
}

give_up() {
    stop_holder
    rm -f "$TOKEN_PIDFILE"
    fail "$*"
}

log_size() { wc -c 2>/dev/null <"$TOKEN_LOG" || echo 0; }
new_log() { tail -c "+$((log_start + 1))" "$TOKEN_LOG"; }

# Prints each new line of the log once, without multiwatch's, and ends.
fail() {
    new_log | awk '!/^(Child|Spawning child)\[/ && !seen[$0]++' >&2
    die "$*; log $TOKEN_LOG"
}

# After a holder that was killed: its workers have got a signal. They accept no more connections, and
# a port is free when they have served those that they have.
clear_stale() {
    if read_pid && ! is_empty_group "$pid"; then
        if is_tcp; then set -- is_empty_group "$pid"; else set -- is_silent; fi
        wait_for "$stop_tenths" "$@"
    fi
    ! answers || die "TOKEN_SOCKET: $TOKEN_SOCKET is in use by another pool"
    is_tcp || [ ! -e "$TOKEN_PIDFILE" ] || rm -f "$TOKEN_SOCKET"
}

is_silent() { ! answers; }

is_empty_group() { ! kill -s 0 -- "-$1" 2>/dev/null; }

launch() {
    # Connections wait in this queue during a reload; the kernel limits it to somaxconn.
    set -- -n -b 4096
    if is_tcp; then
        set -- "$@" -a "${TOKEN_SOCKET%:*}" -p "${TOKEN_SOCKET##*:}"
    else
        set -- "$@" -s "$TOKEN_SOCKET" -M "$TOKEN_SOCKET_MODE"
        # spawn-fcgi refuses root, which is the default anyway.
        ! changes_user || set -- "$@" -U "$TOKEN_USER"
        ! is_root || [ "$TOKEN_SOCKET_GROUP" = root ] || set -- "$@" -G "$TOKEN_SOCKET_GROUP"
    fi
    ! changes_user || set -- "$@" -u "$TOKEN_USER"
    # A shell starts background commands with SIGINT ignored, nohup with SIGHUP, and a shell can't
    # trap a signal that was ignored when it started. A session of its own has no terminal to
    # lose, and makes the holder's pid the process group of all its descendants.
    env --default-signal setsid spawn-fcgi "$@" -- "$script" _supervise "$TOKEN_SOCKET" \
        </dev/null >>"$TOKEN_LOG" 2>&1 9>&- &
    holder=$!
    printf '%s\n' "$holder" >"$TOKEN_PIDFILE" || fail "TOKEN_PIDFILE: cannot write $TOKEN_PIDFILE"
}

# The answer is that of this pool, as its holder has bound the socket.
await_answer() {
    deadline=$(($(date +%s) + start_seconds))
    until is_holder "$holder" && answers && ! has_ended "$holder"; do
        ! has_ended "$holder" && [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

stop() {
    if find_holder; then
        stop_holder || die "cannot stop pid $holder (as $(id -un))"
        echo "stopped"
    else
        echo "not running"
    fi
    # Without a pid file, or if it still answers, the socket is another program's.
    [ -e "$TOKEN_PIDFILE" ] || return 0
    is_tcp || answers || rm -f "$TOKEN_SOCKET"
    rm -f "$TOKEN_PIDFILE"
}

stop_holder() {
    kill -TERM "$holder" 2>/dev/null
    wait_for "$stop_tenths" has_ended "$holder" && return
    note "not stopped after $((stop_tenths / 10)) s: killing process group $holder"
    kill -s KILL -- "-$holder" 2>/dev/null
    wait_for 10 has_ended "$holder"
}

# A pool that runs stays when the new settings are wrong.
restart() {
    why=$(start_error as_worker env) || die "${why:-$TOKEN_BIN does not start}"
    stop
    start
}

reload() {
    find_holder || die "not running"
    log_start=$(log_size)
    kill -HUP "$holder" || die "cannot signal pid $holder (as $(id -un))"
    wait_for "$reload_tenths" is_reload_over || fail "reload: no result from the holder, pid $holder"
    new_log | grep -q '^spawn.sh: reloaded' || fail "reload failed, the old workers keep running"
    answers || fail "the new workers do not answer"
    echo "reloaded, pid $holder"
}

# The holder may have dropped root: it can only write to the log.
is_reload_over() { new_log | grep -q '^spawn.sh: reload'; }

status() {
    may_ask || no_permission "$TOKEN_SOCKET"
    [ ! -e "$TOKEN_PIDFILE" ] || [ -r "$TOKEN_PIDFILE" ] || no_permission "$TOKEN_PIDFILE"
    if answers; then
        find_holder || die "another pool answers on $TOKEN_SOCKET: its pid is not in $TOKEN_PIDFILE"
        echo "running, pid $holder, $(count_workers), on $TOKEN_SOCKET"
    elif find_holder; then
        start_error as_worker env >&2
        die "pid $holder runs with $(count_workers) but does not answer on $TOKEN_SOCKET; log $TOKEN_LOG"
    else
        note "not running"
        exit 3
    fi
}

no_permission() {
    note "no permission to ask: $1 (as $(id -un))"
    exit 4
}

# In all pools of the holder: during a reload there are two.
count_workers() {
    total=0 serving=0
    for pool in $(children_of "$holder"); do
        for child in $(children_of "$pool"); do
            total=$((total + 1))
            ! is_worker "$child" || serving=$((serving + 1))
        done
    done
    echo "$serving of $total workers"
}

# ---- the holder ----------------------------------------------------------------------------

supervise() {
    cd / || exit 1
    # The socket moves from fd 0: "command &" gets /dev/null there, and other commands don't need it.
    exec 3<&0 </dev/null
    trap end_pools TERM
    trap replace_pool HUP
    start_pool || exit 1
    while :; do
        wait "$pool"
        kill -0 "$pool" 2>/dev/null && continue # a signal ended the wait
        note "multiwatch, pid $pool, ended; starting another"
        sleep 1 # at most one a second
        until start_pool; do sleep "$retry_seconds"; done
    done
}

# -t: multiwatch gives up a worker that ends within this time several times in a row. Less than a
# worker takes to start, so that it never does: "_worker" waits for everything that a worker needs.
# When multiwatch dies, its workers get SIGUSR1: they finish the connections they have, and the holder
# starts others. When the holder dies, multiwatch gets SIGTERM and does the same with its workers.
start_pool() {
    worker_starts || return 1
    setpriv --pdeathsig TERM \
        multiwatch -f "$TOKEN_WORKERS" -t 1 -- \
        "$(command -v setpriv)" --pdeathsig USR1 "$script" _worker <&3 3<&- &
    pool=$!
}

# Below multiwatch, which would start it again at once: the store or the secret may be missing for
# as long as a disk takes to be mounted.
worker() {
    until worker_starts; do sleep "$retry_seconds"; done
    exec "$TOKEN_BIN"
}

# Notes a reason once, not with each try.
worker_starts() {
    why=$(start_error env) && last_error= && return
    : "${why:=$TOKEN_BIN does not start}"
    [ "$why" = "$last_error" ] || note "$why"
    last_error=$why
    return 1
}

# Both pools share the socket for a moment. The new one comes first, as it may turn out not to run;
# multiwatch passes SIGTERM on as SIGUSR1 and starts no worker after it.
replace_pool() {
    trap '' HUP
    last_error= # the caller gets the reason, even if it is in the log already
    old=$pool result="reload failed"
    if start_pool && is_steady; then
        kill -TERM "$old"
        result=reloaded
    elif [ "$pool" != "$old" ]; then
        kill -TERM "$pool" 2>/dev/null
        pool=$old
    fi
    trap replace_pool HUP
    note "$result"
}

# All workers have started, and after 300 ms they are still the same.
is_steady() {
    wait_for 100 has_all_workers || { note "new pool: not all workers started"; return 1; }
    workers=$(pool_workers)
    sleep 0.3
    [ "$workers" = "$(pool_workers)" ] || { note "new pool: a worker ended at once"; return 1; }
}

has_all_workers() { [ "$(pool_workers | wc -l)" -ge "$TOKEN_WORKERS" ]; }

pool_workers() {
    for child in $(children_of "$pool"); do
        ! is_worker "$child" || echo "$child"
    done
}

# To the process group, as workers of pools that a reload has replaced are in it too. Twice, for a
# worker that multiwatch forked just before it got the first signal.
end_pools() {
    trap '' TERM HUP
    kill -TERM 0
    sleep 0.2
    kill -TERM 0
    wait
    exit 0
}

# --------------------------------------------------------------------------------------------

case $#:${1:-} in
1:start | 1:restart)
    settings
    check
    lock
    "$1"
    ;;
1:stop | 1:reload)
    settings
    lock
    "$1"
    ;;
1:status)
    settings
    status
    ;;
2:_supervise) supervise ;;
1:_worker) worker ;;
*)
    echo "usage: $0 start|stop|restart|reload|status" >&2
    exit 2
    ;;
esac
