"""What ends steps when the process that runs them is killed (SIGKILL): a shell at the other end of a pipe.

One is enough for all steps of a build; to start one takes longer than many a step. What a runtime that was killed in
the middle has begun is unknown to the runtime: what runs in the step's cgroups ends, and they are removed.
"""

from __future__ import annotations

import os
import threading

from boxwright.runtime.process import PIPE, Process, ProgramMissing, Stdio, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.runtime.oci import Runtime

# Steps are named IDENTITY:PID. Without the word that all is over, the process that has the other end was killed.
_SCRIPT = """
clean() {
    set -- /sys/fs/cgroup/"$1" /sys/fs/cgroup/*/"$1"
    for round in 1 2 3 4 5 6 7 8 9 10; do
        left=
        for group; do
            [ -d "$group" ] || continue
            for pid in $(cat "$group/cgroup.procs"); do kill -9 "$pid"; done
            rmdir "$group" || left=1
        done
        [ "$left" ] || return
        sleep 0.1
    done
}
steps=
while read -r what step; do
    case $what in
        begun) steps="$steps $step" ;;
        ended)
            others=
            for each in $steps; do [ "$each" = "$step" ] || others="$others $each"; done
            steps=$others ;;
        over) exit ;;
    esac
done
for each in $steps; do kill -9 "${each##*:}"; done
for each in $steps; do
    "$@" "${each%:*}"
    clean "${each%:*}"
done
"""


class Guard:
    """Ends the steps of this process that it was told of, if the process is killed. Safe to use from several threads;
    close it when no step runs any more."""

    def __init__(self, runtime: Runtime) -> None:
        self._command = runtime.command("delete", "--force")
        self._steps: dict[str, None] = {}  # that run now, as the script names them
        self._shell: Process | None = None
        self._lock = threading.Lock()

    def begun(self, identity: str, pid: int) -> str:
        """The runtime's process `pid` runs a container; the answer is for `ended`. Raises Unsupported, OSError when no
        shell can be started: the step is unknown then."""
        step = f"{identity}:{pid}"
        with self._lock:
            if not self._tell("begun", step):
                self._start()
                self._tell("begun", step)
            self._steps[step] = None
        return step

    def ended(self, step: str) -> None:
        """The runtime's process was waited for: its number may be another's from now on."""
        with self._lock:
            del self._steps[step]
            self._tell("ended", step)

    def close(self) -> None:
        """Let the shell go."""
        with self._lock:
            self._tell("over")
            self._forget()

    def _start(self) -> None:
        self._forget()
        try:
            self._shell = spawn(
                ["/bin/sh", "-c", _SCRIPT, "sh", *self._command], stdio=Stdio(stdin=PIPE), new_session=True
            )
        except ProgramMissing:
            return
        for step in self._steps:
            self._tell("begun", step)

    def _tell(self, what: str, step: str = "") -> bool:
        """Whether there is a shell to hear it."""
        if self._shell is None:
            return False
        try:
            os.write(self._shell.stdin, f"{what} {step}\n".encode())
        except BrokenPipeError:  # it was killed, too: the next step has another
            return False
        return True

    def _forget(self) -> None:
        if self._shell is not None:
            self._shell.close()
            self._shell.wait()
            self._shell = None
