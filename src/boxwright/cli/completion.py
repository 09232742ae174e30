"""``boxwright completion bash|zsh|fish``: scripts that ask ``boxwright __complete`` (`boxwright.cli.complete`).

The scripts know nothing about commands, so they never go stale. ``alias docker=boxwright`` completes too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace, Parser

_BASH = r"""# bash completion for boxwright
# Now:    source <(boxwright completion bash)
# Always: boxwright completion bash > /etc/bash_completion.d/boxwright

_boxwright() {
    local line=${COMP_LINE:0:COMP_POINT} program candidate rest before IFS=$' \t\n'
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    local current=${words[${#words[@]}-1]}
    case ${words[0]##*/} in
        boxwright) program=${words[0]/#\~/$HOME} ;;
        *) program=boxwright ;;
    esac
    # Bash breaks words at : and =; what stands before the break must not come back.
    before=
    [[ $current == *[:=]* ]] && before=${current%"${current##*[:=]}"}
    COMPREPLY=()
    while IFS=$'\t' read -r candidate rest; do
        case $candidate in
            :file)
                compopt -o filenames 2>/dev/null
                mapfile -t COMPREPLY < <(compgen -f -- "${current##*=}") ;;
            :dir)
                compopt -o filenames 2>/dev/null
                mapfile -t COMPREPLY < <(compgen -d -- "${current##*=}") ;;
            :nospace) compopt -o nospace 2>/dev/null ;;
            *) COMPREPLY+=("${candidate#"$before"}") ;;
        esac
    done < <("$program" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _boxwright boxwright
# bash does not look through aliases; for one that is made later: complete -F _boxwright docker
[[ $(alias docker 2>/dev/null) == *boxwright* ]] && complete -F _boxwright docker
"""

_ZSH = r"""#compdef boxwright
# zsh completion for boxwright
# Now:    source <(boxwright completion zsh)
# Always: boxwright completion zsh > "${fpath[1]}/_boxwright"

_boxwright() {
    local line candidate description
    local -a found arguments
    arguments=("${(@)words[2,CURRENT]}")
    while IFS= read -r line; do
        candidate=${line%%$'\t'*}
        description=
        [[ $line == *$'\t'* ]] && description=${line#*$'\t'}
        case $candidate in
            :file) [[ $PREFIX == --*=* ]] && compset -P '*='; _files ;;
            :dir) [[ $PREFIX == --*=* ]] && compset -P '*='; _files -/ ;;
            :nospace) ;;
            *) found+=("${candidate//:/\\:}${description:+:$description}") ;;
        esac
    done < <(boxwright __complete "${(@Q)arguments}" 2>/dev/null)
    (( $#found )) && _describe -t boxwright boxwright found
}

if [ "$funcstack[1]" = "_boxwright" ]; then
    _boxwright "$@"
else
    compdef _boxwright boxwright
fi
"""

_FISH = r"""# fish completion for boxwright
# Now:    boxwright completion fish | source
# Always: boxwright completion fish > ~/.config/fish/completions/boxwright.fish

function __boxwright_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (boxwright __complete $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case ':file'
                __fish_complete_path "$current"
            case ':dir'
                __fish_complete_directories "$current"
            case ':nospace'
            case '*'
                echo $line
        end
    end
end

complete -c boxwright -e
complete -c boxwright -f -a '(__boxwright_complete)'
"""


def bash_args(p: Parser) -> None:
    """No arguments."""
    p.examples = [
        ("For this shell", "source <(boxwright completion bash)"),
        ("For every new shell", "boxwright completion bash > /etc/bash_completion.d/boxwright"),
    ]


def bash(ctx: Context, args: Namespace) -> int:
    """Print the script for bash."""
    ctx.out(_BASH.rstrip("\n"))
    return 0


def zsh_args(p: Parser) -> None:
    """No arguments."""
    p.examples = [
        ("For this shell", "source <(boxwright completion zsh)"),
        ("For every new shell", 'boxwright completion zsh > "${fpath[1]}/_boxwright"'),
    ]


def zsh(ctx: Context, args: Namespace) -> int:
    """Print the script for zsh."""
    ctx.out(_ZSH.rstrip("\n"))
    return 0


def fish_args(p: Parser) -> None:
    """No arguments."""
    p.examples = [
        ("For this shell", "boxwright completion fish | source"),
        ("For every new shell", "boxwright completion fish > ~/.config/fish/completions/boxwright.fish"),
    ]


def fish(ctx: Context, args: Namespace) -> int:
    """Print the script for fish."""
    ctx.out(_FISH.rstrip("\n"))
    return 0
