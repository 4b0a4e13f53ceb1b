#compdef tokenctl token-spawn
# zsh completion of tokenctl(1) and token-spawn(8)

if [[ $service == token-spawn ]]; then
    (( CURRENT > 2 )) || compadd -- start stop restart reload status run --help --version
    return
fi
local usage about first second rest arguments previous=$words[CURRENT-1]
local -a given=(${words[2,CURRENT-1]:#-*}) named options
[[ $words[CURRENT] != -* ]] || options=(@options@)
while IFS=$'\t' read -r usage about; do
    read -r first second rest <<<$usage
    [[ $second == [a-z]* ]] || rest="$second $rest" second=
    if (( $#given == 0 )); then
        [[ -z $second ]] || about=
        (( ${named[(I)$first(|:*)]} )) || named+=($first${about:+:$about})
    elif [[ $first == $given[1] && -n $second && $#given -eq 1 ]]; then
        named+=("$second:$about")
    elif [[ $first == $given[1] && $second == ${second:+$given[2]} ]]; then
        arguments=$rest
    fi
done <<'END'
@commands@
END
if [[ $arguments == *"[$previous "* ]]; then # the option's value: of "N|unlimited" the word
    rest=${arguments#*"[$previous "}
    compadd -- ${(M)${(s:|:)rest%%\]*}:#[a-z]*}
elif [[ $words[CURRENT] != -* && $arguments == (|\[)FILE* ]]; then
    _files
else
    options+=(${${(M)${=arguments}:#\[--*}//[][]/})
    (( ! $#named )) || _describe command named
    compadd -- $options
fi
