# Fills in a shell's completion from tokenctl --help (print_usage in ctl/tokenctl.c): the line "@commands@" becomes
# all commands, each with its arguments on one line and, behind a tab, what it does; "@options@" those of every command.
#
#   tokenctl --help | awk -f man/completion.awk - TEMPLATE

function add(separator) {
    sub(/^ +/, "")
    sub(/  +/, "\t")
    commands = commands separator $0
}

NR != FNR {
    if (/^@commands@$/)
        $0 = commands
    sub(/@options@/, options)
    print
    next
}
/^  [a-z]/ { add(commands == "" ? "" : "\n") }
/^      \[/ { add(" ") }
/^        +[^ ]/ { add("\t") }
/^$/ { commands_begin = 1 }
!commands_begin {
    while (match($0, /--[a-z]+/)) {
        options = options (options == "" ? "" : " ") substr($0, RSTART, RLENGTH)
        $0 = substr($0, RSTART + RLENGTH)
    }
}
END { exit commands == "" || options == "" }
