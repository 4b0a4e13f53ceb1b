#!/bin/sh
# Starts, stops and replaces the pool of token.fcgi workers.
#
#   spawn.sh start|stop|restart|reload|status
#   spawn.sh run                start, stay in the foreground, stop on SIGTERM or SIGINT, reload on SIGHUP;
#                               on the socket that systemd passes, if it does (LISTEN_FDS=1)
#   spawn.sh --help | --version
#
# Settings are environment variables, which the workers get too, and lines NAME=value of
# /etc/token/token.conf, or the file that TOKEN_CONF names. The environment takes precedence.
#
#   TOKEN_SOCKET        /run/token/token.sock   a Unix socket, or HOST:PORT on this machine
#   TOKEN_SOCKET_MODE   0660                    mode and group of the socket: nginx must be
#   TOKEN_SOCKET_GROUP  www-data                able to connect
#   TOKEN_WORKERS       number of cores         worker processes
#   TOKEN_USER          the store's owner       the workers' user, for root; without a store: token, or
#                                               www-data
#   TOKEN_PIDFILE       beside the socket       has the pid of the holder, see below
#   TOKEN_LOG           beside the pid file     the workers' stderr; after a renaming, reload or
#                                               SIGHUP to the holder opens it again; of "run" it is
#                                               standard error, if this is not set
#   TOKEN_SHARED        beside the socket       the workers' shared counters: "metrics"; beside the pid
#                                               file, if the socket is a port
#   TOKEN_BIN           beside spawn.sh         token.fcgi there, or in build/
#
# Processes, each the parent of the next:
#
#   holder       this script as "_supervise", started by spawn-fcgi, which binds the socket. It
#                keeps the socket open during a reload, so that a connection waits in the socket's
#                queue instead of failing. It stays root only to open the log again, see keeps_root.
#   multiwatch   forks TOKEN_WORKERS workers, and another one for each that ends.
#   token.fcgi   serves. Until it can start, this script as "_worker" takes its place.
#
# The kernel sends each child a signal when its parent ends, even by kill -9 (setpriv --pdeathsig):
# there is never an orphan to find by its name.
set -u

script=$(readlink -f "$0")
last_error=
become='env' # runs a command as TOKEN_USER
result=      # the holder's, during a reload: the file for its caller
command=${1:-}
conf_names="TOKEN_SOCKET TOKEN_SOCKET_MODE TOKEN_SOCKET_GROUP TOKEN_WORKERS TOKEN_USER"
conf_names="$conf_names TOKEN_PIDFILE TOKEN_LOG TOKEN_SHARED TOKEN_BIN TOKEN_STORE TOKEN_SECRET"
readonly script conf_names start_seconds=10 stop_tenths=100 reload_tenths=150 retry_seconds=0.5

note() {
    case $command in
    _*) printf '%s spawn.sh[%s]: %s\n' "$(date -u +%FT%TZ)" "$$" "$*" >&2 ;; # a line of the log
    *) printf 'spawn.sh: %s\n' "$*" >&2 ;;
    esac
    [ -z "$result" ] || [ ! -f "$result" ] || printf '%s\n' "$*" >>"$result"
}
die() { note "$*"; exit 1; }

# ---- settings ------------------------------------------------------------------------------

# The names that the environment has, each between blanks.
given=" $(env | sed -n 's/^\(TOKEN_[A-Z_]*\)=..*/\1/p' | tr '\n' ' ')"

