"""CDI specifications: which devices they have, what they change of a container, and which are not read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boxwright.build.ops.context import DevicesAllowed
from boxwright.build.ops.devices import DeviceDenied, give
from boxwright.build.ops.exec import ExecOp
from boxwright.errors import Invalid
from boxwright.runtime import cdi

SPEC = {
    "cdiVersion": "0.6.0",
    "kind": "vendor.com/gpu",
    "containerEdits": {
        "env": ["ALL=1"],
        "hooks": [{"hookName": "createContainer", "path": "/bin/h", "args": ["h"]}],
    },
    "devices": [
        {
            "name": "zero",
            "annotations": {cdi.CLASS: "gpu"},
            "containerEdits": {
                "env": ["WHICH=zero"],
                "deviceNodes": [
                    {"path": "/dev/gpu0", "hostPath": "/dev/zero", "permissions": "rw", "gid": 9}
                ],
                "mounts": [{"hostPath": "/lib/gpu", "containerPath": "/lib/gpu", "options": ["ro", "bind"]}],
                "additionalGids": [44, 0],
            },
        },
        {"name": "null", "containerEdits": {"deviceNodes": [{"path": "/dev/null"}]}},
    ],
}


def written(directory: Path, body: Any = SPEC, name: str = "vendor.json", mode: int = 0o644) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(body if isinstance(body, str) else json.dumps(body))
    path.chmod(mode)
    return directory


def config() -> dict[str, Any]:
    return {
        "process": {"env": ["WHICH=mine", "PATH=/bin"], "user": {"uid": 7, "gid": 8}},
        "mounts": [{"destination": "/proc"}],
        "linux": {"resources": {"devices": [{"allow": False}]}},
    }


def test_which_devices_a_name_means(tmp_path: Path) -> None:
    here = cdi.load([written(tmp_path / "cdi"), tmp_path / "none"])
    names = lambda word: [device.name for device in here.find(word)]  # noqa: E731
    assert names("vendor.com/gpu=zero") == ["vendor.com/gpu=zero"]
    assert names("vendor.com/gpu") == ["vendor.com/gpu=null"]
    assert names("vendor.com/gpu=*") == ["vendor.com/gpu=null", "vendor.com/gpu=zero"]
    assert names("gpu") == ["vendor.com/gpu=zero"]
    for word in ("vendor.com/gpu=one", "vendor.com/net", "x", ""):
        with pytest.raises(cdi.DeviceMissing, match="is not registered"):
            here.find(word)


def test_a_later_directory_wins_and_yaml_is_read(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    text = "cdiVersion: 1.0.0\nkind: vendor.com/gpu\ndevices:\n- name: zero\n  containerEdits: {env: [LATER=1]}\n"
    here = cdi.load([written(tmp_path / "a"), written(tmp_path / "b", text, "v.yaml")])
    assert here.find("vendor.com/gpu=zero")[0].edits[1] == {"env": ["LATER=1"]}


def test_what_a_device_changes(tmp_path: Path) -> None:
    spec = config()
    cdi.apply(spec, cdi.load([written(tmp_path / "cdi")]).find("vendor.com/gpu=*"))
    assert spec["process"]["env"] == ["PATH=/bin", "ALL=1", "WHICH=zero"]
    assert spec["process"]["user"]["additionalGids"] == [44]
    assert {(d["path"], d["major"], d["minor"], d["uid"], d["gid"]) for d in spec["linux"]["devices"]} == {
        ("/dev/null", 1, 3, 7, 8),
        ("/dev/gpu0", 1, 5, 7, 9),
    }
    rules = spec["linux"]["resources"]["devices"][1:]
    assert {(r["major"], r["minor"], r["access"]) for r in rules} == {(1, 3, "rwm"), (1, 5, "rw")}
    assert spec["mounts"][1] == {
        "destination": "/lib/gpu",
        "source": "/lib/gpu",
        "type": "bind",
        "options": ["ro", "bind"],
    }
    assert spec["hooks"] == {"createContainer": [{"path": "/bin/h", "args": ["h"]}]}  # once, for both


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[]",
        {"cdiVersion": "9", "kind": "v/c"},
        {"cdiVersion": "0.6.0", "kind": "../etc"},
        {"cdiVersion": "0.6.0", "kind": "v.com/c", "devices": "x"},
        {"cdiVersion": "0.6.0", "kind": "v.com/c", "devices": [{"name": "a b"}]},
        {"cdiVersion": "0.6.0", "kind": "v.com/c", "containerEdits": {"intelRdt": {}}},
        {"cdiVersion": "0.6.0", "kind": "v.com/c", "containerEdits": {"env": ["=x"]}},
        {"cdiVersion": "0.6.0", "kind": "v.com/c", "containerEdits": {"mounts": [{"hostPath": "/"}]}},
        {
            "cdiVersion": "0.6.0",
            "kind": "v.com/c",
            "containerEdits": {"hooks": [{"hookName": "x", "path": "/"}]},
        },
        "[" * 100_000,
        *(
            {"cdiVersion": "0.6.0", "kind": "v.com/c", "containerEdits": edits}
            for edits in (
                {"additionalGids": ["x"]},
                {"additionalGids": [-1]},
                {"additionalGids": 5},
                {"deviceNodes": [{"path": "dev/x"}]},
                {"deviceNodes": [{"path": "/dev/x\0"}]},
                {"deviceNodes": [{"path": "/dev/x", "major": "1"}]},
                {"deviceNodes": [{"path": "/dev/x", "type": "x"}]},
                {"deviceNodes": [{"path": "/dev/x", "permissions": "rwx"}]},
                {"mounts": [{"hostPath": "/a", "containerPath": "../b"}]},
                {"mounts": [{"hostPath": "/a", "containerPath": "/b", "options": "ro"}]},
                {"mounts": [{"hostPath": "/a", "containerPath": "/b", "options": [1]}]},
                {"hooks": [{"hookName": "prestart", "path": "bin/h"}]},
                {"hooks": [{"hookName": "prestart", "path": "/h", "args": "x"}]},
                {"hooks": [{"hookName": "prestart", "path": "/h", "timeout": "x"}]},
            )
        ),
    ],
)
def test_what_is_no_specification(tmp_path: Path, body: Any) -> None:
    with pytest.raises(Invalid):
        cdi.load([written(tmp_path / "cdi", body)])


@pytest.mark.parametrize("text", ["a: [", '!!int ""', "!!timestamp x", "!!bool x", "!!map x", "- " * 5000])
def test_what_is_no_yaml(tmp_path: Path, text: str) -> None:
    pytest.importorskip("yaml")
    with pytest.raises(cdi.SpecInvalid, match="cannot be read"):
        cdi.load([written(tmp_path / "cdi", text, "v.yaml")])


def test_a_file_that_others_can_write_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(cdi.SpecUnsafe, match="can be written by others"):
        cdi.load([written(tmp_path / "cdi", mode=0o666)])


def test_a_node_that_is_none(tmp_path: Path) -> None:
    node = {"path": "/dev/x", "hostPath": str(tmp_path / "cdi/vendor.json")}
    body = {**SPEC, "devices": [{"name": "a", "containerEdits": {"deviceNodes": [node]}}]}
    with pytest.raises(cdi.SpecInvalid, match="is no device"):
        cdi.apply(config(), cdi.load([written(tmp_path / "cdi", body)]).find("vendor.com/gpu=a"))


@pytest.mark.parametrize(
    ("word", "allowed", "given"),
    [
        ("vendor.com/gpu=zero", DevicesAllowed(all=True), True),
        ("vendor.com/gpu=zero", DevicesAllowed(), False),
        ("vendor.com/gpu=zero", DevicesAllowed(names=frozenset(("vendor.com/gpu=zero",))), True),
        ("vendor.com/gpu=zero", DevicesAllowed(names=frozenset(("vendor.com/gpu",))), True),
        ("vendor.com/gpu=zero", DevicesAllowed(names=frozenset(("vendor.com/gpu=null",))), False),
        ("gpu", DevicesAllowed(names=frozenset(("gpu",))), True),
        ("mine", DevicesAllowed(names=frozenset(("gpu",)), aliases={"mine": "gpu"}), True),
    ],
)
def test_a_step_gets_what_the_build_was_allowed(
    tmp_path: Path, word: str, allowed: DevicesAllowed, given: bool
) -> None:
    written(tmp_path / "cdi")
    here = DevicesAllowed(allowed.all, allowed.names, allowed.aliases, (str(tmp_path / "cdi"),))
    spec = config()
    op = ExecOp(argv=("true",), devices=((word, True),))
    if given:
        give(op, here, spec)
        assert spec["linux"]["devices"][0]["path"] == "/dev/gpu0"
    else:
        with pytest.raises(DeviceDenied, match="is not allowed"):
            give(op, here, spec)


def test_a_device_that_is_not_required_may_be_absent(tmp_path: Path) -> None:
    here = DevicesAllowed(all=True, directories=(str(tmp_path),))
    spec = config()
    absent = give(ExecOp(argv=("true",), devices=(("vendor.com/none", False),)), here, spec)
    assert absent == ["vendor.com/none"] and spec == config()
    with pytest.raises(cdi.DeviceMissing):
        give(ExecOp(argv=("true",), devices=(("vendor.com/none", True),)), here, spec)


def test_a_device_can_allow_itself(tmp_path: Path) -> None:
    written(tmp_path / "cdi", {**SPEC, "annotations": {cdi.AUTO_ALLOW: "true"}})
    spec = config()
    here = DevicesAllowed(directories=(str(tmp_path / "cdi"),))
    give(ExecOp(argv=("true",), devices=(("vendor.com/gpu=null", True),)), here, spec)
    assert spec["linux"]["devices"][0]["path"] == "/dev/null"
