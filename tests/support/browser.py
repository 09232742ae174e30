"""A headless browser, driven over the WebDriver protocol (W3C) by plain HTTP: chromedriver and chromium."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_ARGUMENTS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage --hide-scrollbars"
)


class Browser:
    """One session."""

    def __init__(self, base: str) -> None:
        self._base = base

    def call(self, method: str, path: str, **body: Any) -> Any:
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(
            self._base + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, url: str) -> None:
        self.call("POST", "/url", url=url)

    @property
    def url(self) -> str:
        return str(self.call("GET", "/url"))

    @property
    def title(self) -> str:
        return str(self.call("GET", "/title"))

    def element(self, selector: str, method: str, path: str, seconds: float = 30, **body: Any) -> Any:
        """A command about the first element that fits, now or soon: a page may just be on its way."""
        end = time.monotonic() + seconds
        while True:
            try:
                found = self.call("POST", "/element", using="css selector", value=selector)[_ELEMENT]
                return self.call(method, f"/element/{found}/{path}", **body)
            except urllib.error.HTTPError as error:  # 404: there is none, or no more
                if error.code != 404 or time.monotonic() > end:
                    raise
                error.close()
                time.sleep(0.05)

    def text(self, selector: str) -> str:
        return str(self.element(selector, "GET", "text"))

    def texts(self, selector: str) -> list[str]:
        return [
            str(t)
            for t in self.run(
                "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())", selector
            )
        ]

    def click(self, selector: str) -> None:
        self.element(selector, "POST", "click")

    def type(self, selector: str, text: str) -> None:
        self.element(selector, "POST", "value", text=text)

    def press(self, key: str) -> None:
        actions = [
            {
                "type": "key",
                "id": "keys",
                "actions": [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}],
            }
        ]
        self.call("POST", "/actions", actions=actions)

    def shows(self, selector: str, texts: list[str], seconds: float = 30) -> bool:
        """Whether these are the texts now or soon: what a key began, a driver does not wait for."""
        end = time.monotonic() + seconds
        while self.texts(selector) != texts:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def run(self, script: str, *arguments: Any) -> Any:
        return self.call("POST", "/execute/sync", script=script, args=list(arguments))

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self.call("POST", "/goog/cdp/execute", cmd=command, params=parameters)

    def log(self) -> list[str]:
        """What the console says, such as violations of the content security policy; not of the browser's own pages."""
        said = (str(e["message"]) for e in self.call("POST", "/se/log", type="browser"))
        return [message for message in said if not message.startswith("chrome://")]

    def screenshot(self, path: Path) -> None:
        import base64

        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own; ends with the block."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        start = Browser(f"http://127.0.0.1:{port}")
        end = time.monotonic() + 30
        while True:
            try:
                start.call("GET", "/status")
                break
            except OSError:
                assert driver.poll() is None and time.monotonic() < end, "chromedriver does not start"
                time.sleep(0.05)
        options = {
            "binary": chromium,
            "args": [*_ARGUMENTS.split(), f"--user-data-dir={folder / 'profile'}", "--window-size=1200,900"],
        }
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        session = start.call("POST", "/session", capabilities=wanted)["sessionId"]
        one = Browser(f"http://127.0.0.1:{port}/session/{session}")
        try:
            yield one
        finally:
            one.call("DELETE", "")
    finally:
        driver.terminate()
        driver.wait(10)
