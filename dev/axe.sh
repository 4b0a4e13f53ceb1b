#!/bin/sh
# Gets axe-core, with which the console's tests look for barriers, if this machine has npm. Without it
# they have their own checks only.
#
#   dev/axe.sh FOLDER        for FOLDER/axe.min.js
set -eu

[ ! -s "$1/axe.min.js" ] || exit 0
command -v npm >/dev/null || { echo "no npm: the console is tested without axe-core" >&2; exit 0; }
mkdir -p "$1"
if ! (cd "$1" && npm pack --silent axe-core@4 >/dev/null 2>&1 && tar -xzf axe-core-4.*.tgz --strip-components=1 package/axe.min.js && rm axe-core-4.*.tgz); then
    echo "axe-core can't be had: the console is tested without it" >&2
fi