# Called once more, it reads the file again.
settings() {
    for name in $conf_names; do
        case $given in *" $name "*) ;; *) unset "$name" ;; esac
    done
    read_conf
    [ "$command" != run ] || [ -n "${TOKEN_LOG:-}" ] || export TOKEN_LOG=-
    : "${TOKEN_SOCKET:=/run/token/token.sock}" "${TOKEN_SOCKET_MODE:=0660}"
    : "${TOKEN_SOCKET_GROUP:=www-data}" "${TOKEN_WORKERS:=$(nproc)}"
    : "${TOKEN_BIN:=$(default_bin)}"
    : "${TOKEN_USER:=$(default_user)}"
    case $TOKEN_SOCKET in localhost:*) TOKEN_SOCKET=127.0.0.1:${TOKEN_SOCKET#*:} ;; esac
    if is_tcp; then
        : "${TOKEN_PIDFILE:=/run/token/$TOKEN_SOCKET.pid}"
        : "${TOKEN_SHARED:=${TOKEN_PIDFILE%.pid}.metrics}"
    else
        is_path "$TOKEN_SOCKET" || die "TOKEN_SOCKET: '$TOKEN_SOCKET' is neither HOST:PORT nor a path with a /"
        TOKEN_SOCKET=$(resolved "$TOKEN_SOCKET")
        : "${TOKEN_PIDFILE:=${TOKEN_SOCKET%.sock}.pid}"
        : "${TOKEN_SHARED:=${TOKEN_SOCKET%/*}/metrics}"
    fi
    id -u -- "$TOKEN_USER" >/dev/null 2>&1 || die "TOKEN_USER: there is no user '$TOKEN_USER'"
    ! changes_user ||
        become="setpriv --reuid $(id -u -- "$TOKEN_USER") --regid $(id -g -- "$TOKEN_USER") --init-groups"
    # The holder works in /, where a relative path would name another file.
    TOKEN_PIDFILE=$(resolved "$TOKEN_PIDFILE")
    : "${TOKEN_LOG:=${TOKEN_PIDFILE%.pid}.log}"
    ! has_log || TOKEN_LOG=$(resolved "$TOKEN_LOG")
    TOKEN_SHARED=$(resolved "$TOKEN_SHARED")
    TOKEN_BIN=$(absolute "$TOKEN_BIN")
    [ -z "${TOKEN_STORE:-}" ] || TOKEN_STORE=$(absolute "$TOKEN_STORE")
    [ -z "${TOKEN_SECRET:-}" ] || TOKEN_SECRET=$(absolute "$TOKEN_SECRET")
}

# The names that this script uses; the workers read the others, and say what is wrong with a line.
read_conf() {
    conf=$(absolute "${TOKEN_CONF:-/etc/token/token.conf}")
    if [ -n "${TOKEN_CONF:-}" ]; then TOKEN_CONF=$conf; else [ -e "$conf" ] || return 0; fi
    [ "$command" != status ] || [ ! -e "$conf" ] || [ -r "$conf" ] || no_permission "$conf"
    { [ -f "$conf" ] && [ -r "$conf" ]; } || die "TOKEN_CONF: cannot read $conf (as $(id -un))"
    exec 8<"$conf"
    [ -n "$(find -L /proc/self/fd/8 -maxdepth 0 ! -perm /022 \( -user 0 -o -user "$(id -u)" \) 2>/dev/null)" ] ||
        die "TOKEN_CONF: $conf must belong to root or the caller ($(id -un)), and others may not write to it"
    number=0
    while IFS= read -r line <&8 || [ -n "$line" ]; do
        number=$((number + 1)) name=${line%%=*} value=${line#*=}
        [ "$name" != "$line" ] || continue
        case $name in '' | *[!A-Z_]*) continue ;; esac
        case " $conf_names " in *" $name "*) ;; *) continue ;; esac
        case $value in *[\"\'\\\$]* | [[:space:]]* | *[[:space:]])
            die "TOKEN_CONF: $conf:$number: a value has no quotes, \\ or \$, and no blanks at its ends"
            ;;
        esac
        case $given in *" $name "*) ;; *) assign "$name" "$value" ;; esac
    done
    exec 8<&-
}

# An empty value counts as unset.
assign() {
    [ -z "$2" ] || IFS= read -r "$1" <<END
$2
END
}

see_log() { ! has_log || printf '; log %s' "$TOKEN_LOG"; }
has_log() { [ "$TOKEN_LOG" != - ]; }

