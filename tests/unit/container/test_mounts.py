"""-v, --mount, --volumes-from."""

from __future__ import annotations

import pytest

from boxwright.container.config import ContainerConfigInvalid, MountSpec
from boxwright.container.mounts import (
    MountInvalid,
    chosen_mounts,
    parse_mount,
    parse_volume,
    parse_volumes_from,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/data", MountSpec(kind="volume", target="/data", create=True, flag=True)),
        ("name:/data", MountSpec(kind="volume", target="/data", source="name", create=True, flag=True)),
        (
            "name:/data:ro,nocopy",
            MountSpec(
                kind="volume",
                target="/data",
                source="name",
                readonly=True,
                create=True,
                nocopy=True,
                flag=True,
            ),
        ),
        ("/a:/b", MountSpec(kind="bind", target="/b", source="/a", create=True, flag=True)),
        ("./a:/b/../c/", MountSpec(kind="bind", target="/c", source="/here/a", create=True, flag=True)),
        (
            "/a:/b:ro,Z,rshared",
            MountSpec(
                kind="bind",
                target="/b",
                source="/a",
                readonly=True,
                propagation="rshared",
                create=True,
                options=("Z",),
                flag=True,
            ),
        ),
    ],
)
def test_volume(text: str, wanted: MountSpec) -> None:
    assert parse_volume(text, "/here") == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid empty volume spec"),
        ("x:/b", "name is too short"),
        (":/b", "empty section"),
        ("/a:", "empty section"),
        ("/a:b", "must be absolute"),
        ("/a:/", "can't be '/'"),
        ("/a:/b:what", "invalid mode: what"),
        ("/a:/b:ro,rw", "invalid mode"),
        ("a b:/c", "invalid characters"),
        ("/a:/b:c:d", "invalid volume specification"),
        ("vol:/b:rshared", "invalid mode"),
    ],
)
def test_volume_that_is_wrong(text: str, message: str) -> None:
    with pytest.raises(MountInvalid, match=message):
        parse_volume(text, "/here")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "type=bind,source=/a,target=/b,readonly",
            MountSpec(kind="bind", target="/b", source="/a", readonly=True),
        ),
        (
            "type=bind,src=./a,dst=/b,ro=false,bind-propagation=rslave",
            MountSpec(kind="bind", target="/b", source="/here/a", readonly=False, propagation="rslave"),
        ),
        ("source=vol,target=/b", MountSpec(kind="volume", target="/b", source="vol")),
        (
            "type=volume,dst=/b,volume-nocopy,volume-label=a=b",
            MountSpec(kind="volume", target="/b", nocopy=True, labels=(("a", "b"),)),
        ),
        (
            "type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=1770",
            MountSpec(kind="tmpfs", target="/b", options=("size=1048576", "mode=1770")),
        ),
        ('type=bind,"src=/a,b",dst=/c', MountSpec(kind="bind", target="/c", source="/a,b")),
    ],
)
def test_mount(text: str, wanted: MountSpec) -> None:
    assert parse_mount(text, "/here") == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=bind,target=/b", "Source must not be empty"),
        ("type=nope,target=/b", "mount type unknown"),
        ("type=image,target=/b", "Source must not be empty"),
        ("type=image,source=i,target=/b,bind-propagation=shared", "cannot mix"),
        ("type=image,source=i,target=/b,image-subpath=/a", "must be a relative path"),
        ("type=image,source=i,target=/b,image-subpath=a/../..", "must be a relative path"),
        ("source=vol,target=/b,volume-subpath=..", "must be a relative path"),
        ("target=/b,volume-subpath=a", "when using anonymous volumes"),
        ("type=bind,source=/a,target=/b,bind-recursive=x", "invalid value for bind-recursive: x"),
        ("type=bind,source=/a,target=/b,bind-recursive=writable", "requires .readonly. to be"),
        ("type=bind,source=/a,target=/b,bind-recursive=readonly,ro", "requires .bind-propagation=rprivate."),
        ("type=bind,source=/a", "target is required"),
        ("type=tmpfs,source=/a,target=/b", "Source must not be specified"),
        ("foo=bar,target=/b", "unexpected key 'foo'"),
        ("target", "must be a key=value pair"),
        ("type=bind,source=/a,target=/b,volume-nocopy", "cannot mix"),
        ("type=bind,source=/a,target=/b,readonly=maybe", "invalid value for readonly"),
        ("type=tmpfs,target=/b,tmpfs-mode=9", "invalid value for tmpfs-mode"),
        ("target=b", "must be absolute"),
        ("type=bind,source=a,target=/b", "'a' mount path must be absolute"),
        ('target="x', "invalid mount"),
    ],
)
def test_mount_that_is_wrong(text: str, message: str) -> None:
    with pytest.raises(MountInvalid, match=message):
        parse_mount(text, "/here")


def test_volumes_from() -> None:
    assert parse_volumes_from("web:ro") == ("web", True) and parse_volumes_from("web") == ("web", False)
    with pytest.raises(MountInvalid):
        parse_volumes_from("web:what")


def test_one_mount_for_each_target() -> None:
    """As Docker 28 chooses."""
    memory = MountSpec(kind="tmpfs", target="/a", flag=True)
    larger = MountSpec(kind="tmpfs", target="/a", flag=True, options=("size=2m",))
    declared = MountSpec(kind="volume", target="/a", flag=True)
    named = MountSpec(kind="volume", target="/a", source="vol", flag=True)
    mounted = MountSpec(kind="volume", target="/a/")
    for given, one in (
        ((memory, larger), larger),
        ((mounted, memory), memory),
        ((memory, mounted), memory),
        ((declared, named), named),
        ((named, declared), named),
        ((declared, memory), memory),
        ((declared, declared), declared),
    ):
        assert chosen_mounts(given) == [one]
    for two in ((memory, named), (named, memory), (named, named), (mounted, mounted), (mounted, named)):
        with pytest.raises(ContainerConfigInvalid, match="Duplicate mount point: /a"):
            chosen_mounts(two)
