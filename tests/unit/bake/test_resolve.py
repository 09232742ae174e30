"""Which targets names mean, what is inherited, linked and typed over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.bake import allow
from boxwright.bake.errors import DefinitionInvalid, DefinitionTooLarge
from boxwright.bake.resolve import resolve
from support.bake import parsed, resolved, target

APP = """
group "default" { targets = ["web", "db"] }
target "base" { args = { V = "1" } }
target "web" { inherits = ["base"] }
target "db" { tags = ["db"] }
target "_private" {}
"""


def test_names_and_patterns() -> None:
    assert list(resolved(APP).targets) == ["web", "db"]
    assert set(resolved(APP, "*b*").targets) == {"base", "web", "db"}
    assert resolved(APP, "db").groups["default"].targets == ["db"]
    with pytest.raises(DefinitionInvalid, match="failed to find target wob") as error:
        resolved(APP, "wob")
    assert error.value.hint == "did you mean web?"
    with pytest.raises(DefinitionInvalid, match="could not find any target matching"):
        resolved(APP, "x*")


def test_groups_that_have_themselves() -> None:
    text = 'group "a" { targets = ["b", "t"] }\ngroup "b" { targets = ["a"] }\ntarget "t" {}'
    with pytest.raises(DefinitionInvalid, match="failed to find target a"):
        resolved(text, "a")


def test_targets_that_inherit_from_themselves() -> None:
    text = 'target "a" {\n inherits = ["b"]\n tags = ["a"]\n}\ntarget "b" { inherits = ["a"] }'
    assert target(text, of="a")["tags"] == ["a"]


def test_links() -> None:
    found = resolved(
        'target "a" { contexts = { x = "target:b" } }\ntarget "b" { entitlements = ["network.host"] }', "a"
    )
    assert found.targets["b"].linked and found.targets["b"].to_json()["output"] == [{"type": "cacheonly"}]
    assert found.targets["a"].to_json()["entitlements"] == ["network.host"]
    with pytest.raises(DefinitionInvalid, match="infinite loop from b to a"):
        resolved(
            'target "a" { contexts = { x = "target:b" } }\ntarget "b" { contexts = { x = "target:a" } }', "a"
        )
    with pytest.raises(DefinitionInvalid, match="target a cannot link to itself"):
        resolved('target "a" { contexts = { x = "target:a" } }', "a")
    with pytest.raises(DefinitionInvalid, match="are not a subset of"):
        resolved(
            'target "a" {\n platforms = ["linux/amd64", "linux/s390x"]\n contexts = { x = "target:b" }\n}\n'
            'target "b" { platforms = ["linux/amd64", "linux/arm64"] }',
            "a",
        )


def test_chains_have_an_end() -> None:
    inherit = (
        "\n".join(f'target "t{i}" {{ inherits = ["t{i + 1}", "t{i + 1}"] }}' for i in range(400))
        + '\ntarget "t400" {}'
    )
    link = (
        "\n".join(f'target "t{i}" {{ contexts = {{ x = "target:t{i + 1}" }} }}' for i in range(400))
        + '\ntarget "t400" {}'
    )
    group = (
        "\n".join(f'group "t{i}" {{ targets = ["t{i + 1}", "t{i + 1}"] }}' for i in range(400))
        + '\ntarget "t400" {}'
    )
    for text in (inherit, link, group):
        with pytest.raises(DefinitionTooLarge):
            resolved(text, "t0")
    wide = "\n".join(
        f'target "t{i}" {{\n annotations = ["a{i}=b"]\n inherits = ["t{i + 1}", "t{i + 2}"]\n}}'
        for i in range(60)
    )
    assert len(target(wide + '\ntarget "t60" {}\ntarget "t61" {}', of="t0")["annotations"]) == 60


@pytest.mark.parametrize(
    ("override", "setting", "expected"),
    [
        ("web.tags=a", "tags", ["a"]),
        ("*.tags+=a", "tags", ["web", "a"]),
        ("web.args.V=2", "args", {"V": "2"}),
        ("web.args.HOME", "args", {"V": "1", "HOME": "/h"}),
        ("web.args.UNSET", "args", {"V": "1"}),
        ("web.labels.a.b=c", "labels", {"a.b": "c"}),
        ("web.contexts.x=y", "contexts", {"x": "y"}),
        ("web.platform=linux/arm64", "platforms", ["linux/arm64"]),
        ("web.output=type=local,dest=out", "output", [{"dest": "out", "type": "local"}]),
        (
            "web.cache-from=a,b",
            "cache-from",
            [{"ref": "a", "type": "registry"}, {"ref": "b", "type": "registry"}],
        ),
        ("web.cache-to=type=local,dest=c", "cache-to", [{"dest": "c", "type": "local"}]),
        ("web.secrets=id=a,src=b", "secret", [{"id": "a", "src": "b"}]),
        ("web.ssh=default", "ssh", [{"id": "default"}]),
        ("web.attest=type=sbom", "attest", [{"type": "sbom"}]),
        ("web.entitlements=network.host", "entitlements", ["network.host"]),
        ("web.annotations=a=b", "annotations", ["a=b"]),
        ("web.network=none", "network", "none"),
        ("web.no-cache=true", "no-cache", True),
        ("web.pull=0", "pull", False),
        ("web.push=true", "output", [{"push": "true", "type": "image"}]),
        ("web.load=true", "output", [{"type": "docker"}]),
        ("web.target=t", "target", "t"),
        ("web.dockerfile=d", "dockerfile", "d"),
        ("web.context=c/", "context", "c"),
        ("web.call=lint", "call", "lint"),
        ("web.shm-size=1m", "shm-size", "1m"),
        ("web.ulimits=nofile=1", "ulimits", ["nofile=1"]),
        ("web.no-cache-filter=a", "no-cache-filter", ["a"]),
        ("web.extra-hosts.h=1.2.3.4", "extra-hosts", {"h": "1.2.3.4"}),
    ],
)
def test_what_is_typed_over(override: str, setting: str, expected: object) -> None:
    text = 'target "web" {\n tags = ["web"]\n args = { V = "1" }\n}'
    assert target(text, of="web", overrides=[override], environ={"HOME": "/h"})[setting] == expected


def test_push_and_load_change_what_is_there() -> None:
    text = 'target "a" { output = ["type=registry", "type=image,name=x", "type=docker"] }'
    shown = target(text, of="a", overrides=["a.push=false"])["output"]
    assert {"name": "x", "push": "false", "type": "image"} in shown and len(shown) == 2
    shown = target(
        'target "a" { output = ["type=local,dest=o"] }', of="a", overrides=["a.push=true", "a.load=true"]
    )
    assert shown["output"] == [{"dest": "o", "type": "local"}]


@pytest.mark.parametrize(
    "override",
    [
        "web",
        "web=1",
        "nobody.tags=1",
        "web.args=1",
        "web.colour=1",
        "web.pull=maybe",
        "web.output=type=x,y",
        "web.contexts=1",
    ],
)
def test_what_cannot_be_typed_over(override: str) -> None:
    with pytest.raises(DefinitionInvalid):
        resolved(APP, overrides=[override])


def needs(text: str, cwd: Path, *allowed: str, overrides: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What a definition wants beyond what it is allowed."""
    granted = allow.parse(allowed)
    found = resolve(config=parsed(text), names=["default"], overrides=overrides, environ={}, allowed=granted)
    try:
        allow.check(found.targets.values(), granted, cwd)
    except allow.PrivilegesWanted as error:
        return error.flags
    return ()


