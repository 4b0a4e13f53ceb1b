#!/bin/sh
# The steps of make coverage around the build:
#
#   dev/coverage.sh ready FOLDER               makes a folder that the workers' user can write counts to
#   dev/coverage.sh count FOLDER COMMAND...    resets the counts and runs the tests
#   dev/coverage.sh report FOLDER LAYER...     lines and branches that ran, by file and by layer
#
# A process that is killed writes no counts; nor does one with too few descriptors to keep its files
# of counts open, see coverage.c.
set -eu

ready() {
    mkdir -p "$1/obj"
    [ "$(id -u)" -eq 0 ] || return 0
    setpriv --reuid www-data --regid www-data --clear-groups test -x "$1/obj" || {
        echo "$0: www-data, the workers' user in the tests, has no access to $1: choose another COVERAGE=FOLDER" >&2
        exit 1
    }
}

count() {
    find "$1/obj" -name '*.gcda' -delete
    find "$1/obj" -type d -exec chmod 777 {} +
    BUILD=$1
    export BUILD
    shift
    "$@"
}

report() {
    folder=$1
    shift
    rm -rf "$folder/html"
    mkdir "$folder/html"
    gcovr --root . --object-directory "$folder/obj" --filter "($(echo "$*" | tr ' ' '|'))/" \
        --exclude-directories '.*/tests' --html-details "$folder/html/index.html" \
        --csv "$folder/coverage.csv" "$folder/obj"
    # Columns: file, lines, lines that ran, part, branches, branches that ran.
    awk -F , -v layers="$* all" '
        function percent(part, all) { return all ? sprintf("%5.1f %%", 100 * part / all) : "-" }
        function row(name, n) {
            printf "%-28s %5d of %5d %8s  %5d of %5d %8s\n", name, n[3], n[2], percent(n[3], n[2]),
                n[6], n[5], percent(n[6], n[5])
        }
        BEGIN { printf "%-28s %23s  %23s\n", "", "lines", "branches" }
        NR > 1 {
            split($1, path, "/")
            for (i = 2; i <= 6; i++) {
                file[i] = $i
                sum[path[1], i] += $i
                sum["all", i] += $i
            }
            row($1, file)
        }
        END {
            print ""
            count = split(layers, layer, " ")
            for (l = 1; l <= count; l++) {
                for (i = 2; i <= 6; i++) file[i] = sum[layer[l], i]
                row(layer[l], file)
            }
        }' "$folder/coverage.csv"
    echo "each line: $folder/html/index.html"
}

step=${1:-}
case $step in
ready | count | report)
    shift
    "$step" "$@"
    ;;
*)
    echo "usage: $0 ready|count|report FOLDER ..." >&2
    exit 2
    ;;
esac
