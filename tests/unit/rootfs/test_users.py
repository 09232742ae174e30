"""USER and --user against an image's passwd and group files."""

from __future__ import annotations

import pytest

from boxwright.rootfs.users import ProcessUser, UserUnknown, resolve_user

PASSWD = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/usr/sbin:/x\nweb:x:101:102:web:/srv/web:/bin/sh\n12:x:77:77::/twelve:\n\nbroken\n"
GROUP = "root:x:0:root\nbin:x:1:root,daemon\nwww:x:102:\nextra:x:500:web,root\nmore:x:501:web\n"


class Files:
    def __init__(self, **files: str) -> None:
        self.files = {f"/etc/{name}": text.encode() for name, text in files.items()}

    def read(self, path: str, limit: int = 0) -> bytes | None:
        return self.files.get(path)


IMAGE = Files(passwd=PASSWD, group=GROUP)
EMPTY = Files()


@pytest.mark.parametrize(
    ("spec", "user"),
    [
        ("", ProcessUser(0, 0, (0, 0, 1, 500), "/root", "root")),
        ("root", ProcessUser(0, 0, (0, 0, 1, 500), "/root", "root")),
        ("web", ProcessUser(101, 102, (102, 500, 501), "/srv/web", "web")),
        ("101", ProcessUser(101, 102, (102, 500, 501), "/srv/web", "web")),
        ("web:www", ProcessUser(101, 102, (102,), "/srv/web", "web")),
        ("web:7777", ProcessUser(101, 7777, (7777,), "/srv/web", "web")),
        ("4242", ProcessUser(4242, 0, (0,), "/", "")),
        ("4242:extra", ProcessUser(4242, 500, (500,), "/", "")),
        ("4242:4243", ProcessUser(4242, 4243, (4243,), "/", "")),
        ("12", ProcessUser(12, 0, (0,), "/", "")),  # a number is always a uid, also when a user has that name
    ],
)
def test_users(spec: str, user: ProcessUser) -> None:
    assert resolve_user(IMAGE, spec) == user


def test_an_image_without_files() -> None:
    assert resolve_user(EMPTY, "") == ProcessUser(0, 0, (0,), "/", "")
    assert resolve_user(EMPTY, "10:20") == ProcessUser(10, 20, (20,), "/", "")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nobody-here", "unable to find user nobody-here: no matching entries in passwd file"),
        ("web:nogroup", "unable to find group nogroup: no matching entries in group file"),
        ("-1", "uids and gids must be in range 0-2147483647"),
        ("2147483648", "uids and gids must be in range 0-2147483647"),
        ("0:99999999999", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_errors_in_dockers_words(spec: str, message: str) -> None:
    with pytest.raises(UserUnknown) as caught:
        resolve_user(IMAGE, spec)
    assert str(caught.value) == message


def test_added_groups() -> None:
    assert resolve_user(IMAGE, "4242", ("www", "9")).extra_gids == (0, 102, 9)
