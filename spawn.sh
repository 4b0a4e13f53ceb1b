#!/bin/sh
# Starts, stops and replaces the pool of token.fcgi workers.
#
#   spawn.sh start|stop|restart|reload|status
#
# Settings are environment variables (every TOKEN_* one reaches the workers too):
#
#   TOKEN_SOCKET        /run/token/token.sock   a Unix socket, or HOST:PORT on this machine
#   TOKEN_SOCKET_MODE   0660                    and
#   TOKEN_SOCKET_GROUP  www-data                so that nginx may connect
#   TOKEN_WORKERS       number of cores         worker processes
#   TOKEN_USER          www-data, for root      whom the workers run as
#   TOKEN_PIDFILE       beside the socket       names the holder, see below
#   TOKEN_LOG           beside the pid file     what the workers say on stderr (logrotate it
#                                               with copytruncate: it stays open)
#   TOKEN_BIN           build/token.fcgi        beside this script
#
# Who watches whom, each one the parent of the next:
#
#   holder       this script as "_supervise", begun by spawn-fcgi, which binds the socket and
#                drops root. It keeps the socket open while workers come and go, so that a
#                connection made in between waits in the socket's queue instead of failing.
#   multiwatch   forks TOKEN_WORKERS workers, and a new one for each that dies.
#   token.fcgi   serves. Until it would start, its place is held by this script as "_worker".
#
# None outlives its parent: the kernel sends each child a signal when its parent dies (setpriv
# --pdeathsig), even by kill -9. So there is never an orphan to hunt for by name.
set -u

me=$(readlink -f "$0")
said=
readonly me start_seconds=10 stop_tenths=100 reload_tenths=150 retry_seconds=0.5

note() { printf 'spawn.sh: %s\n' "$*" >&2; }
die() { note "$*"; exit 1; }

# ---- settings ------------------------------------------------------------------------------

settings() {
    : "${TOKEN_SOCKET:=/run/token/token.sock}" "${TOKEN_SOCKET_MODE:=0660}"
    : "${TOKEN_SOCKET_GROUP:=www-data}" "${TOKEN_WORKERS:=$(nproc)}"
    : "${TOKEN_BIN:=$(default_bin)}"
    if is_root; then : "${TOKEN_USER:=www-data}"; else : "${TOKEN_USER:=$(id -un)}"; fi
    case $TOKEN_SOCKET in localhost:*) TOKEN_SOCKET=127.0.0.1:${TOKEN_SOCKET#*:} ;; esac
    is_tcp || TOKEN_SOCKET=$(absolute "$TOKEN_SOCKET")
    : "${TOKEN_PIDFILE:=$(default_pidfile)}"
    TOKEN_PIDFILE=$(absolute "$TOKEN_PIDFILE")
    : "${TOKEN_LOG:=${TOKEN_PIDFILE%.pid}.log}"
    TOKEN_LOG=$(absolute "$TOKEN_LOG")
    # The holder works in /, where a relative path would mean another file.
    TOKEN_BIN=$(absolute "$TOKEN_BIN")
    [ -z "${TOKEN_STORE:-}" ] || TOKEN_STORE=$(absolute "$TOKEN_STORE")
    [ -z "${TOKEN_SECRET:-}" ] || TOKEN_SECRET=$(absolute "$TOKEN_SECRET")
    export TOKEN_BIN TOKEN_WORKERS
}

is_root() { [ "$(id -u)" -eq 0 ]; }

