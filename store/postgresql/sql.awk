# Makes C of the .sql files: PG_SCHEMA_SQL; PG_USERS_COLUMNS(COLUMN) and so on, lists of
# COLUMN(whether it is an integer, member, most bytes); PG_STATEMENTS_SQL(STATEMENT), a list of
# STATEMENT(name, "SQL").

FNR == 1 {
    file = FILENAME
    sub("^.*/", "", file)
    sub("[.].*", "", file)
    printf("%s#define PG_%s_SQL%s", NR == 1 ? "" : "\n", toupper(file), file == "statements" ? "(STATEMENT)" : "")
}

file == "statements" && /^-- [A-Z_]+$/ {
    name = $2
    next
}

file == "schema" && /^CREATE TABLE/ {
    table = toupper($3)
}

file == "schema" && /^    .* -- [a-z0-9_.]+( [A-Z0-9_]+)?$/ {
    split(substr($0, index($0, " -- ") + 4), words, " ")
    columns[table] = columns[table] " COLUMN(" ($2 ~ /^bigint/) ", " words[1] ", " (words[2] == "" ? 0 : words[2]) ")"
}

{
    sub(/ *--.*/, "")
    gsub(/["\\]/, "\\\\&")
    sub(/^ +/, "")
    if ($0 == "")
        next
    text = text (text == "" ? "" : " ") $0
    if (!/;$/)
        next
    if (file == "statements")
        sub(/;$/, "", text)
    printf(file == "statements" ? " \\\n    STATEMENT(" name ", \"%s\")" : " \\\n    \"%s\"", text)
    text = ""
}

END {
    print ""
    for (table in columns)
        print "#define PG_" table "_COLUMNS(COLUMN)" columns[table]
}
