"""An OCI runtime that is a script: a supervisor's, where no container can be."""

from __future__ import annotations

from pathlib import Path

# Starts what stands in the bundle's `program` as a child of the supervisor, which is a subreaper; says what it was asked.
_RUNTIME = """#!/bin/sh
log=/dev/null
while [ "${1#--}" != "$1" ]; do [ "$1" = --log ] && log=$2; shift 2; done
verb=$1; shift
echo "$verb" >>"$HERE/verbs"
case $verb in
run)
    shift; bundle=$2; pid_file=$4
    if [ -e "$HERE/refuses" ]; then cat "$HERE/refuses" >"$log"; exit 1; fi
    exec 3<&0 # a shell's background has no input unless it is given
    # It begins once the supervisor has taken note of our end, as a container's process waits for `start`.
    (while kill -0 $$ 2>/dev/null; do sleep 0.01; done; exec sh "$HERE/program" 3<&-) <&3 & echo $! >"$pid_file" ;;
exec) exec sh "$HERE/check" "$@" ;;
pause) [ ! -e "$HERE/refuses" ] ;;
esac
"""


def scripted_runtime(here: Path) -> Path:
    """It runs the shell script `here`/program instead of a container's process, and writes what it was asked for into
    `here`/verbs; where there is a file `here`/refuses it runs nothing, and says what is in it."""
    script = here / "runtime"
    script.write_text(_RUNTIME.replace("$HERE", str(here)))
    script.chmod(0o755)
    return script
