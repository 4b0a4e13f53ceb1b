#!/bin/sh
# What must be seen before a release (`make release-check`). Each step runs, whatever the others say; what it
# prints is in build/release-check/STEP.log; the last lines are the verdicts.
#
#   dev/release-check.sh [STEP...]        default: all, in this order
#
#   tree      both changelogs have the version as released, and it has no tag yet; all is committed
#   ci        .ci/run
#   clone     in a fresh clone everything is built, and README.md's commands work
#   deb       the Debian package and its tests
#   coverage  make coverage
#   torture   make torture
set -u
unset MAKEFLAGS MFLAGS MAKELEVEL
cd "$(dirname "$0")/.." || exit 1
steps='tree ci clone deb coverage torture'
logs=$PWD/build/release-check

check() {
    case $1 in
    tree) check_tree ;;
    ci) .ci/run ;;
    clone) check_clone ;;
    deb) make deb && make test-deb ;;
    *) make -j "$(nproc)" "$1" ;;
    esac
}

check_tree() {
    version=$(sed -n 's/^VERSION = //p' Makefile)
    changes=$(git status --porcelain) || return
    if ! grep -Ex "## $version \([0-9]{4}-[0-9]{2}-[0-9]{2}\)" CHANGELOG.md; then
        echo "CHANGELOG.md has no line '## $version (YYYY-MM-DD)'"
    elif ! grep -q "^token-fcgi ($version) unstable;" debian/changelog; then
        echo "debian/changelog does not begin with 'token-fcgi ($version) unstable;'"
    elif [ -n "$(git tag -l "v$version")" ]; then
        echo "there is a tag v$version"
    elif [ -n "$changes" ]; then
        printf 'not committed:\n%s\n' "$changes"
    else
        return 0
    fi
    return 1
}

check_clone() {
    folder=$(mktemp -d /tmp/token.XXXXXX) || return
    chmod 755 "$folder"
    git clone -q . "$folder/token" &&
        make -j "$(nproc)" -C "$folder/token" test PYTEST="-k 'test_readme or test_run or test_install or test_documents'"
    set -- $?
    rm -rf "$folder"
    return "$1"
}

[ $# -gt 0 ] || eval "set -- $steps"
for step; do
    case " $steps " in *" $step "*) ;; *) echo "$0: steps are: $steps" >&2; exit 2 ;; esac
done
mkdir -p "$logs" || exit 1
verdicts='' status=0
for step; do
    begin=$(date +%s) verdict=passed
    echo "$step: $logs/$step.log"
    check "$step" >"$logs/$step.log" 2>&1 </dev/null || verdict=FAILED status=1
    verdicts="$verdicts$(printf '%-9s %s %6d s' "$step" "$verdict" "$(($(date +%s) - begin))")
"
done
printf '%s' "$verdicts"
exit $status
