"""The pages in a real headless browser."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.browser import Browser, browser
from support.images_pushed import push_artifact, push_image, push_index
from support.peers import needs
from support.server import Client, serving
from support.waiting import eventually

pytest.importorskip("aiohttp")
pytestmark = [pytest.mark.peer, needs("chromedriver", "chromium")]
BUILDS = ("/r/other/thing/_builds", "/r/other/thing/_builds/1")
NOTE = "org.opencontainers.image."
HISTORY: list[dict[str, Any]] = [
    {"created_by": "/bin/sh -c #(nop) ADD file:abc in / "},
    {"created_by": "ENV A=b", "empty_layer": True},
    {"created_by": "RUN /bin/sh -c make <all> # buildkit"},
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as one:
        yield one


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Client]:
    build = [sys.executable, "-c", "print('built', 'w' * 300); raise SystemExit(1)"]
    with serving(tmp_path, other={"build": {"enabled": True, "command": build}}) as client:
        children = {
            p: push_image(
                client,
                "acme/web",
                "",
                platform=p,
                history=HISTORY,
                config={"Entrypoint": ["/run me"], "ExposedPorts": {"80/tcp": {}}, "Env": ["A=b"]},
            )
            for p in ("linux/amd64", "linux/arm64")
        }
        push_index(
            client,
            "acme/web",
            "latest",
            children,
            {NOTE + "description": "<script>alert(1)</script> & co", NOTE + "source": "javascript:alert(1)"},
        )
        push_artifact(client, "acme/web", children["linux/amd64"], "application/spdx+json", b"{}{}")
        push_image(client, "other/thing")
        client(
            "PUT",
            "/api/builds/other/thing",
            json.dumps({"url": f"https://git.example/{'w' * 200}.git", "dockerfile": "Dockerfile"}),
        )
        assert client("POST", "/build", "name=other/thing").status == 303
        yield client


def test_from_search_to_a_layer(page: Browser, registry: Client) -> None:
    host = registry.host
    page.open(f"http://{host}/")
    assert host in page.title and page.texts(".hits h2 a") == ["acme/web", "other/thing"]
    page.type("#find", "web\ue007")
    assert page.shows(".hits h2", ["acme/web"])
    assert page.text(".hits .about") == "<script>alert(1)</script> & co"
    page.click(".hits h2 a")
    assert page.url == f"http://{host}/r/acme/web"
    assert page.text(".command code") == f"docker pull {host}/acme/web"
    assert page.texts(".facts a") == []  # a link of a script is none
    assert page.texts("tbody .chips li") == ["linux/amd64", "linux/arm64"]
    page.click("tbody th a")
    assert page.text(".command code") == f"docker pull {host}/acme/web:latest"
    assert page.texts(".steps code") == ["ADD file:abc in /", "ENV A=b", "RUN make <all>"]
    assert page.texts(".steps .bytes") == ["9B", "81kB"] and page.texts(".steps .none") == ["no files"]
    assert "'/run me'" in page.texts(".config dd") and "80/tcp" in page.texts(".config dd")
    assert page.texts("table tbody th") == ["SBOM (SPDX)"]
    page.click("table tbody th a")
    assert "application/spdx+json" in page.texts(".plate dd")
    page.open(f"http://{host}/r/acme/web/tags/latest?platform=linux/arm64")
    assert page.text(".tabs [aria-current]") == "linux/arm64" and page.texts("table tbody th") == []
    assert page.log() == [], "the content security policy was violated, or something is missing"


def test_a_star_without_a_script(page: Browser, registry: Client) -> None:
    page.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(f"http://{registry.host}/r/acme/web")
        page.click(".head button")
    finally:
        page.devtools("Emulation.setScriptExecutionDisabled", value=False)
    page.open(f"http://{registry.host}/r/acme/web")
    assert page.run("return document.querySelector('.head button').ariaPressed") == "true"
    assert registry("GET", "/api/repositories/acme/web").json["stars"] == 1


def test_the_copy_button_copies(page: Browser, registry: Client) -> None:
    page.open(f"http://{registry.host}/r/acme/web")
    page.click("[data-copy]")
    assert (
        page.run(
            "return new Promise(r => setTimeout(() => r(document.querySelector('[data-copy]').textContent), 200))"
        )
        == "Copied"
    )


@pytest.mark.parametrize("width", [320, 390, 768, 1400])
def test_nothing_sticks_out_on_any_screen(page: Browser, registry: Client, width: int) -> None:
    push_image(
        registry, "long/" + "name-" * 40 + "end", "t" * 128, annotations={NOTE + "description": "w" * 500}
    )
    page.devtools(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 700
    )
    try:
        for path in (
            "/",
            "/r/acme/web",
            "/r/acme/web/tags/latest",
            "/r/long/" + "name-" * 40 + "end",
            *BUILDS,
            "/nothing",
        ):
            page.open(f"http://{registry.host}{path}")
            assert page.run("return document.documentElement.scrollWidth") <= width, path
    finally:
        page.devtools("Emulation.clearDeviceMetricsOverride")


def test_a_build_is_asked_for_and_followed(page: Browser, registry: Client) -> None:
    page.open(f"http://{registry.host}/r/other/thing")
    page.log()  # what tests before left there
    page.click(".facts a[href$=_builds]")
    page.click(".head button")
    eventually(lambda: page.open(page.url) or "failed" in page.texts("tbody .badge"), 30)
    page.click("tbody th a")
    eventually(lambda: page.open(page.url) or page.texts(".log") == ["built " + "w" * 300], 30)
    assert page.log() == []


_CONTRAST = """
const rgb = c => c.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => { const f = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
const bad = [];
for (const e of document.querySelectorAll('body *')) {
  if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.closest('.unseen, .skip, .status, svg, option')) continue;
  const a = light(rgb(getComputedStyle(e).color)), b = light(behind(e));
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) bad.push(`${e.tagName}.${e.className} ${ratio.toFixed(2)} ${e.textContent.slice(0, 30)}`);
}
return bad;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(page: Browser, registry: Client, scheme: str) -> None:
    page.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    try:
        for path in ("/", "/r/acme/web", "/r/acme/web/tags/latest", *BUILDS, "/nothing"):
            page.open(f"http://{registry.host}{path}")
            assert page.run(_CONTRAST) == [], path
        page.open(f"http://{registry.host}/")
        dark = page.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0] < 50")
        assert dark == (scheme == "dark")
    finally:
        page.devtools("Emulation.setEmulatedMedia", features=[])