def test_what_needs_to_be_allowed(tmp_path: Path) -> None:
    cwd, outside = tmp_path / "work", tmp_path / "outside"
    cwd.mkdir()
    outside.mkdir()
    (cwd / "link").symlink_to(outside)

    def of(settings: str, *allowed: str, **more: tuple[str, ...]) -> tuple[str, ...]:
        return needs(f'target "default" {{\n{settings}\n}}', cwd, *allowed, **more)

    assert of("") == ()
    assert of('context = "../outside"') == ("fs.read=../outside",)
    assert of('context = "link"') == ("fs.read=../outside",)
    assert of('context = "../outside"', f"fs.read={outside}") == of('context = "../outside"', "fs=*") == ()
    assert of('contexts = { a = "/etc" }', "fs.write=/etc") == ("fs.read=/etc",)
    assert of('output = ["../outside/new/deep"]') == ("fs.write=../outside",)
    assert of('secret = ["id=a,src=/etc/passwd"]') == ("fs.read=/etc/passwd",)
    assert of('cache-to = ["type=local,dest=/etc/x"]\ncache-from = ["type=local,src=/etc"]') == ("fs=/etc",)
    assert of('ssh = ["default"]') == ("ssh",) and of('ssh = ["default"]', "ssh") == ()
    assert of('network = "host"') == ("network.host",) and of('network = "host"', "network.host") == ()
    assert of('entitlements = ["security.insecure"]') == ("security.insecure",)
    assert of('entitlements = ["device=vendor.com/gpu"]') == ("device=vendor.com/gpu",)
    assert of('entitlements = ["device=vendor.com/gpu"]', "device") == ()
    assert of('entitlements = ["device=\\n"]') == ("device",)
    assert of('contexts = { a = "oci-layout:///etc" }') == ("fs.read=/etc",)
    # What was typed is the user's own choice.
    assert of("", overrides=("default.output=/etc/x",)) == ()
    with pytest.raises(DefinitionInvalid, match="unknown entitlement key"):
        allow.parse(["everything"])


