# Makes C of the .sql files: PG_SCHEMA_SQL(STATEMENT), a list of STATEMENT(version, "SQL"), and
# PG_SCHEMA_VERSION, the last version; PG_USERS_COLUMNS(COLUMN) and so on, lists of
# COLUMN(whether it is an integer, whether uses change it, member, most bytes); PG_USERS_COPY and so
# on, the COPY of these columns; PG_STATEMENTS_SQL(STATEMENT), a list of STATEMENT(name, "SQL").

FNR == 1 {
    file = FILENAME
    sub("^.*/", "", file)
    sub("[.].*", "", file)
    printf("%s#define PG_%s_SQL(STATEMENT)", NR == 1 ? "" : "\n", toupper(file))
}

file == "statements" && /^-- [A-Z_]+$/ {
    name = $2
    next
}

file == "schema" && /^-- VERSION [0-9]+$/ {
    version = name = $3
}

file == "schema" && /^(CREATE|ALTER) TABLE/ {
    table = toupper($3)
}

file == "schema" && /^    .* -- (use )?[a-z0-9_.]+( [A-Z0-9_]+)?$/ {
    comment = substr($0, index($0, " -- ") + 4)
    is_use = sub(/^use /, "", comment)
    split(comment, words, " ")
    names[table] = names[table] (names[table] == "" ? "" : ", ") ($1 == "ADD" ? $3 : $1)
    columns[table] = columns[table] " COLUMN(" (/^    (ADD COLUMN )?[a-z_]+ bigint/) ", " is_use ", " words[1] ", " (words[2] == "" ? 0 : words[2]) ")"
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
    sub(/;$/, "", text)
    printf(" \\\n    STATEMENT(%s, \"%s\")", name, text)
    text = ""
}

END {
    print "\n#define PG_SCHEMA_VERSION " version
    for (table in columns) {
        print "#define PG_" table "_COLUMNS(COLUMN)" columns[table]
        print "#define PG_" table "_COPY \"COPY " table " (" names[table] ") FROM STDIN (FORMAT binary)\""
    }
}
