"""The life of one container: start, output, exit, restart, removal.

    python -I -S -c "…; main()"   with the command's socket as descriptor 3; a JOB frame on it begins everything

The state is ROOT/containers/<id>/state.json, written only by the supervisor while it lives; when it is killed, the next
command that looks at the container sees that its identity is gone. A process that runs on is then adopted: a new
supervisor is told the same job with an ADOPT frame (`container.life`)."""

from __future__ import annotations

import os
import select
import sys
import time
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket

from boxwright.container import frames
from boxwright.container.job import Job, RestartChange
from boxwright.container.supervisor.light import age_of, entitle, identity_of, report, write_file
from boxwright.container.supervisor.lines import Unreachable
from boxwright.container.supervisor.logfile import LogFile
from boxwright.container.supervisor.loop import Client, Loop
from boxwright.container.supervisor.runner import Runner, StartFailed, accept
from boxwright.container.supervisor.streams import Streams
from boxwright.container.supervisor.telling import tell, tell_exec, tell_joined
from boxwright.runtime.spawn import SUPERVISORS, exit_code, start
from boxwright.spec.text import to_json
from boxwright.spec.times import stamp
from boxwright.spec.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.network.plan import NetworkPlan

_SIGKILL = 9
_FIRST_DELAY, _LAST_DELAY = 0.1, 60.0  # seconds between restarts, doubling (moby restartmanager)
_SETTLED = 10.0  # a run that lasted longer begins again with the first delay
_NEVER_RAN = 128  # the exit code of what could not be started