# For root the owner of the store, or of the secret where the store is a database; or an account that has
# no other work: nginx's and PHP's must not be able to read the secret.
default_user() {
    is_root || { id -un; return; }
    owned=${TOKEN_STORE:-/var/lib/token/store}
    case $owned in *://*) owned=${TOKEN_SECRET:-/etc/token/secret} ;; esac
    owner=$(stat -L -c %U "$owned" 2>/dev/null)
    case $owner in '' | root | UNKNOWN) ;; *) echo "$owner"; return ;; esac
    if id -u token >/dev/null 2>&1; then echo token; else echo www-data; fi
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# Whether systemd has opened the socket, with the owner and mode of its unit: sd_listen_fds(3).
is_passed() { [ "${LISTEN_PID:-}" = "$$" ]; }

is_tcp() { case $TOKEN_SOCKET in */*) return 1 ;; *:*) ;; *) return 1 ;; esac; }

# "127.0.0.1" or "localhost", without a port, is not meant as a file's name.
is_path() { case $1 in */* | ?*.sock) ;; *) return 1 ;; esac; }

absolute() { case $1 in /* | *://*) printf '%s\n' "$1" ;; *) printf '%s/%s\n' "$(pwd)" "$1" ;; esac; }

# With the folder's real path: no link on the way can change later.
resolved() { printf '%s/%s\n' "$(readlink -m "$(dirname "$1")")" "$(basename "$1")"; }

# Beside this script, as make install puts it, or in a checkout's build/.
default_bin() {
    folder=$(dirname "$script")
    [ -e "$folder/token.fcgi" ] || folder=$folder/build
    printf '%s/token.fcgi\n' "$folder"
}

check() {
    for tool in spawn-fcgi multiwatch cgi-fcgi flock setsid setpriv bash; do
        command -v "$tool" >/dev/null ||
            die "$tool is missing: apt-get install spawn-fcgi multiwatch libfcgi-bin util-linux"
    done
    check_workers
    if is_root; then
        changes_user || note "TOKEN_USER is $TOKEN_USER: the workers run as root"
    elif [ "$(id -u -- "$TOKEN_USER")" -ne "$(id -u)" ]; then
        die "TOKEN_USER: only root can start workers as $TOKEN_USER"
    fi
    if [ "$command" = reload ] || is_passed; then :; elif is_tcp; then check_address; else check_socket; fi
    [ -f "$TOKEN_BIN" ] || die "TOKEN_BIN: there is no $TOKEN_BIN (run make first)"
    { as_worker test -x "$TOKEN_BIN" && as_worker test -r "$script"; } ||
        die "TOKEN_USER: $TOKEN_USER may not run $TOKEN_BIN (are its folders open to that user?)"
}

check_workers() {
    is_between 1 1024 "$TOKEN_WORKERS" ||
        die "TOKEN_WORKERS: '$TOKEN_WORKERS' is not a number from 1 to 1024"
}

# At most nine digits, so that the shell's arithmetic can hold it.
is_number() { case $1 in '' | *[!0-9]* | ??????????*) return 1 ;; esac; }

is_between() { is_number "$3" && [ "$3" -ge "$1" ] && [ "$3" -le "$2" ]; }

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

# shellcheck disable=SC2086 # words
as_worker() { $become "$@"; }

# Whoever may write to a folder can plant links in it, which root would follow: root works only in
# folders that are its own alone, up to the first. as_keeper FILE COMMAND...: in others as TOKEN_USER.
as_keeper() {
    folder=${1%/*}
    shift
    if is_roots "$folder"; then "$@"; else as_worker "$@"; fi
}

# Of the folders above, others may own files in one with the sticky bit, but can't rename this one.
is_roots() {
    path=$1
    [ -n "$(find "$path/" -maxdepth 0 ! -perm /022 2>/dev/null)" ] || return 1
    while [ -n "$(find "$path/" -maxdepth 0 -user 0 \( ! -perm /022 -o -perm -1000 \) 2>/dev/null)" ]; do
        [ -n "$path" ] || return 0
        path=${path%/*}
    done
    return 1
}

is_roots_socket() { is_root && is_roots "${TOKEN_SOCKET%/*}"; }

# Whether the holder stays root, to open the log again in a folder that TOKEN_USER may not write to.
keeps_root() {
    changes_user && { is_tcp || is_roots_socket; } && is_roots "${TOKEN_PIDFILE%/*}" && is_roots "${TOKEN_LOG%/*}"
}

# ---- processes -----------------------------------------------------------------------------

# ask SECONDS METHOD PATH: a request through the socket, which only a worker can answer.
ask() {
    env -i PATH="$PATH" REQUEST_METHOD="$2" PATH_INFO="$3" \
        timeout "$1" cgi-fcgi -bind -connect "$TOKEN_SOCKET" </dev/null 2>/dev/null
}

answers() { ask 2 OPTIONS /api/token/ | grep -q '^Status: 204'; }

# Whether the caller may connect to the socket, if there is one.
may_ask() {
    ! is_tcp || return 0
    folder=$(existing "${TOKEN_SOCKET%/*}")
    [ -x "$folder/" ] && { [ ! -e "$TOKEN_SOCKET" ] || [ -w "$TOKEN_SOCKET" ]; }
}

# Whether a worker starts: runs it as plain CGI, which needs no socket. Sets why. The first one of a new
# version upgrades the store: that may take its time, see "start".
can_start() {
    why=$(as_worker env REQUEST_METHOD=OPTIONS SCRIPT_NAME=/api/token PATH_INFO=/ \
        setpriv --pdeathsig KILL timeout --foreground "${1:-10}" setpriv --pdeathsig KILL "$TOKEN_BIN" \
        </dev/null 2>&1 >/dev/null 3<&-) && return 0 # a mere return, in a trap of bash, has the status from before
    # Without its time and pid.
    why=$(printf '%s\n' "${why:-$TOKEN_BIN does not start}" | sed 's/^[0-9TZ:-]* token.fcgi\[[0-9]*]: //')
    return 1
}

# Sets pid to the number in the pid file.
read_pid() {
    pid=
    [ -f "$TOKEN_PIDFILE" ] || return 1
    { read -r pid <"$TOKEN_PIDFILE"; } 2>/dev/null
    is_number "$pid"
}

# Sets holder. A pid file may outlive its process, and the pid may belong to another process:
# only a holder of this socket counts.
find_holder() {
    read_pid && is_holder "$pid" && holder=$pid
}

# Once it has bound the socket: before, the process is one of the programs that "launch" runs.
is_holder() { case $(command_line "$1") in "/bin/sh "*" _supervise $TOKEN_SOCKET ") ;; *) return 1 ;; esac; }

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

# One start, stop or reload at a time, of the pools whose pid files are in one folder.
lock() {
    make_folder "$TOKEN_PIDFILE"
    # In a subshell first: an exec that cannot open its file ends the shell silently.
    (: <"${TOKEN_PIDFILE%/*}/") 2>/dev/null || die "TOKEN_PIDFILE: cannot read ${TOKEN_PIDFILE%/*} (as $(id -un))"
    exec 9<"${TOKEN_PIDFILE%/*}/"
    flock -w 60 9 || die "another spawn.sh is running"
}

# The file's folder: nginx must be able to enter it, whatever the caller's umask.
make_folder() {
    [ -d "${1%/*}/" ] || (umask 022 && as_keeper "$(existing "${1%/*}")/x" mkdir -p "${1%/*}") 2>/dev/null ||
        die "cannot create the folder ${1%/*} (as $(id -un))"
}

# The folder, or the nearest above it that is there.
existing() {
    path=$1
    until [ -d "$path/" ]; do path=${path%/*}; done
    printf '%s\n' "$path"
}

# shellcheck disable=SC2016 # for sh
write() { [ ! -p "$1" ] && as_keeper "$1" sh -c 'umask 022 && printf "$2" >"$1"' sh "$1" "$2" 2>/dev/null; }

# Also for a holder that could not make it, as it is not root.
make_log() {
    has_log || return 0
    [ ! -p "$TOKEN_LOG" ] || die "TOKEN_LOG: $TOKEN_LOG is a FIFO"
    # shellcheck disable=SC2016 # for sh
    as_keeper "$TOKEN_LOG" sh -c 'umask 027 && : >>"$1"' sh "$TOKEN_LOG" 2>/dev/null ||
        die "TOKEN_LOG: cannot write $TOKEN_LOG"
    [ ! -f "$TOKEN_LOG" ] || ! changes_user || keeps_root || ! is_roots "${TOKEN_LOG%/*}" ||
        chown "$TOKEN_USER" "$TOKEN_LOG"
}

# For workers that may not make it; what is wrong with it they say.
make_shared() {
    [ ! -p "$TOKEN_SHARED" ] || return 0
    # shellcheck disable=SC2016 # for sh
    as_keeper "$TOKEN_SHARED" sh -c 'umask 077 && : >>"$1"' sh "$TOKEN_SHARED" 2>/dev/null || return 0
    ! changes_user || ! is_roots "${TOKEN_SHARED%/*}" || ! is_counters "$TOKEN_SHARED" ||
        chown "$TOKEN_USER" "$TOKEN_SHARED"
}

# And not another file that is named by mistake: see counters.c.
is_counters() { [ -f "$1" ] && case $(head -c 8 "$1") in '' | tokenmet) ;; *) return 1 ;; esac; }

# ---- commands ------------------------------------------------------------------------------

start() {
    if find_holder; then
        make_log
        log_start=$(log_size)
        if await_answer; then
            echo "already running, pid $holder"
            return
        fi
        # It may have been ending when it was found.
        has_ended "$holder" || fail "the pool is running (pid $holder) but does not answer"
    fi
    is_tcp || make_folder "$TOKEN_SOCKET"
    make_log
    make_shared
    clear_stale
    can_start 3600
    log_start=$(log_size)
    launch
    await_answer || give_up "the pool did not start"
    give_socket
    echo "started, pid $holder, $TOKEN_WORKERS workers on $TOKEN_SOCKET$(see_log)"
}

# For root spawn-fcgi has set the group, if the folder is root's. If not, only TOKEN_USER touches the
# socket, as a member of that group for once.
give_socket() {
    is_tcp || is_roots_socket || {
        set -- chgrp "$TOKEN_SOCKET_GROUP" "$TOKEN_SOCKET"
        ! changes_user || set -- setpriv --reuid "$TOKEN_USER" --regid "$(id -g -- "$TOKEN_USER")" --groups "$group" "$@"
        why=$("$@" 2>&1) || give_up "TOKEN_SOCKET_GROUP: $why"
    }
}

give_up() {
    stop_holder
    as_keeper "$TOKEN_PIDFILE" rm -f "$TOKEN_PIDFILE"
    fail "$*"
}

log_size() { wc -c 2>/dev/null <"$TOKEN_LOG" || echo 0; }
new_log() { ! has_log || tail -c "+$((log_start + 1))" "$TOKEN_LOG" 2>/dev/null; }

# Prints each new line of the log once, without multiwatch's, and ends.
fail() {
    new_log | awk '!/^(Child|Spawning child)\[/ && !seen[$0]++' >&2
    die "$*$(see_log)"
}

# After a holder that was killed: its workers have got a signal. They accept no more connections, and
# a port is free when they have served those that they have.
clear_stale() {
    if read_pid && ! is_empty_group "$pid"; then
        if is_tcp; then set -- is_empty_group "$pid"; else set -- is_silent; fi
        wait_for "$stop_tenths" "$@"
    fi
    ! answers || die "TOKEN_SOCKET: $TOKEN_SOCKET is in use by another pool"
    is_tcp || [ ! -e "$TOKEN_PIDFILE" ] || as_keeper "$TOKEN_SOCKET" rm -f "$TOKEN_SOCKET"
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
    fi
    set -- spawn-fcgi "$@"
    # spawn-fcgi refuses root, which is the default anyway.
    if ! is_tcp && is_roots_socket; then
        ! changes_user || set -- "$@" -U "$TOKEN_USER"
        [ "$TOKEN_SOCKET_GROUP" = root ] || set -- "$@" -G "$TOKEN_SOCKET_GROUP"
    fi
    if is_tcp || is_roots_socket; then
        ! changes_user || keeps_root || set -- "$@" -u "$TOKEN_USER"
    else
        # shellcheck disable=SC2086 # words
        set -- $become "$@"
    fi
    # A session of its own has no terminal to lose, and makes the holder's pid the process group of
    # all its descendants.
    set -- "$@" --
    [ "$command" != run ] || set -- "$@" "$(command -v setpriv)" --pdeathsig TERM
    clean setsid "$@" "$script" _supervise "$TOKEN_SOCKET" </dev/null >&2 &
    holder=$!
    write "$TOKEN_PIDFILE" "$holder\n" || give_up "TOKEN_PIDFILE: cannot write $TOKEN_PIDFILE"
}

# Becomes a command, to which the caller hands on standard input, output and error, TOKEN_*, PATH,
# locale and systemd's NOTIFY_SOCKET. --default-signal: a shell starts background commands with SIGINT
# ignored, nohup with SIGHUP, and a shell can't trap a signal that was ignored when it started. bash:
# other shells can't close descriptors above 9. No value is an argument, which others could read:
# TOKEN_STORE may have a password.
clean() {
    # shellcheck disable=SC2016 # for bash
    exec bash -p -c '
        for fd in /proc/$$/fd/*; do
            fd=${fd##*/}
            [ "$fd" -le 2 ] || exec {fd}>&-
        done
        set -- --default-signal "$@"
        while IFS= read -r -d "" variable; do
            case $variable in
            TOKEN_*=* | PATH=* | LANG=* | LANGUAGE=* | LC_*=* | NOTIFY_SOCKET=* | =*) ;;
            *) set -- -u "${variable%%=*}" "$@" ;;
            esac
        done </proc/$$/environ
        exec env -u _ -u PWD -u OLDPWD -u SHLVL "$@"' bash "$@"
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
    remove_files
}

