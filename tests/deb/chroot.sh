#!/bin/sh
# Builds the Debian package in a chroot of a release; in a bare one installs, uses, upgrades, removes and
# purges it, and compares the file system before and after. For root, with debootstrap.
#
#   tests/deb/chroot.sh bookworm|trixie       [MIRROR=http://deb.debian.org/debian]
# shellcheck disable=SC2016 # variables of the shell inside
set -eu
suite=$1
cd "$(dirname "$0")/../.."
# Mounts and processes of its own: none is left, however it ends.
[ -n "${CHROOT_TEST:-}" ] ||
    CHROOT_TEST=1 exec unshare --mount --propagation private --pid --fork --kill-child "$0" "$@"
work=$PWD/build/chroot/$suite
root= # where "inside" runs

fail() { echo "chroot.sh: $suite: $*" >&2; exit 1; }
inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        chroot "$root" sh -euc "$*" </dev/null
}

base() {
    [ -e "$work/base/made" ] && return
    rm -rf "$work"
    mkdir -p "$work"
    debootstrap --variant=minbase "$suite" "$work/base" "${MIRROR:-http://deb.debian.org/debian}" >"$work/base.log" ||
        fail "debootstrap: $work/base.log"
    touch "$work/base/made"
}

# A copy of the release as it is installed.
enter() {
    root=$work/$1
    rm -rf "$root"
    cp -a "$work/base" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
}
leave() { umount -R "$root/proc" "$root/dev" "$root/run" && rm -rf "$root"; }

# new.deb, and old.deb: the same as an older version.
build() {
    enter build
    mkdir "$root/src"
    tar -c --exclude-vcs --exclude=./build --exclude=./var . | tar -x -C "$root/src"
    inside 'apt-get -qq update
        apt-get -qq -y --no-install-recommends install make >/dev/null
        cd /src
        make deb
        lintian --fail-on error,warning build/deb/*.changes
        cp build/deb/token-fcgi_*.deb /new.deb
        dpkg-deb -R /new.deb /old
        sed -i "s/^Version: .*/Version: 0.0.1/" /old/DEBIAN/control
        echo old >>/old/usr/share/doc/token-fcgi/README.md
        dpkg-deb -b /old /old.deb' >"$work/build.log" 2>&1 ||
        fail "make deb or lintian: $work/build.log"
    cp "$root/new.deb" "$root/old.deb" "$work"
    leave
}

# Type, mode, owner, path and link of every file, and what is in it. dpkg, apt and the like keep their own.
snapshot() {
    inside 'find / -xdev -regextype posix-extended -regex "/var/(lib/(dpkg|apt)|cache|log)|/tmp" -prune \
        -o -printf "%p %y %m %u:%g %l\n" -type f -exec sha256sum -b {} +' |
        sed -E 's/^([0-9a-f]{64}) \*(.*)/\2 \1/' | LC_ALL=C sort
}

# Every difference to the first snapshot is below one of the paths.
unchanged_but() {
    snapshot | LC_ALL=C comm -3 "$work/before" - | awk '{ print $1 }' | sort -u >"$work/changed"
    accounts='/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?|/etc/\.pwd\.lock|/etc'
    ! grep -vxE "$accounts|$1" "$work/changed" || fail 'left over or changed (above)'
}

workers() { inside 'for file in /proc/[0-9]*/exe; do readlink "$file"; done' | grep -c '/token\.fcgi' || true; }
serves() {
    inside 'tokenctl health && tokenctl user show alice' >>"$work/use.log" 2>&1 || fail "$1: it does not serve"
}
gone() {
    [ "$(workers)" = 0 ] || fail "$1: workers are left"
    for file in $(dpkg-deb -c "$work/new.deb" | awk '{ sub(/^\./, "", $6); print $6 }'); do
        case $file in */ | /etc/*) continue ;; esac
        [ ! -e "$root$file" ] || fail "$1: $file is left"
    done
}

base
build
enter use
cp "$work/new.deb" "$work/old.deb" "$root/tmp"
inside 'apt-get -qq update; apt-get -y --no-install-recommends satisfy "$(dpkg-deb -f /tmp/new.deb Depends)"' \
    >"$work/use.log" 2>&1 || fail "the dependencies can't be installed: $work/use.log"
dpkg_() { inside "dpkg $*" >>"$work/use.log" 2>&1 || fail "dpkg $*: $work/use.log"; }
snapshot >"$work/before"

# Without a store.
dpkg_ -i /tmp/old.deb
inside 'getent passwd token' >/dev/null || fail 'there is no account'
[ "$(workers)" = 0 ] || fail 'workers have started'
dpkg_ -P token-fcgi
unchanged_but /nothing

# With a store, and a pool that runs.
dpkg_ -i /tmp/old.deb
inside 'tokenctl init
    tokenctl user add alice
    echo TOKEN_WORKERS=2 >>/etc/token/token.conf
    token-spawn start' >>"$work/use.log" 2>&1 || fail "the first start: $work/use.log"
serves 'first start'
[ "$(inside 'stat -c %U /var/lib/token/store')" = token ] || fail "the store is not the account's"
dpkg_ -i /tmp/new.deb
inside 'token-spawn reload' >>"$work/use.log" 2>&1 || fail "reload after the upgrade: $work/use.log"
serves upgrade
grep -qx TOKEN_WORKERS=2 "$root/etc/token/token.conf" || fail 'an upgrade changed token.conf'
! grep -qx old "$root/usr/share/doc/token-fcgi/README.md" || fail 'it is the old one'
dpkg_ -r token-fcgi
gone remove
for file in /etc/token/token.conf /etc/token/secret /var/lib/token/store/data.mdb; do
    [ -e "$root$file" ] || fail "a removal deleted $file"
done
dpkg_ -i /tmp/new.deb
inside 'token-spawn start' >>"$work/use.log" 2>&1 || fail "start after a removal: $work/use.log"
serves 'installed again'
dpkg_ -P token-fcgi
gone purge
[ -e "$root/etc/token/secret" ] || fail 'a purge deleted the secret'
unchanged_but '/etc/token(/secret)?|/var/lib/token(/store(/data\.mdb|/lock\.mdb)?)?|/var/lib'
leave
echo "$suite: the package installs, starts, upgrades, is removed and purged"
