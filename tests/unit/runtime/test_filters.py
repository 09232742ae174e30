"""Compiled seccomp filters are used again."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from boxwright.runtime import filters
from boxwright.runtime.oci import Runtime

RULES = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}


def runtime(tmp_path: Path, name: str = "crun", version: str = "1") -> Runtime:
    program = tmp_path / name
    program.touch()
    return Runtime(name, str(program), version, tmp_path / "state" / name)


def config(rules: Any = RULES) -> dict[str, Any]:
    return {"linux": {"seccomp": rules}, "annotations": {"a": "b"}}


def compiled(at: Runtime, program: bytes) -> str:
    state = at.root / "c1"
    state.mkdir(parents=True, exist_ok=True)
    (state / "seccomp.bpf").write_bytes(program)
    (state / "status").touch()
    return str(state)


def test_what_was_compiled_once_is_used(tmp_path: Path) -> None:
    crun = runtime(tmp_path)
    before, place = filters.prepare(crun, config())
    assert before == config()
    assert place
    assert filters.keep(compiled(crun, b"12345678"), place)
    after, nothing = filters.prepare(crun, config())
    assert nothing == ""
    assert after["linux"] == config()["linux"]  # for runtimes that do not know the annotation
    assert after["annotations"] == {"a": "b", "run.oci.seccomp_bpf_data": b64encode(b"12345678").decode()}


def test_other_rules_and_other_runtimes_are_compiled_for_again(tmp_path: Path) -> None:
    crun = runtime(tmp_path)
    _, place = filters.prepare(crun, config())
    filters.keep(compiled(crun, b"12345678"), place)
    assert filters.prepare(crun, config({**RULES, "defaultAction": "SCMP_ACT_KILL"}))[1] not in ("", place)
    assert filters.prepare(runtime(tmp_path, version="2"), config())[1] not in ("", place)


@pytest.mark.parametrize("rules", [None, {**RULES, "listenerPath": "/run/agent.sock"}])
def test_nothing_to_compile(tmp_path: Path, rules: Any) -> None:
    assert filters.prepare(runtime(tmp_path), config(rules)) == (config(rules), "")


def test_runc_compiles_for_itself(tmp_path: Path) -> None:
    assert filters.prepare(runtime(tmp_path, "runc"), config()) == (config(), "")


@pytest.mark.parametrize("program", [b"", b"1234567", b"x" * ((1 << 18) + 8)])
def test_what_is_no_program_is_not_kept(tmp_path: Path, program: bytes) -> None:
    crun = runtime(tmp_path)
    _, place = filters.prepare(crun, config())
    assert not filters.keep(compiled(crun, program), place)
    assert not Path(place).exists()


def test_a_filter_that_is_still_written_is_not_kept(tmp_path: Path) -> None:
    crun = runtime(tmp_path)
    _, place = filters.prepare(crun, config())
    state = Path(compiled(crun, b"12345678"))
    (state / "status").unlink()
    assert not filters.keep(str(state), place)
