#!/bin/sh
# A private demo of the service for `make run`: store, user, pool and nginx, all below var/, in the
# foreground until Ctrl-C or SIGTERM.
#
#   dev/run.sh [PORT]        default: $PORT, or 8080
#
# STORE=postgresql runs it on a private PostgreSQL server, with its data in var/postgresql.
set -eu

here=$(dirname "$(dirname "$(readlink -f "$0")")")
build=$here/${BUILD:-build}
var=$here/var
port=${1:-${PORT:-8080}}
url=http://127.0.0.1:$port/api/token/
export STORE="${STORE:-lmdb}"
site=$var # the folder of the store, its secret and its accounts
server=   # as arguments: what runs a command as the server's account

# Debian keeps nginx where a normal user's PATH does not look.
PATH=$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }
die() { say "make run: $*"; exit 1; }

# ---- user ----------------------------------------------------------------------------------

# Root becomes the checkout's owner: var/ must not hold files that the owner can't use the next time.
become_owner() {
    owner=$(stat -c %U "$here")
    [ "$(id -u)" -eq 0 ] || return 0
    case $owner in root | UNKNOWN) return 0 ;; esac
    exec setpriv --reuid "$owner" --regid "$(id -g "$owner")" --init-groups "$0" "$port"
}

# One demo for each checkout. The kernel releases the lock of a run that was killed.
lock() {
    mkdir -p "$var"
    chmod 0700 "$var"
    exec 9>"$var/lock"
    flock -n 9 || die "already running in this checkout"
}

# ---- settings ------------------------------------------------------------------------------

settings() {
    link_run_folder
    case $STORE in
    lmdb) TOKEN_STORE=$site/store ;;
    postgresql)
        site=$var/postgresql
        TOKEN_STORE="postgresql://token@/postgres?host=$run/postgresql"
        [ "$(id -u)" -ne 0 ] ||
            server="setpriv --reuid postgres --regid postgres --clear-groups"
        ;;
    *) die "STORE is neither lmdb nor postgresql" ;;
    esac
    TOKEN_CONF=$var/token.conf TOKEN_SECRET=$site/secret
    [ -e "$TOKEN_CONF" ] || (umask 022 && : >"$TOKEN_CONF") # for changes; not this machine's
    TOKEN_SOCKET=$run/token.sock TOKEN_PIDFILE=$run/token.pid TOKEN_LOG=$var/worker.log
    TOKEN_BIN=$build/token.fcgi TOKEN_USER=$(id -un) TOKEN_SOCKET_GROUP=$(id -gn)
    export TOKEN_CONF TOKEN_STORE TOKEN_SECRET TOKEN_SOCKET TOKEN_PIDFILE TOKEN_LOG TOKEN_BIN
    export TOKEN_USER TOKEN_SOCKET_GROUP
}

# var/run is a folder, or a link to one in /tmp if the checkout's path is too long for a socket
# (107 bytes) or has characters that nginx.conf would have to quote. An existing link is kept: it
# leads to the files that a killed run left.
link_run_folder() {
    if is_plain_path "$var/run/token.sock"; then
        [ ! -L "$var/run" ] || rm "$var/run"
        mkdir -p "$var/run"
    elif [ ! -d "$var/run/" ] || [ ! -O "$var/run/" ]; then
        rm -f "$var/run"
        ln -s "$(mktemp -d /tmp/token.XXXXXX)" "$var/run"
    fi
    run=$(readlink -f "$var/run")
}

is_plain_path() {
    case $1 in *[!A-Za-z0-9._/-]*) return 1 ;; esac
    [ ${#1} -le 107 ]
}

check() {
    case $port in '' | *[!0-9]* | 0* | ??????*) port=0 ;; esac
    { [ "$port" -ge 1 ] && [ "$port" -le 65534 ]; } || die "PORT is not a number from 1 to 65534"
    [ -x "$build/token.fcgi" ] || die "nothing is built yet: run make"
    internal_port=$((port + 1)) # of the site's own programs
    for one in "$port" "$internal_port"; do
        # Exit status 7: could not connect.
        status=0
        curl -s -o /dev/null --max-time 2 --noproxy '*' "http://127.0.0.1:$one/" || status=$?
        [ "$status" -eq 7 ] || die "port $one is in use; another one: make run PORT=9000"
    done
}

# ---- store, user and gateway ---------------------------------------------------------------

make_accounts() {
    is_new=false
    if [ ! -e "$TOKEN_SECRET" ]; then
        "$build/tokenctl" init >/dev/null
        is_new=true
    fi
    make_account user demo demo
    make_account gateway gateway demo
    make_account user administrator administrator --role admin
}

# Kept in FILE, as tokenctl prints it only once.
make_account() { # KIND FILE NAME [OPTION...]
    kind=$1 file=$site/$2
    shift 2
    [ ! -s "$file" ] || $is_new || return 0
    (umask 077 && "$build/tokenctl" --json "$kind" add "$@" >"$file.new")
    mv "$file.new" "$file"
}

member() { sed -n 's/.*"'"$2"'": *"\{0,1\}\([^",}]*\).*/\1/p' "$site/$1"; } # FILE NAME