remove_files() {
    # Without a pid file, or if it still answers, the socket is another program's.
    [ -e "$TOKEN_PIDFILE" ] || return 0
    is_tcp || answers || as_keeper "$TOKEN_SOCKET" rm -f "$TOKEN_SOCKET"
    as_keeper "$TOKEN_PIDFILE" rm -f "$TOKEN_PIDFILE"
}

stop_holder() {
    kill -TERM "$holder" 2>/dev/null || has_ended "$holder" || return 1
    wait_for "$stop_tenths" has_ended "$holder" && return
    note "not stopped after $((stop_tenths / 10)) s: killing process group $holder"
    kill -s KILL -- "-$holder" 2>/dev/null
    wait_for 10 has_ended "$holder"
}

# A pool that runs stays when the new settings are wrong.
restart() {
    can_start || waits_for_upgrade "$why" || die "$why"
    ! is_away || die "$why"
    stop
    start
}

# A store of an older version is upgraded when no older program is left.
waits_for_upgrade() { case $1 in *"so that this one can upgrade it"*) ;; *) return 1 ;; esac; }

# Until the holder has ended, or a signal ends it. What a shell waits for must be its child: the holder
# of a pool that was running is not.
run() {
    ! is_passed || become_holder
    ending=
    trap 'ending=yes' TERM INT QUIT
    trap '' HUP
    start
    exec 9<&-
    trap 'ending=yes; kill -TERM "$holder"' TERM INT QUIT
    trap 'kill -HUP "$holder"' HUP
    until has_ended "$holder"; do
        [ -z "$ending" ] || { stop_holder; break; }
        wait "$holder"
        [ $? -ne 127 ] || sleep 0.5
    done
    remove_files
    [ -n "$ending" ] || die "the pool has ended (pid $holder)"
}

