"""ADD of a URL, from a web server on loopback that answers conditions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import support.corpus as corpus
from boxwright import Engine
from boxwright.build.request import BuildFailed
from boxwright.registry.client.fetch import DownloadFailed, open_url
from support.peers import needs
from support.web import Asked, Reply, Site, answering


class Page:
    """One file everywhere; `always` answers 304 whatever is asked."""

    def __init__(self) -> None:
        self.content = b"one"
        self.always = False

    def answer(self, asked: Asked) -> Reply:
        tag = f'"{hashlib.sha256(self.content).hexdigest()}"'
        if self.always or asked.headers.get("If-None-Match") == tag:
            return Reply(status=304)
        return Reply(self.content, headers={"ETag": tag})


def conditional(asked: Asked) -> bool:
    return any(name.startswith("If-") for name in asked.headers)


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def site(page: Page) -> Iterator[Site]:
    with answering(page.answer) as site:
        yield site


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path / "root")
    yield engine
    engine.services.db.close()


def added(engine: Engine, url: str, flag: str = "") -> str:
    engine.build(dockerfile_data=f"FROM scratch\nADD {flag} {url} /f\n".encode(), tags=("out",))
    return corpus.tree(engine, "out")["f"].split()[-1]


def test_a_checksum_is_compared_whatever_is_known_of_the_url(engine: Engine, page: Page, site: Site) -> None:
    """What "not modified" confirms is what was there before, not what the Dockerfile wants."""
    right = {name: f"{name}:{hashlib.new(name, page.content).hexdigest()}" for name in ("sha256", "sha512")}
    plain = added(engine, f"{site.url}/f")
    for wrong in ("sha256:" + "0" * 64, "sha512:" + "0" * 128, right["sha512"][:-1] + "x"):
        for _ in range(2):  # nothing of a failure is remembered
            with pytest.raises(BuildFailed, match=r"digest mismatch|digest"):
                added(engine, f"{site.url}/f", f"--checksum={wrong}")
    for name, checksum in right.items():
        assert added(engine, f"{site.url}/f", f"--checksum={checksum}") == plain, name
    assert not any(map(conditional, site.asked[1:]))
    count = len(site.asked)
    added(engine, f"{site.url}/other/f", f"--checksum={right['sha256']}")
    assert len(site.asked) == count  # the content is named, so no server is asked


def test_what_did_not_change_is_not_sent_again(engine: Engine, page: Page, site: Site) -> None:
    first = added(engine, f"{site.url}/f")
    assert added(engine, f"{site.url}/f") == first
    assert [(asked.path, conditional(asked)) for asked in site.asked] == [("/f", False), ("/f", True)]
    page.content = b"two"
    assert added(engine, f"{site.url}/f") != first
    with pytest.raises(BuildFailed, match="digest mismatch"):
        added(engine, f"{site.url}/f", f"--checksum=sha256:{hashlib.sha256(b'one').hexdigest()[::-1]}")


def test_not_modified_is_no_answer_to_a_plain_question(engine: Engine, page: Page, site: Site) -> None:
    page.always = True
    with pytest.raises(BuildFailed, match="invalid response status 304"):
        added(engine, f"{site.url}/f")
    with pytest.raises(DownloadFailed, match="invalid response status 304"):
        open_url(engine.settings, f"{site.url}/context.tar")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]", "0"])
def test_an_untrusted_build_does_not_fetch_from_this_machine(engine: Engine, site: Site, host: str) -> None:
    """Neither itself nor by a redirect; nothing was asked."""
    url = f"http://{host}:{site.port}/f"
    with pytest.raises(BuildFailed, match="which is this machine"):
        engine.build(dockerfile_data=f"FROM scratch\nADD {url} /f\n".encode(), untrusted=True)
    assert site.asked == []
    assert added(engine, site.url + "/f")


@pytest.mark.parametrize(
    ("address", "elsewhere"),
    [
        ("169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("::1", False),
        ("::ffff:169.254.169.254", False),
        ("127.8.8.8", False),
        ("10.0.0.1", True),
        ("93.184.216.34", True),
        ("2001:db8::1", True),
    ],
)
def test_what_is_elsewhere(address: str, elsewhere: bool) -> None:
    from boxwright.registry.client.guard import _is_elsewhere

    assert _is_elsewhere(address) == elsewhere


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/a.git",
        "git://localhost/a",
        "ssh://git@[::1]/a",
        "git@127.1:a.git",
        "http://0/a.git",
    ],
)
def test_an_untrusted_build_does_not_clone_from_this_machine(engine: Engine, url: str) -> None:
    for more in ("", "#" + "0" * 40):
        with pytest.raises(BuildFailed, match="which is this machine"):
            engine.build(dockerfile_data=f"FROM scratch\nADD {url}{more} /f\n".encode(), untrusted=True)


@pytest.mark.parametrize("url", ["git://192.0.2.1/a", "ssh://git@192.0.2.1/a", "git@192.0.2.1:a.git"])
def test_an_untrusted_build_clones_over_http_only(engine: Engine, url: str) -> None:
    with pytest.raises(BuildFailed, match="an untrusted build does not fetch"):
        engine.build(dockerfile_data=f"FROM scratch\nADD {url} /f\n".encode(), untrusted=True)


@needs("git")
def test_an_untrusted_clone_goes_where_the_check_looked(
    engine: Engine, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that was elsewhere when it was looked at, and is this machine when git asks for it."""
    monkeypatch.setattr("boxwright.registry.client.guard.check", lambda host: ["192.0.2.1"])
    monkeypatch.setattr("boxwright.build.ops.git._TIMEOUT", 3)
    text = f"FROM scratch\nADD http://localhost:{site.port}/a.git /f\n".encode()
    with pytest.raises(BuildFailed):
        engine.build(dockerfile_data=text, untrusted=True)
    assert site.asked == []
    with pytest.raises(BuildFailed):  # the control: who may ask this machine, does
        engine.build(dockerfile_data=text)
    assert site.asked