# ---- PostgreSQL ----------------------------------------------------------------------------

# The server refuses to run as root, and another account may not be able to enter the checkout: it
# gets its folder as an open descriptor, and reaches its socket's folder from there. Others can't enter
# var/, so that it trusts its callers.
start_postgresql() {
    [ "$STORE" = postgresql ] || return 0
    mkdir -p "$site/data" "$site/socket"
    chmod 0711 "$site"
    [ -z "$server" ] || chown -R postgres:postgres "$site/data" "$site/socket"
    ln -sfn "$site/socket" "$run/postgresql"
    cd /
    [ -s "$site/data/PG_VERSION" ] || as_server initdb -U token -A trust -E UTF8 --locale=C >/dev/null ||
        die "PostgreSQL's initdb failed"
    as_server setsid postgres -c listen_addresses= -c unix_socket_directories=../socket \
        >>"$site/server.log" 2>&1 &
    cd "$here"
    tenths=600
    until "$(programs)/pg_isready" -q -d postgres -h "$run/postgresql"; do
        tenths=$((tenths - 1))
        { [ "$tenths" -gt 0 ] && kill -0 $! 2>/dev/null; } || die "PostgreSQL did not start, see $site/server.log"
        sleep 0.1
    done
}

# Debian's programs are not in PATH: those that the data was made by, or the newest.
programs() {
    version=$(cat "$site/data/PG_VERSION" 2>/dev/null) || version='*'
    find /usr/lib/postgresql -path "*/$version/bin" -prune | sort -V | tail -n 1
}

as_server() { PATH=$(programs):$PATH PGDATA=/proc/self/fd/7 $server "$@" 7<"$site/data"; }

# Its working directory names it; PostgreSQL's own file has the pid.
stop_postgresql() {
    pid=$(head -n 1 "$var/postgresql/data/postmaster.pid" 2>/dev/null) || return 0
    is_own_postgresql "$pid" || return 0
    kill -INT "$pid"
    while is_own_postgresql "$pid"; do sleep 0.1; done
}

is_own_postgresql() { [ "$(readlink "/proc/$1/cwd")" = "$(readlink -f "$var/postgresql/data")" ]; }

# ---- nginx ---------------------------------------------------------------------------------

# The example with this demo's paths and ports, without limits for this machine, which has the only
# clients. Relative paths are below nginx's prefix (-p), var/.
write_nginx_conf() {
    sed -e '/^user /d' \
        -e 's|^pid .*|pid run/nginx.pid;|' \
        -e 's|^error_log .*|error_log error.log;|' \
        -e "s|unix:[^;]*|unix:$TOKEN_SOCKET|" \
        -e "s|listen 127.0.0.1:8080|listen 127.0.0.1:$port|" \
        -e "s|listen 127.0.0.1:8081|listen 127.0.0.1:$internal_port|" \
        -e 's|geo .token_is_own_address {|&\n        127.0.0.0/8 1;|' \
        -e 's|access_log .*|access_log access.log token;|' \
        -e 's|^http {|&\n    client_body_temp_path tmp/body;\n    fastcgi_temp_path tmp/fastcgi;\n    proxy_temp_path tmp/proxy;\n    scgi_temp_path tmp/scgi;\n    uwsgi_temp_path tmp/uwsgi;|' \
        "$here/nginx.conf.example" >"$var/nginx.conf"
    # The workers of root's nginx would run as a user who may not enter var/.
    [ "$(id -u)" -ne 0 ] || sed -i '1i user root;' "$var/nginx.conf"
    mkdir -p "$var/tmp"
}

start_nginx() {
    : >"$var/access.log"
    nginx -p "$var/" -c nginx.conf -e error.log || die "nginx did not start, see $var/error.log"
}

# By the pid file, if that process is still this nginx (its command line names var/).
stop_nginx() {
    pid=$(cat "$run/nginx.pid" 2>/dev/null) || return 0
    is_own_nginx "$pid" || return 0
    kill -TERM "$pid"
    while is_own_nginx "$pid"; do sleep 0.1; done
}