# The socket is a unit's of systemd, which starts this process again when it ends.
become_holder() {
    [ "$LISTEN_FDS" = 1 ] || die "LISTEN_FDS: $LISTEN_FDS sockets were passed instead of one"
    can_start 3600 || die "$why"
    write "$TOKEN_PIDFILE" "$$\n" || die "TOKEN_PIDFILE: cannot write $TOKEN_PIDFILE"
    clean "$script" _supervise "$TOKEN_SOCKET" <&3
}

# The holder notes the result in a file, as the log may be full, or anywhere.
reload() {
    find_holder || die "not running"
    outcome=$(result_file)
    make_log
    make_shared
    write "$outcome" "" || die "cannot write $outcome"
    ! is_root || ! is_roots "${outcome%/*}" || chown "$TOKEN_USER" "$outcome"
    kill -HUP "$holder" || die "cannot signal pid $holder (as $(id -un))"
    wait_for "$reload_tenths" is_reload_over
    said=$(as_keeper "$outcome" cat "$outcome")
    as_keeper "$outcome" rm -f "$outcome"
    case $said in
    *reloaded) ;;
    *"reload failed")
        printf '%s\n' "$said" >&2
        ! waits_for_upgrade "$said" || note "a new version of the store's records needs a restart"
        die "reload failed, the old workers keep running$(see_log)"
        ;;
    *) die "reload: no result from the holder, pid $holder (one of an older version needs a restart)$(see_log)" ;;
    esac
    answers || die "the new workers do not answer$(see_log)"
    echo "reloaded, pid $holder"
}

