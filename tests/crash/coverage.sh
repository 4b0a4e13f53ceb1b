#!/bin/sh
# The lines and branches that ran, by gcov:  coverage.sh OBJECTS ROOM...
set -eu
objects=$1
shift
for room; do
    find "$objects/$room" -name '*.gcda'
done | sort | while read -r counts; do
    gcov --no-output --branch-probabilities --object-directory "$(dirname "$counts")" "$counts"
done | awk -v rooms="$*" '
    BEGIN { n = split(rooms, list, " "); for (i = 1; i <= n; i++) wanted[list[i]] = 1 }
    /^File / { split($0, part, "\047"); file = part[2]; split(file, path, "/")
               use = (path[1] in wanted) && file ~ /\.c$/; known = 0 }
    use && /^Lines executed:/ { split($0, part, /[:%]| of /); lines[file] = part[2] * part[4] / 100
               line_count[file] = part[4]; known = 1 }
    use && /^Taken at least once:/ { split($0, part, /[:%]| of /); branches[file] = part[2] * part[4] / 100
               branch_count[file] = part[4] }
    END { printf "%-28s %15s %15s\n", "file", "lines", "branches"
          for (file in line_count) { print_one(file, lines[file], line_count[file], branches[file], branch_count[file])
              l += lines[file]; lc += line_count[file]; b += branches[file]; bc += branch_count[file] }
          print_one("zz all", l, lc, b, bc) }
    function print_one(name, l, lc, b, bc) {
        printf "%-28s %5d of %5d %3d%% %5d of %5d %3d%%\n", name, l + .5, lc, 100 * l / lc, b + .5, bc, bc ? 100 * b / bc : 100 | "sort"
    }'
