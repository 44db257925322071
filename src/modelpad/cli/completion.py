"""`modelpad completion SHELL`: completes commands, options and names in bash, zsh or fish.

The shell's function asks modelpad for candidates, so they fit the version that is installed and the
models that are in the store. Where there are none, the shell completes names of files.
"""

from __future__ import annotations

import argparse
import os
import re

from modelpad.cli.candidates import Candidate, find_candidates
from modelpad.cli.main import DONE, add_store_option

EXAMPLE = """examples:
  source <(modelpad completion bash)      in ~/.bashrc
  source <(modelpad completion zsh)       in ~/.zshrc, after compinit
  modelpad completion fish | source       in ~/.config/fish/config.fish
"""
SCRIPTS = {
    "bash": r"""_modelpad() {
    local IFS=$'\n' found
    COMPREPLY=()
    while read -r found; do
        COMPREPLY+=("$found")
    done < <("$1" completion bash "--words=${COMP_WORDS[*]:1:COMP_CWORD}" 2>/dev/null)
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=@] ]] && compopt -o nospace
}
complete -o bashdefault -o default -F _modelpad modelpad
""",
    "zsh": r"""#compdef modelpad
_modelpad() {
    local -a found
    found=("${(@f)$("${words[1]}" completion zsh "--words=${(F)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[*]}" ]]; then
        _describe -V modelpad found
    else
        _files
    fi
}
compdef _modelpad modelpad
""",
    "fish": r"""function __modelpad_candidates
    set -l words (commandline -opc)[2..] (commandline -ct)
    modelpad completion fish "--words="(string join \n -- $words | string collect -N) 2>/dev/null
end
complete -c modelpad -a '(__modelpad_candidates)'
""",
}
BASH_BREAKS = re.compile(r"[@=:]+")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument("shell", metavar="SHELL", choices=SCRIPTS, help="bash, zsh or fish")
    # What the script calls: the words after the command, each on a line, up to the cursor.
    parser.add_argument("--words", help=argparse.SUPPRESS)
    add_store_option(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def run(args: argparse.Namespace) -> int:
    """Prints the shell's script or, for the script, the candidates."""
    if args.words is None:
        print(SCRIPTS[args.shell], end="")
        return DONE
    # fish ends even the last word with a line break.
    words = (args.words.removesuffix("\n") if args.shell == "fish" else args.words).split("\n")
    if args.shell == "bash":
        words = join_broken(words)
    for line in write_candidates(args.shell, find_candidates(words, os.environ), words[-1]):
        print(line)
    return DONE


def join_broken(words: list[str]) -> list[str]:
    """The words with those joined that bash breaks at @, = and :, such as `digits`, `@`, `2`."""
    joined: list[str] = []
    glue = False
    for word in words:
        breaks = bool(word) and BASH_BREAKS.fullmatch(word) is not None
        if joined and (glue or breaks):
            joined[-1] += word
        else:
            joined.append(word)
        glue = breaks
    return joined


def write_candidates(shell: str, candidates: list[Candidate], prefix: str) -> list[str]:
    """The lines that a shell's script reads."""
    if shell == "bash":  # it replaces only what follows the last break
        kept = max((match.end() for match in BASH_BREAKS.finditer(prefix)), default=0)
        return [word[kept:] for word, _ in candidates]
    if shell == "zsh":
        return [
            ":".join(filter(None, (word.replace(":", r"\:"), words))) for word, words in candidates
        ]
    return ["\t".join(filter(None, each)) for each in candidates]
