#!/bin/sh
# Imports the users and tokens of a New API site (SQLite). Keys, access tokens, ids, quotas and groups stay.
#   sh migrate-from-new-api.sh one-api.db --dry-run    what would be done, and what does not fit
#   sh migrate-from-new-api.sh one-api.db              after New API and the pool have been stopped
set -eu
umask 077
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
trap 'exit 1' HUP INT TERM
sqlite3 -json "$1" 'SELECT * FROM users; SELECT * FROM tokens' >"$rows"
tokenctl import --from new-api ${2+"$2"} "$rows"