is_tcp() { case $TOKEN_SOCKET in */*) return 1 ;; *:*) ;; *) return 1 ;; esac; }

absolute() { case $1 in /*) printf '%s\n' "$1" ;; *) printf '%s/%s\n' "$PWD" "$1" ;; esac; }

# In a checkout, or as make install puts it.
default_bin() {
    folder=$(dirname "$me")
    [ -e "$folder/token.fcgi" ] || folder=$folder/build
    printf '%s/token.fcgi\n' "$folder"
}

default_pidfile() {
    if is_tcp; then
        printf '/run/token/%s.pid\n' "$TOKEN_SOCKET"
    else
        printf '%s.pid\n' "${TOKEN_SOCKET%.sock}"
    fi
}

check() {
    check_tools
    is_between 1 1024 "$TOKEN_WORKERS" ||
        die "TOKEN_WORKERS: '$TOKEN_WORKERS' is not a number from 1 to 1024"
    check_user
    if is_tcp; then check_address; else check_socket; fi
    [ -f "$TOKEN_BIN" ] || die "TOKEN_BIN: there is no $TOKEN_BIN (run make first)"
    { as_worker test -x "$TOKEN_BIN" && as_worker test -r "$me"; } ||
        die "TOKEN_USER: $TOKEN_USER may not run $TOKEN_BIN (are its folders open to that user?)"
}

# At most nine digits, so that the shell's arithmetic can hold it.
is_whole_number() { case $1 in '' | *[!0-9]* | ??????????*) return 1 ;; esac; }

is_between() { is_whole_number "$3" && [ "$3" -ge "$1" ] && [ "$3" -le "$2" ]; }

check_user() {
    id -u -- "$TOKEN_USER" >/dev/null 2>&1 || die "TOKEN_USER: there is no user '$TOKEN_USER'"
    if is_root; then
        changes_user || note "TOKEN_USER is $TOKEN_USER: the workers run as root"
    elif [ "$(id -u -- "$TOKEN_USER")" -ne "$(id -u)" ]; then
        die "TOKEN_USER: only root can start workers as $TOKEN_USER"
    fi
}

# The workers trust whoever can connect: no address that another machine reaches.
check_address() {
    port=${TOKEN_SOCKET##*:}
    case ${TOKEN_SOCKET%:*} in
    *:*) die "TOKEN_SOCKET: cgi-fcgi, which asks whether the pool answers, knows no IPv6: use 127.0.0.1:$port" ;;
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
    ! is_root || getent group "$TOKEN_SOCKET_GROUP" >/dev/null ||
        die "TOKEN_SOCKET_GROUP: there is no group '$TOKEN_SOCKET_GROUP'"
    [ ! -e "$TOKEN_SOCKET" ] || [ -S "$TOKEN_SOCKET" ] ||
        die "TOKEN_SOCKET: $TOKEN_SOCKET exists and is no socket"
}

check_tools() {
    for tool in spawn-fcgi multiwatch cgi-fcgi flock setsid setpriv; do
        command -v "$tool" >/dev/null ||
            die "$tool is missing: apt-get install spawn-fcgi multiwatch libfcgi-bin util-linux"
    done
}

changes_user() { is_root && [ "$(id -u -- "$TOKEN_USER")" -ne 0 ]; }

as_worker() {
    if changes_user; then
        setpriv --reuid "$TOKEN_USER" --regid "$(id -g -- "$TOKEN_USER")" --init-groups "$@"
    else
        "$@"
    fi
}

# ---- what is running -----------------------------------------------------------------------

# A real request through the socket: the pool answers only when a worker does.
answers() {
    env -i PATH="$PATH" REQUEST_METHOD=OPTIONS SCRIPT_NAME=/api/token PATH_INFO=/ \
        timeout 2 cgi-fcgi -bind -connect "$TOKEN_SOCKET" </dev/null 2>/dev/null |
        grep -q '^Status: 204'
}

# Prints the holder's pid, or fails. A pid file may outlive its process, and the pid may
# belong to another one by now: only a holder of this very socket counts.
holder_pid() {
    pid=
    { read -r pid <"$TOKEN_PIDFILE"; } 2>/dev/null
    is_whole_number "$pid" || return 1
    case $(command_line "$pid") in
    *" _supervise $TOKEN_SOCKET ") printf '%s\n' "$pid" ;;
    *) return 1 ;;
    esac
}

command_line() { { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null; }

# A zombie is gone too: whose child the holder has become may never reap it.
is_gone() { ! grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status"; }

# wait_for TENTHS COMMAND...: until COMMAND succeeds, so many tenths of a second at most.
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
    # In a subshell first: an exec that cannot open its file ends the shell without a word.
    (: >>"$lock") 2>/dev/null || die "TOKEN_PIDFILE: cannot write $lock (as $(id -un))"
    exec 9>>"$lock"
    flock -w 60 9 || die "another spawn.sh is at work"
}

make_folder() {
    # nginx must get through it, whatever the caller's umask.
    [ -d "${1%/*}/" ] || (umask 022 && mkdir -p "${1%/*}") 2>/dev/null ||
        die "cannot create the folder ${1%/*} (as $(id -un))"
}

# ---- commands ------------------------------------------------------------------------------

start() {
    if holder=$(holder_pid); then
        log_seen=$(log_size)
        if await_answer "$holder" && ! is_gone "$holder"; then
            echo "already running, pid $holder"
            return
        fi
        # One that was being killed when it was found is gone by now.
        is_gone "$holder" || fail "the pool is running (pid $holder) but does not answer"
    fi
    is_tcp || make_folder "$TOKEN_SOCKET"
    (umask 027 && : >>"$TOKEN_LOG") 2>/dev/null || die "TOKEN_LOG: cannot write $TOKEN_LOG"
    clear_stale
    log_seen=$(log_size)
    launch
    if ! await_answer "$holder"; then
        stop_holder "$holder"
        rm -f "$TOKEN_PIDFILE"
        fail "the pool did not start"
    fi
    share_socket
    echo "started, pid $holder, $TOKEN_WORKERS workers on $TOKEN_SOCKET, log $TOKEN_LOG"
}

log_size() { wc -c 2>/dev/null <"$TOKEN_LOG" || echo 0; }
new_log() { tail -c "+$((log_seen + 1))" "$TOKEN_LOG"; }

# Each line once, as every worker said it, again and again; and without what multiwatch added.
fail() {
    new_log | awk '!/^(Child|Spawning child)\[/ && !seen[$0]++' >&2
    die "$*; log $TOKEN_LOG"
}

# A holder that was killed: its socket goes at once; a port is free when its workers have
# served their last connections. They were told to, see the top.
clear_stale() {
    pid=
    { read -r pid <"$TOKEN_PIDFILE"; } 2>/dev/null
    is_whole_number "$pid" || return 0
    if is_tcp; then wait_for "$stop_tenths" is_empty_group "$pid"; else rm -f "$TOKEN_SOCKET"; fi
    return 0
}

is_empty_group() { ! kill -s 0 -- "-$1" 2>/dev/null; }

launch() {
    # Connections wait in this queue during a reload; the kernel cuts it to somaxconn.
    set -- -n -b 4096
    if is_tcp; then
        set -- "$@" -a "${TOKEN_SOCKET%:*}" -p "${TOKEN_SOCKET##*:}"
    else
        set -- "$@" -s "$TOKEN_SOCKET" -M "$TOKEN_SOCKET_MODE"
        # spawn-fcgi refuses to set root, which is what it would be anyway.
        ! changes_user || set -- "$@" -U "$TOKEN_USER"
        ! is_root || [ "$TOKEN_SOCKET_GROUP" = root ] || set -- "$@" -G "$TOKEN_SOCKET_GROUP"
    fi
    ! changes_user || set -- "$@" -u "$TOKEN_USER"
    # A shell starts background commands with SIGINT ignored, nohup with SIGHUP, and a shell
    # cannot trap what it found ignored. A session of its own has no terminal to lose, and makes
    # the holder's pid the process group of all that it starts.
    env --default-signal setsid spawn-fcgi "$@" -- "$me" _supervise "$TOKEN_SOCKET" \
        </dev/null >>"$TOKEN_LOG" 2>&1 9>&- &
    holder=$!
    printf '%s\n' "$holder" >"$TOKEN_PIDFILE" || fail "TOKEN_PIDFILE: cannot write $TOKEN_PIDFILE"
}

await_answer() {
    deadline=$(($(date +%s) + start_seconds))
    until answers; do
        ! is_gone "$1" && [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

# Root had spawn-fcgi do it. Others can give the socket to a group of theirs only.
share_socket() {
    is_tcp || is_root || chgrp "$TOKEN_SOCKET_GROUP" "$TOKEN_SOCKET" 2>/dev/null || true
}

stop() {
    if holder=$(holder_pid); then
        stop_holder "$holder"
        echo "stopped"
    else
        echo "not running"
    fi
    # Without a pid file the socket is not ours.
    [ -e "$TOKEN_PIDFILE" ] || return 0
    is_tcp || rm -f "$TOKEN_SOCKET"
    rm -f "$TOKEN_PIDFILE"
}

stop_holder() {
    kill -TERM "$1" 2>/dev/null
    wait_for "$stop_tenths" is_gone "$1" && return
    note "not stopped in $((stop_tenths / 10)) s: killing process group $1"
    kill -s KILL -- "-$1" 2>/dev/null
    wait_for 10 is_gone "$1"
}

reload() {
    holder=$(holder_pid) || die "not running"
    log_seen=$(log_size)
    kill -HUP "$holder"
    wait_for "$reload_tenths" is_reload_over || fail "reload: the holder, pid $holder, does not say that it is done"
    new_log | grep -q '^spawn.sh: reloaded' || fail "the old workers go on"
    answers || fail "the new workers do not answer"
    echo "reloaded, pid $holder"
}

# The holder may have dropped root: its log is the one thing it can write to.
is_reload_over() { new_log | grep -q '^spawn.sh: reload'; }

status() {
    if answers; then
        holder=$(holder_pid) || holder=unknown
        echo "running, pid $holder, $(count_workers), on $TOKEN_SOCKET"
    elif holder=$(holder_pid); then
        why_not as_worker env >&2 || true
        die "pid $holder runs with $(count_workers) but does not answer on $TOKEN_SOCKET; log $TOKEN_LOG"
    else
        note "not running"
        exit 3
    fi
}

# Of the holder's pools: in a reload there are two.
count_workers() {
    places=0 serving=0
    for pool in $(children_of "$holder"); do
        for child in $(children_of "$pool"); do
            places=$((places + 1))
            ! is_worker "$child" || serving=$((serving + 1))
        done
    done
    echo "$serving of $places workers"
}

children_of() { cat "/proc/$1/task/$1/children" 2>/dev/null; }

is_worker() { [ "$(command_line "$1")" = "$TOKEN_BIN " ]; }

# Starts a worker as plain CGI, which needs no socket, by a command that ends in env. Fails
# where it does not start, and prints why.
why_not() {
    "$@" REQUEST_METHOD=OPTIONS SCRIPT_NAME=/api/token PATH_INFO=/ \
        setpriv --pdeathsig KILL timeout --foreground 10 setpriv --pdeathsig KILL "$TOKEN_BIN" \
        </dev/null 2>&1 >/dev/null 3<&-
}

# ---- the holder ----------------------------------------------------------------------------

supervise() {
    cd / || exit 1
    # The socket moves from fd 0: "command &" gets /dev/null there, and no helper needs it.
    exec 3<&0 </dev/null
    trap end_pools TERM
    trap replace_pool HUP
    start_pool || exit 1
    while :; do
        wait "$pool"
        kill -0 "$pool" 2>/dev/null && continue # it was a signal that ended the wait
        note "multiwatch, pid $pool, ended; starting another"
        sleep 1 # once a second at most, whatever ends it
        until start_pool; do sleep "$retry_seconds"; done
    done
}

# -t: multiwatch gives a place up for good where its children die within that time again and again,
# by default of a few; 1 ms is less than a worker takes to begin, so that none is ever given up.
# None dies for what keeps it from starting, see worker.
# When multiwatch dies its workers get SIGUSR1: they serve the connections they have and end,
# while the holder starts others. When the holder dies SIGTERM has multiwatch do the same.
start_pool() {
    worker_starts || return 1
    setpriv --pdeathsig TERM \
        multiwatch -f "$TOKEN_WORKERS" -t 1 -- \
        "$(command -v setpriv)" --pdeathsig USR1 "$me" _worker <&3 3<&- &
    pool=$!
}

# A worker's place under multiwatch, which knows only to start it again at once, and after a
# while never: the store or the secret may be gone for as long as a disk is being mounted.
worker() {
    until worker_starts; do sleep "$retry_seconds"; done
    exec "$TOKEN_BIN"
}

# What keeps a worker from starting (a setting, the store, the secret) is said when it is
# something new, and not with each try; and a reload ends no worker for it.
worker_starts() {
    why=$(why_not env) && said= && return
    : "${why:=$TOKEN_BIN does not start}"
    [ "$why" = "$said" ] || note "$why"
    said=$why
    return 1
}

# Both pools share the socket for a moment. The new one first, so that it can still turn out
# not to run; multiwatch passes SIGTERM on as SIGUSR1 and starts no worker again after it.
replace_pool() {
    trap '' HUP # one at a time
    said=       # who asked is told why, again if need be
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

# All workers have begun, and none ended and was started again within 300 ms.
is_steady() {
    wait_for 100 has_all_workers || { note "new pool: not all workers began"; return 1; }
    workers=$(pool_workers)
    sleep 0.3
    [ "$workers" = "$(pool_workers)" ] || { note "new pool: a worker ended at once"; return 1; }
}

has_all_workers() {
    # shellcheck disable=SC2046 # to count words
    set -- $(pool_workers)
    [ $# -ge "$TOKEN_WORKERS" ]
}

pool_workers() {
    for child in $(children_of "$pool"); do
        ! is_worker "$child" || echo "$child"
    done
}

# To the whole group: workers of pools that a reload is still retiring are in it too. Twice,
# for a worker that multiwatch forked just before it got the first.
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
1:start)
    settings
    check
    lock
    start
    ;;
1:stop | 1:reload)
    settings
    lock
    "$1"
    ;;
1:restart)
    settings
    check
    lock
    stop
    start
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