@needs("git")
def test_an_untrusted_clone_follows_no_redirection(
    engine: Engine, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is reached by the address that was checked, and sends git to this machine."""
    monkeypatch.setattr("boxwright.registry.client.guard.check", lambda host: ["127.0.0.1"])

    def away(asked: Asked) -> Reply:
        place = f"{site.url}/a.git{asked.path.partition('a.git')[2]}"
        return Reply(status=302, headers={"Location": place})

    with answering(away) as elsewhere:
        url = elsewhere.url.replace("127.0.0.1", "elsewhere.invalid") + "/a.git"
        with pytest.raises(BuildFailed):
            engine.build(dockerfile_data=f"FROM scratch\nADD {url} /f\n".encode(), untrusted=True)
    assert elsewhere.asked and site.asked == []


def test_an_untrusted_build_does_not_ask_for_a_name_twice(engine: Engine) -> None:
    """One that has no address when it is looked at could have one of this machine's later."""
    text = b"FROM scratch\nADD http://nowhere.invalid/a.git /f\n"
    with pytest.raises(BuildFailed, match=r"nowhere\.invalid, .* cannot be found"):
        engine.build(dockerfile_data=text, untrusted=True)


def test_an_untrusted_build_fetches_no_submodules(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their servers are named by the repository, one below the other."""
    from boxwright.build.ops.git import Git, GitOp, SubmodulesRefused

    ran: list[list[str]] = []
    monkeypatch.setattr(Git, "_run", lambda self, words: ran.append(words) or "")
    (tmp_path / ".gitmodules").write_text('[submodule "s"]\n\tpath = s\n\turl = http://169.254.169.254/\n')
    for wanted, allowed, fetched in ((True, True, True), (False, False, False), (False, True, False)):
        ran.clear()
        git = Git(GitOp(url="https://h/a.git", submodules=wanted), engine.settings, {}, {})
        git.submodules = allowed
        git.checkout(tmp_path, "0" * 40)
        assert any("submodule" in words for words in ran) == fetched
    git = Git(GitOp(url="https://h/a.git"), engine.settings, {}, {})
    git.submodules = False
    with pytest.raises(SubmodulesRefused):
        git.checkout(tmp_path, "0" * 40)
