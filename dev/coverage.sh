#!/bin/sh
# The steps of make coverage around the build:
#
#   dev/coverage.sh ready FOLDER               a folder that the workers' user can write counts to
#   dev/coverage.sh count FOLDER COMMAND...    runs the tests, from no counts
#   dev/coverage.sh report FOLDER ROOM...      lines and branches that ran: a file each, then a room each
#
# A process that is killed writes no counts; nor does one that starts with too few descriptors to keep
# its files of counts, see coverage.c.
set -eu

ready() {
    mkdir -p "$1/obj"
    [ "$(id -u)" -eq 0 ] || return 0
    setpriv --reuid www-data --regid www-data --clear-groups test -x "$1/obj" || {
        echo "$0: www-data, whom workers run as in tests, has no way to $1: choose another COVERAGE=FOLDER" >&2
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
    rooms=$(echo "$*" | tr ' ' '|')
    rm -rf "$folder/html"
    mkdir "$folder/html"
    gcovr --root . --object-directory "$folder/obj" --filter "($rooms)/" --exclude-directories '.*/tests' \
        --html-details "$folder/html/index.html" --csv "$folder/coverage.csv" "$folder/obj"
    awk -F , -v rooms="$*" '
        function percent(part, whole) { return whole ? sprintf("%5.1f %%", 100 * part / whole) : "-" }
        function row(name, lines, all_lines, branches, all_branches) {
            printf "%-28s %5d of %5d %8s  %5d of %5d %8s\n", name, lines, all_lines,
                percent(lines, all_lines), branches, all_branches, percent(branches, all_branches)
        }
        BEGIN { printf "%-28s %23s  %23s\n", "", "lines", "branches" }
        NR > 1 {
            row($1, $3, $2, $6, $5)
            split($1, path, "/")
            lines[path[1]] += $3; all_lines[path[1]] += $2
            branches[path[1]] += $6; all_branches[path[1]] += $5
        }
        END {
            print ""
            for (i = 1; i <= split(rooms, room, " "); i++) {
                name = room[i]
                row(name "/", lines[name], all_lines[name], branches[name], all_branches[name])
                l += lines[name]; al += all_lines[name]; b += branches[name]; ab += all_branches[name]
            }
            row("all", l, al, b, ab)
        }' "$folder/coverage.csv"
    echo "each line: $folder/html/index.html"
}

step=$1
shift
case $step in
ready | count | report) "$step" "$@" ;;
*)
    echo "usage: $0 ready|count|report FOLDER ..." >&2
    exit 2
    ;;
esac
