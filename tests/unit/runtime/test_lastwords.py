"""One line of Docker's for a program that cannot be run, whatever the runtime wrote."""

from __future__ import annotations

import pytest

from boxwright.runtime.lastwords import docker_line
from boxwright.runtime.oci import ProgramUnrunnable, translate

TAIL = b'","level":"error","time":"2026-11-30T15:58:04.040160Z"}'


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            b'{"msg":"exec container process `/a`: Exec format error' + TAIL + b"\n",
            b"exec /a: exec format error\n",
        ),
        (
            b'{"msg":"exec container process (missing dynamic library?) `/a`: No such file or directory'
            + TAIL
            + b"\r\n",
            b"exec /a: no such file or directory\r\n",
        ),
        (
            b'{"msg":"exec container process `/a`: b`: Exec format error' + TAIL + b"\nmore",
            b"exec /a`: b: exec format error\nmore",
        ),
        (
            b'\x1b[1;31m{"msg":"exec container process `/a`: Exec format error' + TAIL + b"\x1b[0m\r\n",
            b"exec /a: exec format error\r\n",
        ),
        (
            b'{\n  "msg": "exec container process `\\/a: b`: Exec format error",\n  "level": "error",\n'
            b'  "time": "2026-11-30T18:55:44.702239Z"\n}\nmore',
            b"exec /a: b: exec format error\nmore",
        ),
        (
            b'{\r\n  "msg": "exec container process (missing dynamic library?) `\\/a`: No such file or directory",\r\n'
            b'  "level": "error",\r\n  "time": "2026-11-30T18:55:44.702239Z"\r\n}\r\n',
            b"exec /a: no such file or directory\r\n",
        ),
        (b'{\n  "name": "a program\'s own"\n}\n', b'{\n  "name": "a program\'s own"\n}\n'),
        (b"{\n", b"{\n"),
        (b'{"msg":"another"}\n', b'{"msg":"another"}\n'),
        (b'{"msg":"exec container process `/a', b'{"msg":"exec container process `/a'),
        (b"exec /a: exec format error\n", b"exec /a: exec format error\n"),
        (b"", b""),
    ],
)
def test_a_complaint_is_dockers_line(said: bytes, shown: bytes) -> None:
    assert docker_line(said) == shown


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"exec: Exec format error\n", b"exec /a: exec format error\n"),
        (b"exec `/a`: No such file or directory\n", b"exec /a: no such file or directory\n"),
        (b"exec `/b`: No such file or directory\n", b"exec `/b`: No such file or directory\n"),
        (b"exec: Exec format error\nmore\n", b"exec: Exec format error\nmore\n"),
        (b"executed\n", b"executed\n"),
    ],
)
def test_a_complaint_of_an_exec_is_dockers_line(said: bytes, shown: bytes) -> None:
    assert docker_line(said, "/a") == shown


def test_an_exec_that_the_kernel_does_not_run_is_the_commands_own_failure() -> None:
    error = translate("exec: Exec format error", "crun", "/a")
    assert isinstance(error, ProgramUnrunnable)
    assert (str(error), error.exit_code) == ("exec /a: exec format error", 1)
