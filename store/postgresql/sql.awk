# Makes C of the .sql files: PG_SCHEMA_SQL, and PG_STATEMENTS_SQL(STATEMENT), a list of
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
}