result_file() { printf '%s.reload\n' "${TOKEN_PIDFILE%.pid}"; }

is_reload_over() { as_keeper "$outcome" grep -qx 'reloaded\|reload failed' "$outcome"; }

status() {
    may_ask || no_permission "$TOKEN_SOCKET"
    [ ! -e "$TOKEN_PIDFILE" ] || [ -r "$TOKEN_PIDFILE" ] || no_permission "$TOKEN_PIDFILE"
    if answers; then
        find_holder || die "a pool answers on $TOKEN_SOCKET that is not in $TOKEN_PIDFILE: systemd's, or another spawn.sh's"
        echo "running, pid $holder, $(count_workers), on $TOKEN_SOCKET"
        check_health
    elif find_holder; then
        can_start || note "$why"
        die "pid $holder runs with $(count_workers) but does not answer on $TOKEN_SOCKET$(see_log)"
    else
        note "not running"
        exit 3
    fi
}

# A read of a database that does not answer takes its time.
check_health() {
    answer=$(ask 15 GET /healthz)
    case $answer in "Status: 200"*) return ;; esac
    answer=$(printf '%s\n' "$answer" | sed -n 's/^.*"message":"\(.*\)","code":.*/\1/p')
    die "not healthy: ${answer:-no answer}$(see_log)"
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
    settings
    cd / || exit 1
    unset PWD OLDPWD SHLVL # shells export them
    open_log
    # The socket moves from fd 0: "command &" gets /dev/null there, and other commands don't need it.
    exec 3<&0 </dev/null
    trap 'end_pools TERM' TERM
    trap 'end_pools USR1' USR1
    trap replace_pool HUP
    notify_socket=${NOTIFY_SOCKET:-}
    unset NOTIFY_SOCKET
    start_pool || exit 1
    [ -z "$notify_socket" ] || NOTIFY_SOCKET=$notify_socket systemd-notify --ready
    while :; do
        wait "$pool"
        kill -0 "$pool" 2>/dev/null && continue # a signal ended the wait
        note "multiwatch, pid $pool, ended; starting another"
        sleep 1 # at most one a second
        until start_pool; do sleep "$retry_seconds"; done
    done
}