def test_the_keyboard_goes_everywhere_and_shows_where_it_is(page: Browser, registry: Client) -> None:
    page.open(f"http://{registry.host}/r/acme/web")
    seen = []
    for _ in range(8):
        page.press("\ue004")
        seen.append(
            page.run(
                "const e = document.activeElement; return [e.innerText || e.name, getComputedStyle(e).outlineStyle, parseFloat(getComputedStyle(e).outlineWidth)]"
            )
        )
    assert seen[0][0] == "Skip to content"
    assert all(style != "none" and width >= 2 for _, style, width in seen), seen


def test_names_roles_and_landmarks(page: Browser, registry: Client) -> None:
    for path in ("/", "/r/acme/web", "/r/acme/web/tags/latest", *BUILDS):
        page.open(f"http://{registry.host}{path}")
        nodes = page.devtools("Accessibility.getFullAXTree")["nodes"]
        roles = [
            (n.get("role", {}).get("value"), n.get("name", {}).get("value", ""))
            for n in nodes
            if not n.get("ignored")
        ]
        for role in ("banner", "main", "contentinfo", "search"):
            assert role in {r for r, _ in roles}, (path, role)
        nameless = [
            r
            for r, name in roles
            if r in ("link", "button", "textbox", "searchbox", "combobox", "checkbox", "navigation")
            and not name.strip()
        ]
        assert nameless == [], (path, json.dumps(roles))
        assert len(page.texts("h1")) == 1


def test_log_in_and_out(page: Browser, tmp_path: Path) -> None:
    from boxwright.registry.server.auth.users import Users
    from boxwright.registry.server.config import Auth

    Users(tmp_path / "htpasswd").put("alice", "right password", new=True)
    with serving(
        tmp_path / "data", auth=Auth(htpasswd=tmp_path / "htpasswd", anonymous=("**",), private=("alice/*",))
    ) as client:
        import base64

        push_image(
            client,
            "alice/secret",
            credentials={"Authorization": "Basic " + base64.b64encode(b"alice:right password").decode()},
        )
        page.open(f"http://{client.host}/")
        assert page.texts(".hits h2") == []
        page.open(f"http://{client.host}/r/alice/secret")
        page.type("#name", "alice")
        page.type("#password", "wrong\ue007")
        assert page.shows(".wrong", ["The name or the password is wrong."])
        page.type("#password", "right password\ue007")
        assert page.shows(".account .user", ["alice"]) and page.url == f"http://{client.host}/r/alice/secret"
        page.click(".head button")
        eventually(lambda: page.text(".head button").startswith("★"), 30)
        assert page.run("return document.cookie") == ""  # out of reach of scripts
        page.click(".account button")
        eventually(lambda: page.url == f"http://{client.host}/", 30)
        assert page.texts(".hits h2") == []
        page.open(f"http://{client.host}/r/alice/secret")
        assert "/login" in page.url
