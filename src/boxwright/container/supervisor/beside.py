"""A process beside the container's first, which its supervisor starts and is the parent of: `exec --detach`.

Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import os

from boxwright.container.supervisor.telling import tell_exec
from boxwright.runtime.spawn import exit_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.container.job import Job
    from boxwright.container.supervisor.loop import Loop
    from boxwright.container.supervisor.runner import Runner


def start(loop: Loop, runner: Runner, job: Job, *, identity: str, words: str, file: str) -> str:
    """Start the OCI process of a file, and let it be; its end is told. Returns the runtime's log when it did not
    start, or ''."""
    pid_file = f"{job.directory}/exec.pid"
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    tell_exec(job, "create", identity=identity, words=words)
    tell_exec(job, "start", identity=identity, words=words)
    try:
        options = ("--detach", "--process", file, "--pid-file", pid_file)
        code, log = runner.call("exec", *options, stdio=(null, null, null))
        if code:
            return log.decode("utf-8", "replace") or f"exit code {code}"
        with open(pid_file) as number:
            pid = int(number.read())
        os.unlink(pid_file)
    except (OSError, ValueError) as error:
        return str(error)
    finally:
        os.close(null)

    def ended(status: int) -> None:
        tell_exec(job, "die", identity, exitCode=str(exit_code(status)))

    loop.child(pid, ended)
    return ""
