# bash completion of tokenctl(1) and token-spawn(8)
# shellcheck shell=bash

_tokenctl()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local usage first second rest word arguments='' names=''
    local -a given=() words
    [[ $current != -* ]] || names='@options@'
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $word == -* ]] || given+=("$word")
    done
    while IFS=$'\t' read -r usage _; do
        read -r first second rest <<<"$usage"
        [[ $second == [a-z]* ]] || rest="$second $rest" second=
        if ((${#given[@]} == 0)); then
            [[ " $names " == *" $first "* ]] || names+=" $first"
        elif [[ $first == "${given[0]}" && $second && ${#given[@]} -eq 1 ]]; then
            names+=" $second"
        elif [[ $first == "${given[0]}" && $second == "${second:+${given[1]}}" ]]; then
            arguments=$rest
        fi
    done <<'END'
@commands@
END
    if [[ $arguments == *"[$previous "* ]]; then # the option's value: of "N|unlimited" the word
        rest=${arguments#*"[$previous "}
        IFS='|' read -ra words <<<"${rest%%]*}"
        names=
        for word in "${words[@]}"; do
            [[ $word != [a-z]* ]] || names+=" $word"
        done
    elif [[ $current != -* && $arguments =~ ^\[?FILE ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
    else
        read -ra words <<<"$arguments"
        for word in "${words[@]}"; do
            [[ $word != '[--'* ]] || names+=" ${word//[][]/}"
        done
    fi
    mapfile -t COMPREPLY < <(compgen -W "$names" -- "$current")
}

complete -F _tokenctl tokenctl
complete -W 'start stop restart reload status run --help --version' token-spawn
