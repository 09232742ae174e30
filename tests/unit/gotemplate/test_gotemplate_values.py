"""Templates of ``inspect`` run over Docker's types. The expected texts are what docker 28's client printed."""

from __future__ import annotations

import pytest

from boxwright.gotemplate.compile import FormatError, compile
from boxwright.gotemplate.values import Struct

_CONTAINER = {
    "Id": "ab12",
    "Name": "/web",
    "ExecIDs": None,
    "State": {"Status": "running", "Pid": 7},
    "HostConfig": {
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "LogConfig": {"Type": "json-file", "Config": {}},
        "Links": None,
        "PidsLimit": None,
        "OomKillDisable": False,
    },
    "Config": {
        "Cmd": ["sleep", "25"],
        "Entrypoint": None,
        "Labels": {"a": "b"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": None,
    },
    "NetworkSettings": {
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]},
        "Networks": {"bridge": {"Aliases": None, "IPAMConfig": None}},
    },
}
_IMAGE = {"Id": "sha256:1", "Config": {"Cmd": ["sh"], "Env": None}, "RepoDigests": []}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.State.Health}}", "<nil>"),
        ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
        ("{{eq .State.Health nil}}", "true"),
        ("{{.HostConfig.Links}} {{.Config.Entrypoint}} {{.Config.Volumes}} {{.ExecIDs}}", "[] [] map[] []"),
        ("{{.HostConfig.PidsLimit}} {{.HostConfig.OomKillDisable}}", "<nil> false"),
        ("{{.HostConfig.RestartPolicy}} {{.HostConfig.LogConfig}}", "{no 0} {json-file map[]}"),
        ("{{.NetworkSettings.Ports}}", "map[80/tcp:[{0.0.0.0 8080}]]"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
        ("{{range $p, $c := .Config.ExposedPorts}}{{$p}}{{$c}}{{end}}", "80/tcp{}"),
        (
            "{{.NetworkSettings.Networks.bridge.Aliases}} {{.NetworkSettings.Networks.bridge.IPAMConfig}}",
            "[] <nil>",
        ),
        ('{{.Config.Labels.a}} {{.Config.Labels.b}} {{index .Config.Labels "b"}}|', "b <no value> |"),
        ("{{.ID}} {{.Id}} {{.SizeRw}} {{.Driver}}|", "ab12 ab12 <nil> |"),
        (
            "{{json .State}} {{json .State.Health}} {{json .Config.Entrypoint}} {{json .Config.Volumes}}",
            '{"Status":"running","Pid":7} null null null',
        ),
        ("{{len .Config.Cmd}} {{len .HostConfig.Links}} {{len .Mounts}}", "2 0 0"),
    ],
)
def test_containers(template: str, text: str) -> None:
    assert compile(template)(Struct(_CONTAINER, "container")) == text


def test_an_image_has_the_fields_that_its_json_lacks() -> None:
    template = (
        "{{.Config.ExposedPorts}} {{.Config.Healthcheck}} {{.Config.Env}} {{.RepoDigests}} {{.Author}}|"
    )
    assert compile(template)(Struct(_IMAGE, "image")) == "map[] <nil> [] [] |"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{.State.Health.Status}}", "nil pointer evaluating .Status"),
        ("{{.State.Nope}}", 'no entry for key "Nope"'),
        ("{{.Nope}}", "no entry"),
    ],
)
def test_what_is_not_there_is_an_error(template: str, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        compile(template)(Struct(_CONTAINER, "container"))
