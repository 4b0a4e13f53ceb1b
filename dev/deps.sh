#!/bin/sh
# Installs what is missing of Debian's packages, and does nothing if nothing is.
#
#   dev/deps.sh [build|run|test|bench|coverage|all]...        default: all
set -eu

# One list a purpose.
build='gcc make pkg-config libc6-dev libfcgi-dev liblmdb-dev libsodium-dev zlib1g-dev libxxhash-dev libseccomp-dev libjson-c-dev'
run='nginx-light spawn-fcgi multiwatch libfcgi-bin util-linux curl'
test="$build $run python3-pytest python3-requests python3-yaml python3-jsonschema
      libcmocka-dev libxxhash0 lmdb-utils clang libclang-rt-14-dev clang-tidy clang-format cppcheck
      shellcheck"
bench="$build $run wrk"
coverage=gcovr

wanted() {
    for purpose; do
        case $purpose in
        build) echo "$build" ;;
        run) echo "$run" ;;
        test) echo "$test" ;;
        bench) echo "$bench" ;;
        coverage) echo "$coverage" ;;
        all) echo "$test $bench $coverage" ;;
        *)
            echo "usage: $0 [build|run|test|bench|coverage|all]..." >&2
            exit 2
            ;;
        esac
    done
}

# Any nginx will do: its flavours exclude one another, and it may not even be a package.
is_there() {
    case $1 in nginx-light) PATH=$PATH:/usr/sbin command -v nginx >/dev/null && return ;; esac
    dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

missing() {
    for package; do
        is_there "$package" || echo "$package"
    done | sort -u
}

# Debian starts a service as it installs it: nginx would take port 80. A policy of 101 forbids
# that while we install; a machine that has a policy keeps it.
install_quietly() {
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    # An old index or a registry out of reach need not matter: installing will tell.
    apt-get update -qq || true
    apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" >&2
}

[ $# -gt 0 ] || set -- all
wanted=$(wanted "$@")
# shellcheck disable=SC2086 # a list of words
missing=$(missing $wanted)
[ -n "$missing" ] || exit 0

# shellcheck disable=SC2086 # so that it prints as one line
echo "installing" $missing >&2
command -v apt-get >/dev/null || { echo "$0: no apt-get here; install the like of these" >&2; exit 1; }
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "$0: needs root or sudo" >&2; exit 1; }
    exec sudo "$0" "$@"
fi
# shellcheck disable=SC2086
install_quietly $missing