is_own_nginx() { { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null | grep -qF -e "-p $var/"; }

# ---- the run -------------------------------------------------------------------------------

stop_servers() {
    stop_nginx
    "$here/spawn.sh" stop >/dev/null
    stop_postgresql
}

stop_all() {
    trap '' INT TERM HUP
    [ -z "$tail" ] || kill "$tail"
    stop_servers
    [ ! -L "$var/run" ] || rm -r "$run" "$var/run"
}

print_usage() {
    user=$(member demo id) access_token=$(member demo access_token) secret=$(member gateway secret)
    administrator_token=$(member administrator access_token)
    internal=http://127.0.0.1:$internal_port/api/token/
    printf 'url %s\nuser %s\naccess_token %s\n' "$url" "$user" "$access_token"
    printf 'internal %s\ngateway_secret %s\nadministrator_token %s\n\n' "$internal" "$secret" "$administrator_token"
    id=$(example_id)
    echo '# create one, create several, list, get'
    request_line -X POST -d "'{\"name\":\"first\",\"unlimited_quota\":true}'" "$url"
    request_line -X POST -d "'[{\"name\":\"second\",\"remain_quota\":500000},{\"name\":\"third\",\"remain_quota\":1000}]'" "$url"
    request_line "'$url?p=1&size=20'"
    request_line "$url$id"
    echo '# find, filter and sort'
    request_line "'${url}search?keyword=FIRST'"
    request_line -X POST -d "'{\"token\":\"sk-\"}'" "${url}search"
    request_line "'$url?status=1&sort=name&order=asc'"
    echo '# yourself: account, groups, models, use by day, a token'\''s use by day, audit records'
    for name in user/self user/self/groups user/models "user/self/usage?days=7" "token/$id/usage?days=7" log/self; do
        request_line "'${url%token/}$name'"
    done
    echo '# show a key, several keys, a new key (the old one stays valid for an hour)'
    request_line -X POST "$url$id/key"
    request_line -X POST -d "'{\"ids\":[$id]}'" "${url}batch/keys"
    request_line -X POST -d "'{\"grace_seconds\":3600}'" "$url$id/rotate"
    print_key_lines
    print_administrator_lines
    echo '# update, status only, status of several, delete, delete several, allowed methods'
    request_line -X PUT -d "'{\"id\":$id,\"name\":\"renamed\",\"model_limits\":[\"gpt-4o\"]}'" "$url"
    request_line -X PUT -d "'{\"id\":$id,\"status\":2}'" "'$url?status_only=true'"
    request_line -X POST -d "'{\"ids\":[$id,$((id + 1))],\"status\":1}'" "${url}batch/status"
    request_line -X DELETE "$url$id"
    request_line -X POST -d "'{\"ids\":[$((id + 1)),$((id + 2))]}'" "${url}batch"
    echo "curl -i -X OPTIONS $url"
    echo
}

# The lines that need a key or a reservation get one when they are pasted.
print_key_lines() {
    key="\$($(request_line -s -X POST "$url$id/key") | grep -o 'sk-[0-9A-Za-z]*')"
    use="\\\"key\\\":\\\"$key\\\",\\\"model\\\":\\\"gpt-4o\\\",\\\"amount\\\""
    reserve=$(gateway_line "{$use:100}" reserve)
    reservation="\$($reserve -s | grep -o '\"reservation\":[0-9]*')"
    echo '# with a key: its usage, a check as nginx makes it (internal)'
    echo "curl -i -H \"Authorization: Bearer $key\" ${url%token/}usage/token/"
    echo "curl -i -H \"Authorization: Bearer $key\" ${internal}verify"
    echo '# from a gateway: spend, reserve, reserve and settle, reserve and cancel'
    gateway_line "{$use:1}" consume
    printf '%s\n' "$reserve"
    gateway_line "{$reservation,\\\"amount\\\":37}" settle
    gateway_line "{$reservation}" cancel
}

# A line that adds a user would work once.
print_administrator_lines() {
    echo '# as administrator (internal): users, change one, its tokens, whose key is it, audit records'
    for name in user/ "user/search?keyword=demo" "user/$user" "token/?user_id=$user" log/; do
        administrator_line "'${internal%token/}$name'"
    done
    administrator_line -X PUT -d "'{\"id\":$user,\"rpm_limit\":600}'" "${internal%token/}user/"
    administrator_line -X POST -d "'{\"id\":$user,\"action\":\"enable\"}'" "${internal%token/}user/manage"
    administrator_line -X POST -d "\"{\\\"key\\\":\\\"$key\\\"}\"" "${internal}find"
}

# The newest token's id, or the id that the first create will get, or the id of a token made for this.
example_id() {
    ! $is_new || { echo 1; return; }
    id=$(request "$url?size=1" | first_id)
    [ -n "$id" ] || id=$(request -d '{"name":"first","unlimited_quota":true}' "$url" | first_id)
    echo "$id"
}

first_id() { grep -o '"id":[0-9]*' | head -n 1 | cut -d: -f2; }

request() {
    curl -s --noproxy '*' --max-time 5 -H "Authorization: Bearer $access_token" -H "New-Api-User: $user" "$@"
}

request_line() {
    echo "curl -H 'Authorization: Bearer $access_token' -H 'New-Api-User: $user' $*"
}

administrator_line() {
    echo "curl -H 'Authorization: Bearer $administrator_token' $*"
}

gateway_line() { # BODY PATH
    printf '%s\n' "curl -H 'X-Gateway-Token: $secret' -d \"$1\" $internal$2"
}

"$here/dev/deps.sh" run
become_owner
lock
settings
stop_servers # of a killed run
check
tail=
trap stop_all EXIT
trap 'exit 0' INT TERM HUP
start_postgresql 9>&-
make_accounts
# Servers must not inherit the lock, as they may outlive this script.
"$here/spawn.sh" start 9>&- >/dev/null
write_nginx_conf
start_nginx 9>&-
print_usage
# In the background, as a shell runs no trap while it waits for a foreground command; --pid, so
# that it ends even when this script is killed.
tail -n 0 -f --pid=$$ "$var/access.log" 9>&- &
tail=$!
wait "$tail"