class Supervisor:
    """One container's supervisor."""

    def __init__(self, control: socket) -> None:
        self.loop = Loop()
        self.clients: set[Client] = set()
        self._job: Job | None = None
        self.state: dict[str, Any] = {}
        self.streams: Streams | None = None
        self.pid = 0
        self.health: Any = None
        self._memory: Any = None  # what is killed for want of it
        self._health_status = "starting"  # as it was told last
        self._manual = False  # stopped on purpose: the restart policy does not apply
        self._again = False  # `restart`: start once more when it has ended
        self._stopping = self._restarted = False  # for events: by an order to stop, to restart
        self._delay = _FIRST_DELAY
        self._started = 0.0
        self._stop_timer = self._restart_timer = 0
        self._waiting: list[Client] = []  # for DONE
        self._listener: socket | None = None
        self._removing: Client | None = None
        self._network: Any = None
        self._shares: list[Any] = []  # mounts that are others' too
        self._control = self._add(control)
        self._control.owner = True

    @property
    def job(self) -> Job:
        """What is run, once it was told."""
        assert self._job is not None
        return self._job

    # --- connections ---------------------------------------------------------------------------

    def _add(self, connection: socket) -> Client:
        client = Client(
            loop=self.loop,
            connection=connection,
            on_frame=self._frame,
            on_close=self._closed,
            on_drain=self._drained,
        )
        self.clients.add(client)
        return client

    def _listen(self) -> None:
        directory = os.open(self.job.directory, os.O_PATH | os.O_CLOEXEC)
        name = f"/proc/self/fd/{directory}/attach.sock"
        try:
            os.unlink(name)
        except FileNotFoundError:
            pass
        self._listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        self._listener.bind(name)
        os.close(directory)
        self._listener.listen(64)
        self._listener.setblocking(False)
        self.loop.watch(self._listener.fileno(), select.EPOLLIN, self._accept)

    def _accept(self, events: int) -> None:
        assert self._listener is not None
        try:
            fd = accept(self._listener)
        except OSError:
            return
        os.set_inheritable(fd, False)
        self._add(socket(fileno=fd))

    def _closed(self, client: Client) -> None:
        self.clients.discard(client)
        if client in self._waiting:
            self._waiting.remove(client)
        if self.streams is not None and client.wants & frames.WANT_STDIN and self.job.stdin_once:
            self.streams.end_input()
        if client is self._control and self._job is None:
            self.loop.running = False
        if client is self._removing:
            self._removing = None
            self._finish(remove=True)
        if self.streams is not None:
            self._drained()

    def _drained(self) -> None:
        if self.streams is not None and not self.log.lagging and not any(c.lagging for c in self.clients):
            self.streams.resume()

    def _frame(self, client: Client, kind: int, body: bytes) -> None:
        if kind == frames.STDIN:
            if self.streams is not None and client.wants & frames.WANT_STDIN and not self.streams.feed(body):
                client.pause_reading(True)
        elif kind == frames.STDIN_END:
            if self.streams is not None and client.wants & frames.WANT_STDIN and self.job.stdin_once:
                self.streams.end_input()
        elif kind in (frames.JOB, frames.ADOPT) and client.owner and self._job is None:
            self._job = Job.of(frames.value(body))
            client.wants = self.job.wants
            if kind == frames.JOB:
                self._begin()
            else:
                self._adopt()
        elif kind == frames.HELLO:
            client.wants = int(frames.value(body))
            if self.pid or self._restart_timer:
                client.send(frames.message(frames.STARTED, self.pid))
        elif kind == frames.REMOVED and client is self._removing:
            self._removing = None
            self._finish(remove=False)
        elif self._job is not None:
            self._order(client, kind, frames.value(body) if body else None)

    def _order(self, client: Client, kind: int, value: Any) -> None:
        if kind == frames.RESIZE and self.streams is not None:
            self.streams.resize(*value)
            self._tell_size(*value)
            return
        answer = ""
        if kind == frames.SIGNAL:
            answer = self._signal(int(value))
        elif kind == frames.RESTART:
            self._waiting.append(client)  # for the next start, which may come at once
            self._stop(*value, again=True, told=True)
            return
        elif kind == frames.STOP:
            number, seconds, *told = value
            self._stop(number, seconds, again=False, told=told != [False])
        elif kind in (frames.PAUSE, frames.RESUME):
            answer = self._freeze(kind == frames.PAUSE)
        elif kind == frames.UPDATE:
            self._update(RestartChange.of(value))
        elif kind == frames.PROBE and self.health is not None:
            self.health.probe()
        elif kind == frames.EXEC:
            from boxwright.container.supervisor import beside

            identity, words, file = value
            answer = beside.start(self.loop, self.runner, self.job, identity=identity, words=words, file=file)
        client.send(frames.message(frames.DONE, answer))

    # --- the life ------------------------------------------------------------------------------

    def _take(self) -> None:
        job = self.job
        self.runner = Runner(job)
        self.state = job.state
        self.state["Supervisor"] = identity_of(os.getpid())
        self.log = LogFile.of(job.log)
        self._entitle(job.name)
        if job.shares:
            from boxwright.container.supervisor.mounted import MountShare

            self._shares = [MountShare(*share) for share in job.shares]

    def _entitle(self, name: str) -> None:
        entitle(f"boxwright: {name or self.job.id[:12]} (supervisor of container {self.job.id[:12]})")

    def _begin(self) -> None:
        job = self.job
        try:
            self._take()
            self.state["Unfinished"] = True
            self._write_state()  # from here on there may be something to clean up
            self.log.ship(job.log, self.loop, self._drained)
            self._listen()
            if job.network is not None:
                self._join(job.network)
            self._start()
        except StartFailed as error:
            self._fail("runtime", error.log.decode("utf-8", "replace"))
        except Unreachable as error:
            self._fail("log", str(error))
        except OSError as error:
            self._fail(
                "setup",
                f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror or error),
            )

    def _join(self, plan: NetworkPlan, *, held_by: int = 0) -> None:
        """Set the network up, or hold the one that a process has. Raises OSError."""
        from boxwright.container.supervisor.connected import Connected

        self._network = Connected(self.loop, plan)
        if held_by:
            self._network.hold(held_by, [e["id"] for e in self.state["Networks"].values() if e["names"]])
        else:
            self._network.up()

    def _adopt(self) -> None:
        """Take over a process that runs, unsupervised. When it is gone nothing is touched."""
        from boxwright.container.supervisor import orphan

        job = self.job
        pid = int(job.state["Pid"])
        try:
            pidfd = os.pidfd_open(pid)
            if identity_of(pid) != job.state["Process"]:
                raise ProcessLookupError(3, "No such process")
            self._take()
            self.log.ship(job.log, self.loop, self._drained, patient=True)
            self._listen()
            if job.network is not None:
                self._join(job.network, held_by=pid)
        except OSError as error:
            message = str(error.strerror or error)
            self._control.send(frames.message(frames.FAILED, {"stage": "adopt", "message": message}))
            self._control.flush(5)
            self.loop.running = False
            return
        self.pid = pid
        found = orphan.pipes(self.state["Pipes"], pid, job.id)
        self.streams = Streams(self.loop, self.log, self.clients, tty=job.tty, stdin=False, found=found)
        self._attend(ago=age_of(self.state["Process"]))
        self._write_state()
        orphan.watch(self.loop, pidfd, self._orphan_ended)
        self.streams.begin()
        self._control.send(frames.message(frames.STARTED, pid))

    def _orphan_ended(self, status: int | None) -> None:
        from boxwright.container.supervisor import orphan

        if status is None:
            self.state["Error"] = "its exit code is unknown: its supervisor was killed before it ended"
        self._exited(orphan.UNKNOWN << 8 if status is None else status)

    def _fail(self, stage: str, message: str) -> None:
        """The first start failed: nothing ran."""
        self.state.update(
            Status="created",
            Pid=0,
            Error=message,
            ExitCode=_NEVER_RAN,
            FinishedAt=stamp(),
        )
        self._clean_up()
        self._write_state()
        for client in list(self.clients):
            client.send(frames.message(frames.FAILED, {"stage": stage, "message": message}))
            client.flush(5)
        self.loop.running = False

    def _start(self) -> None:
        """Raises StartFailed."""
        job = self.job
        self._restart_timer = 0
        self.streams = Streams(self.loop, self.log, self.clients, tty=job.tty, stdin=job.open_stdin)
        pipes = self.streams.pipes
        try:
            self.pid, master = self.runner.start(self.streams.theirs)
        except BaseException:
            self.streams.close()
            self.streams = None
            raise
        if master >= 0:
            self.streams.terminal(master, job.size)
        self.state.update(
            Status="running",
            Pid=self.pid,
            ExitCode=0,
            Error="",
            StartedAt=stamp(),
            OOMKilled=False,
            FinishedAt=self.state.get("FinishedAt", ""),
            Process=identity_of(self.pid),
            Pipes=pipes,
            Stopped=False,
        )
        self.state.pop("Health", None)
        self._attend()
        self._write_state()
        tell_joined(self.job, self.state, began=True)
        tell(self.job, "start")
        if job.tty and job.wants and any(job.size):
            self._tell_size(*job.size)
        if self._restarted:
            tell(self.job, "restart")
        self._manual = self._restarted = self._stopping = False
        for client in list(self.clients):
            client.send(frames.message(frames.STARTED, self.pid))
        self._answer("")
        self.loop.child(self.pid, self._exited)
        self.streams.begin()
        if job.filter is not None:
            from boxwright.runtime.filters import keep

            keep(*job.filter)
            self._job = replace(job, filter=None)

    def _attend(self, ago: float = 0.0) -> None:
        """Begin to watch a process that has run for `ago` seconds: its health, its memory."""
        job = self.job
        self._started = time.monotonic() - ago
        if job.oom_files:
            from boxwright.container.supervisor.oom import Watch

            self._memory = Watch(self.loop, job.oom_files, lambda: tell(self.job, "oom"))
        self._health_status = (self.state.get("Health") or {}).get("Status", "starting")
        if job.health is not None:
            from boxwright.container.supervisor.health import Health

            self.health = Health(
                self.loop,
                self.runner,
                plan=job.health,
                directory=job.directory,
                state=self.state,
                changed=self._checked,
                told=self._told_check,
            )
            self.health.begin(ago)

    def _checked(self) -> None:
        """A health check has put its result into the state: write that, and tell of a change."""
        self._write_state()
        status = self.state["Health"]["Status"]
        if status != self._health_status and status != "starting":
            tell(self.job, f"health_status: {status}")
        self._health_status = status

    def _told_check(self, action: str, identity: str, words: str = "", **attributes: str) -> None:
        tell_exec(self.job, action, identity=identity, words=words, **attributes)

    def _exited(self, status: int) -> None:
        code = exit_code(status)
        if self.health is not None:
            self.health.end()
            self.health = None
        if self.streams is not None:
            self.streams.drain()
            self.streams.close()
            self.streams = None
        self.log.flush()
        self.pid = 0
        if self._stop_timer:
            self.loop.cancel(self._stop_timer)
            self._stop_timer = 0
        killed = self._memory is not None and self._memory.end()
        self.state.update(Pid=0, ExitCode=code, FinishedAt=stamp(), OOMKilled=killed)
        self.runner.begin_delete()  # the longest of all that is left to do
        tell_joined(self.job, self.state, began=False)
        tell(self.job, "die", exitCode=str(code), execDuration=str(int(time.monotonic() - self._started)))
        if self._stopping:
            tell(self.job, "stop")
        again, self._again = self._again, False
        self._restarted = again
        if again or self._shall_restart(code):
            self._later(0.0 if again else None, counts=not again)
        else:
            self._end()

    def _shall_restart(self, code: int) -> bool:
        return not self._manual and self.job.restart.wanted(code, self.state["RestartCount"])

    def _later(self, delay: float | None, *, counts: bool) -> None:
        """Restart after the policy's delay, or after `delay`."""
        if delay is None:
            if time.monotonic() - self._started > _SETTLED:
                self._delay = _FIRST_DELAY
            delay, self._delay = self._delay, min(self._delay * 2, _LAST_DELAY)
        self.state["Status"] = "restarting"
        if counts:
            self.state["RestartCount"] += 1
        self._write_state()
        self._tell_exit(restarting=True)
        self._restart_timer = self.loop.after(delay, self._restart)
        self.runner.delete()

    def _restart(self) -> None:
        try:
            self._start()
        except StartFailed as error:
            self.state.update(
                ExitCode=_NEVER_RAN,
                Error=error.reason(),
                FinishedAt=stamp(),
            )
            if self.job.restart.always and not self._manual:
                self._later(None, counts=True)
            else:
                self._end()  # which answers the clients that wait

    def _tell_exit(self, *, restarting: bool) -> None:
        body = {
            "code": self.state["ExitCode"],
            "restarting": restarting,
            "oom": self.state["OOMKilled"],
            "error": self.state["Error"],
        }
        for client in list(self.clients):
            if client.wants & frames.WANT_NEXT_EXIT or (
                client.wants & frames.WANT_LAST_EXIT and not restarting
            ):
                client.send(frames.message(frames.EXITED, {**body, "remove": client is self._removing}))

    def _end(self) -> None:
        """The last exit. The attached command removes a --rm container; the supervisor deletes it in the runtime."""
        self._unmount()
        if self.job.auto_remove and not self._control.closed and self._control.wants & frames.WANT_NEXT_EXIT:
            self._removing = self._control
        self.state["Status"] = "exited"
        self.state["Removing"] = self.job.auto_remove
        # What the clients of `run` and `wait` are told next must be true after a power cut, too.
        self._write_state(sync=not self.job.auto_remove)
        self._tell_exit(restarting=False)
        self._clean_up()
        if not self.job.auto_remove:  # a --rm container's record is removed, whatever its state says
            self._write_state()
        if self._removing is None:
            self._finish(remove=self.job.auto_remove)

    def _finish(self, *, remove: bool) -> None:
        """Answer the clients for the last time, and have a --rm container removed by a process that can."""
        for client in list(self.clients):
            if client in self._waiting:
                client.send(frames.message(frames.DONE, self.state["Error"]))
            client.flush(5)
        if remove:
            argv = self.job.reaper
            start(argv[0], argv, fds={}, env=self.job.reaper_environ, new_session=True, signals=SUPERVISORS)
        self.loop.running = False

    def leave(self) -> None:
        """End the process without taking the interpreter apart, for whose end the command waits: all is written."""
        for client in list(self.clients):
            client.close()
        os._exit(0)

    def _clean_up(self) -> None:
        """Idempotent."""
        self._unmount()
        self.log.close()
        if self._listener is not None:
            self.loop.forget(self._listener.fileno())
            self._listener.close()
            self._listener = None
            try:
                os.unlink(f"{self.job.directory}/attach.sock")
            except FileNotFoundError:
                pass
        self.runner.delete()
        if self._network is not None:
            self._network.close()
        self.state["Unfinished"] = False

    def _unmount(self) -> None:
        from boxwright.container.supervisor.mounted import end

        end((self.job.rootfs, *self.job.mounts), self._shares)

    def _answer(self, text: str) -> None:
        waiting, self._waiting = self._waiting, []
        for client in waiting:
            client.send(frames.message(frames.DONE, text))

    def _write_state(self, *, sync: bool = False) -> None:
        text = to_json(self.state).encode("utf-8", "surrogatepass")
        try:
            write_file(f"{self.job.directory}/state.json", text, sync=sync)
        except (
            OSError
        ):  # a full or broken disk must not stop the container; attached clients are told what happened
            pass

    # --- orders --------------------------------------------------------------------------------

    def _signal(self, number: int) -> str:
        if not self.pid:
            return "not running"
        if number == _SIGKILL:
            self._by_hand()
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return "not running"
        tell(self.job, "kill", signal=str(number))
        if number == _SIGKILL and self.state["Status"] == "paused":
            self._freeze(False)
        return ""

    def _stop(self, number: int, seconds: float, *, again: bool, told: bool) -> None:
        self._manual, self._again, self._stopping = True, again, told
        if not again:
            self._by_hand()
        if self._restart_timer:
            self.loop.cancel(self._restart_timer)
            self._restart_timer = 0
            self._restarted, self._again = again, False
            self._restart() if again else self._end()
            return
        if not self.pid:
            return
        self._signal(number)
        self._manual = True
        if self.state["Status"] == "paused":
            self._freeze(False)
        if seconds >= 0 and number != _SIGKILL and not self._stop_timer:
            self._stop_timer = self.loop.after(seconds, self._kill)

    def _by_hand(self) -> None:
        """The user stopped it: the restart policy does not apply, and the state says so for the time after a boot."""
        self._manual = True
        if not self.state.get("Stopped") and not self._again:
            self.state["Stopped"] = True
            self._write_state()

    def _kill(self) -> None:
        self._stop_timer = 0
        self._signal(_SIGKILL)

    def _update(self, change: RestartChange) -> None:
        if change.networks is not None:
            self.state["Networks"] = change.networks
            self._write_state()
        if self._network is not None:
            self._network.change(change)
        if change.restart is not None:
            self._job = replace(self.job, restart=change.restart)
        if change.name:
            self._entitle(change.name)
            self._job = replace(self.job, attributes={**self.job.attributes, "name": change.name})

    def _tell_size(self, rows: int, columns: int) -> None:
        tell(self.job, "resize", height=str(rows), width=str(columns))

    def _freeze(self, frozen: bool) -> str:
        if not self.pid:
            return "not running"
        code, log = self.runner.call("pause" if frozen else "resume")
        if code != 0:
            return log.decode("utf-8", "replace") or "the runtime refused"
        self.state["Status"] = "paused" if frozen else "running"
        self._write_state()
        tell(self.job, "pause" if frozen else "unpause")
        return ""


def main() -> None:
    """Descriptor 3 is the socket to the command that started us; 0, 1 and 2 are /dev/null."""
    from boxwright.files import syscalls

    os.umask(0o022)
    os.chdir("/")
    syscalls.libc("prctl", 36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    os.set_inheritable(3, False)
    supervisor = Supervisor(socket(fileno=3))
    try:
        # While the command prepares the job: most need it. It is imported where it is used, too.
        import boxwright.container.supervisor.connected
        import boxwright.container.supervisor.mounted  # noqa: F401

        supervisor.loop.run()
        supervisor.leave()
    except BaseException as error:
        directory = supervisor.job.directory if supervisor._job is not None else ""
        sys.stderr.write(report(directory, error))
        raise