open_log() {
    has_log || return 0
    # In a subshell first: an exec that cannot open its file ends the shell.
    if (umask 027 && : >>"$TOKEN_LOG") 2>/dev/null; then
        exec >>"$TOKEN_LOG" 2>&1
    else
        note "TOKEN_LOG: cannot open $TOKEN_LOG again (as $(id -un)): going on in the old file"
    fi
}

# -t: multiwatch gives up a worker that ends within this time several times in a row. Less than a
# worker takes to start, so that it never does: "_worker" waits for everything that a worker needs.
# When multiwatch dies, its workers get SIGUSR1: they finish the connections they have, and the holder
# starts others. When the holder dies, multiwatch gets SIGTERM and does the same with its workers.
start_pool() {
    worker_starts || return 1
    # shellcheck disable=SC2086 # words
    $become env TOKEN_BIN="$TOKEN_BIN" TOKEN_WORKERS="$TOKEN_WORKERS" TOKEN_SHARED="$TOKEN_SHARED" setpriv --pdeathsig TERM \
        multiwatch -f "$TOKEN_WORKERS" -t 1 -- \
        "$(command -v setpriv)" --pdeathsig USR1 "$script" _worker <&3 3<&- &
    pool=$!
}

# Below multiwatch, which would start it again at once: the store or the secret may be missing for
# as long as a disk takes to be mounted.
worker() {
    until worker_starts; do sleep "$retry_seconds"; done
    unset PWD OLDPWD SHLVL
    exec "$TOKEN_BIN"
}