def test_a_word_that_looks_like_no_path_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cwd = tmp_path / "work"
    for folder in ("target:", "docker-image:", "oci-layout:", "https:", "layout"):
        (cwd / folder).mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    (cwd / "link").symlink_to(tmp_path / "out")
    monkeypatch.chdir(cwd)
    monkeypatch.setenv("HOME", str(tmp_path / "out"))

    def of(settings: str, *allowed: str) -> tuple[str, ...]:
        return needs(f'target "default" {{\n{settings}\n}}', cwd, *allowed)

    out, file = ("fs.read=../out",), ("fs.read=../Dockerfile",)
    for scheme in ("target", "docker-image", "oci-layout", "https"):
        assert of(f'context = "{scheme}:/../../out"') == out
        assert of(f'dockerfile = "{scheme}:/../../Dockerfile"') == file
    for scheme in ("docker-image", "oci-layout", "https"):
        assert of(f'contexts = {{ a = "{scheme}:/../../out" }}') == out
    assert of('contexts = { a = "oci-layout://link:tag" }') == out
    assert of('contexts = { a = "oci-layout://layout:tag" }') == ()
    assert of('dockerfile = "cwd://../Dockerfile"\ncontext = "https://example.com/a.git"') == file
    # Where a build looks below ~, or for a file of the secret's name.
    assert of('secret = ["id=a,src=~/key"]') == out and of('secret = ["id=~/key"]') == out
    assert of('secret = ["id=/etc/passwd"]') == ("fs.read=/etc/passwd",)
    assert of('secret = ["id=a,env=../x"]') == of('secret = ["id=a"]') == ()
    assert of('ssh = ["default=~/key"]') == out


def test_what_is_granted_is_what_people_read(tmp_path: Path) -> None:
    cwd = tmp_path / "work"
    cwd.mkdir()
    (tmp_path / "x\n - Nothing").mkdir()
    text = 'target "default" {\n context = "../x\\n - Nothing"\n entitlements = ["device=b --allow=fs=*"]\n}'
    found = resolve(config=parsed(text), names=["default"], overrides=[], environ={}, allowed=allow.Allowed())
    with pytest.raises(allow.PrivilegesWanted) as wanted:
        allow.check(found.targets.values(), allow.Allowed(), cwd)
    listed = [line for line in wanted.value.question().splitlines() if line.startswith(" - ")]
    assert listed == [
        " - Access to device b --allow=fs=*",
        r' - "Read access to path ../x\n - Nothing"',
    ]
    assert "'--allow=device=b --allow=fs=*'" in wanted.value.hint
