#!/bin/sh
# Installs the missing Debian packages of some purposes (Debian 12 and 13).
#
#   dev/deps.sh [build|run|postgresql|test|browser|deb|torture|lint|bench|coverage|all]...        default: all
set -eu

packages() {
    case $1 in
    build) echo gcc make pkg-config libc6-dev libfcgi-dev libjson-c-dev liblmdb-dev libsodium-dev \
        libseccomp-dev libxxhash-dev zlib1g-dev python3-yaml ;;
    run) echo nginx-light spawn-fcgi multiwatch libfcgi-bin util-linux curl ;;
    postgresql) echo libpq-dev postgresql ;;
    # llvm: llvm-symbolizer names the lines in a fuzz target's report.
    test) packages build; packages run; packages postgresql
        echo python3-pytest python3-pytest-timeout python3-pytest-xdist python3-requests \
            python3-jsonschema libxxhash0 libcmocka-dev clang libclang-rt-dev llvm \
            apache2-bin libapache2-mod-fcgid lighttpd caddy sqlite3 mariadb-server-core \
            mariadb-client-core tzdata systemd logrotate mandoc zsh python3-prometheus-client nodejs
        packages browser; packages deb ;;
    browser) echo chromium chromium-driver python3-selenium ;; # for the console's tests
    deb) packages build; echo libpq-dev build-essential debhelper lintian debootstrap ;;
    torture) packages test; echo haproxy uwsgi-core fcgiwrap ;;
    lint) packages test; echo clang-format clang-tidy shellcheck ;;
    bench) packages build; packages run; packages postgresql; echo wrk ;;
    coverage) packages test; echo gcovr ;;
    all) packages lint; packages bench; packages coverage ;;
    *) echo "usage: $0 [build|run|postgresql|test|browser|deb|torture|lint|bench|coverage|all]..." >&2; exit 2 ;;
    esac
}

# Any nginx will do: Debian's flavours exclude one another, and it need not be a package.
is_installed() {
    case $1 in nginx-light) PATH=$PATH:/usr/sbin command -v nginx >/dev/null && return ;; esac
    dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# Debian has Chromium for some processors only. Without it the tests of the console are skipped.
is_optional() { packages browser | grep -qw -e "$1"; }

# Debian starts a service when it installs it: nginx would take port 80. A policy of 101 forbids
# that; a machine that has a policy keeps it.
install() {
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || true # with an old index installing may work all the same
    # shellcheck disable=SC2086 # lists of words
    [ -z "$missing" ] || get $missing
    # shellcheck disable=SC2086
    [ -z "$optional" ] || get $optional || echo "$0: there is no Chromium: the console's tests are skipped" >&2
}

get() { apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" >&2; }

[ $# -gt 0 ] || set -- all
list=$(for purpose; do packages "$purpose"; done)
missing='' optional=''
# shellcheck disable=SC2086 # a list of words
for package in $(printf '%s\n' $list | sort -u); do
    is_installed "$package" && continue
    if is_optional "$package"; then optional="$optional $package"; else missing="$missing $package"; fi
done
[ -n "$missing$optional" ] || exit 0

echo "installing$missing$optional" >&2
if [ -z "$missing" ] && ! command -v apt-get >/dev/null; then
    echo "$0: there is no Chromium: the console's tests are skipped" >&2
    exit 0
fi
command -v apt-get >/dev/null || { echo "$0: there is no apt-get: install the equivalent packages" >&2; exit 1; }
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "$0: needs root or sudo" >&2; exit 1; }
    exec sudo "$0" "$@"
fi
install