# Notes a reason once, not with each try.
worker_starts() {
    can_start && last_error= && return 0
    [ "$why" = "$last_error" ] || note "$why"
    last_error=$why
    return 1
}

# Whether a worker has started without its store, which may be away (PostgreSQL) or never have been there:
# no reason to end a pool that may still have it.
is_away() { case $why in *"until it can be reached") ;; *) return 1 ;; esac; }

# Both pools share the socket for a moment. The new one comes first, as it may turn out not to run;
# multiwatch passes SIGTERM on as SIGUSR1 and starts no worker after it.
replace_pool() {
    trap '' HUP
    open_log
    result=$(result_file)
    # In a subshell first: a wrong setting ends it.
    if ! (settings && check_workers); then
        note "reload failed"
        result=
        trap replace_pool HUP
        return
    fi
    settings
    last_error= # the caller gets the reason, even if it is in the log already
    old=$pool outcome="reload failed"
    can_start || :
    if is_away; then
        note "$why"
    elif start_pool && is_steady; then
        kill -TERM "$old"
        outcome=reloaded
    elif [ "$pool" != "$old" ]; then
        kill -TERM "$pool" 2>/dev/null
        pool=$old
    fi
    trap replace_pool HUP
    note "$outcome"
    result=
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
# worker that multiwatch forked just before it got the first signal. On SIGUSR1 workers serve their open
# connections until nginx closes them: for a restart by systemd, whose socket stays.
end_pools() {
    trap '' TERM HUP USR1
    kill -s "$1" 0
    sleep 0.2
    kill -s "$1" 0
    wait
    exit 0
}

# --------------------------------------------------------------------------------------------

usage() { echo "usage: $0 start|stop|restart|reload|status|run | --help | --version"; }

refuse_usage() {
    note "$*"
    usage >&2
    exit 2
}

# That of the programs: there is one number.
version() {
    said=$("${TOKEN_BIN:-$(default_bin)}" --version </dev/null) || die "no version without token.fcgi (run make first)"
    echo "spawn.sh ${said##* }"
}

case $#:$command in
1:start | 1:restart | 1:reload | 1:run)
    settings
    check
    lock
    "$command"
    ;;
1:stop)
    settings
    lock
    stop
    ;;
1:status)
    settings
    status
    ;;
2:_supervise) supervise ;;
1:_worker) worker ;;
1:-h | 1:--help)
    usage
    sed -n '/^$/q; s/^#\( \|$\)//p' "$script"
    ;;
1:--version) version ;;
0:) refuse_usage "a command is missing" ;;
1:*) refuse_usage "unknown command: $command" ;;
*) refuse_usage "too many arguments" ;;
esac
