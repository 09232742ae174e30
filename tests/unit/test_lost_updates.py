"""Processes that change one small file at once: what each of them wrote is there in the end."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright.cli.main import main
from boxwright.content.layout import Layout
from boxwright.image.builders import Builders, NamedBuilder
from boxwright.registry.client.credentials import Credential, CredentialStore
from boxwright.registry.server.auth.users import Users
from boxwright.spec import mediatypes as mt
from boxwright.spec.descriptor import Descriptor
from boxwright.transfer.manifest_lists import ManifestLists
from support.registry import client, client_config, make_image, running

PROCESSES, CHANGES = 4, 12
WORDS = [f"p{process}-c{change}" for process in range(PROCESSES) for change in range(CHANGES)]


def at_once(change: Callable[[str], object], changes: int = CHANGES) -> None:
    """Every process makes its changes, beginning when all are there."""
    fork = multiprocessing.get_context("fork")
    begin = fork.Barrier(PROCESSES)

    def run(process: int) -> None:
        begin.wait(30)
        for number in range(changes):
            change(f"p{process}-c{number}")

    processes = [fork.Process(target=run, args=(number,)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * PROCESSES


def test_names_in_a_layout(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout", create=True)
    desc = Descriptor.of(b"{}", mt.OCI_MANIFEST)
    layout.push(Descriptor.of(b"[]", mt.OCI_LAYER), io.BytesIO(b"[]"))
    at_once(lambda name: Layout(tmp_path / "layout", create=True).tag(name, desc))
    assert layout.tags() == sorted(WORDS)
    assert sorted(os.listdir(tmp_path / "layout")) == ["blobs", "index.json", "oci-layout"]


def test_names_that_are_left_out_of_a_layout(tmp_path: Path) -> None:
    layout, desc = Layout(tmp_path, create=True), Descriptor.of(b"{}", mt.OCI_MANIFEST)
    for word in WORDS:
        layout.tag(word, desc)

    def swap(word: str) -> None:
        layout.keep_only(lambda entry: entry.annotations["org.opencontainers.image.ref.name"] != word)
        layout.tag(f"new-{word}", desc)

    at_once(swap)
    assert layout.tags() == sorted(f"new-{word}" for word in WORDS)


def test_nodes_of_a_builder(tmp_path: Path) -> None:
    at_once(lambda node: Builders(tmp_path).create(NamedBuilder(name="b", nodes=(node,)), append=True))
    assert set(Builders(tmp_path).get("b").nodes) == set(WORDS)
    Builders(tmp_path).create(NamedBuilder(name="b", nodes=("stays",)), append=True)
    at_once(lambda node: Builders(tmp_path).leave("b", node))
    assert Builders(tmp_path).get("b").nodes == ("stays",)


def test_accounts_and_the_current_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are in config.json."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    kept = CredentialStore(client_config(tmp_path, docker_config=tmp_path))
    assert main(["context", "create", "far", "--docker", "host=tcp://h:1"]) == 0

    def change(word: str) -> None:
        kept.put(f"{word}.example", Credential(word, "secret"))
        assert main(["context", "use", "far"]) == 0

    at_once(change)
    body = json.loads((tmp_path / "config.json").read_text())
    assert set(body["auths"]) == {f"{word}.example" for word in WORDS} and body["currentContext"] == "far"
    at_once(lambda word: kept.remove(f"{word}.example"))
    assert not json.loads((tmp_path / "config.json").read_text())["auths"]


def test_users_of_a_registry(tmp_path: Path) -> None:
    file = tmp_path / "htpasswd"
    at_once(lambda name: Users(file).put(name, "secret", new=True), changes=2)
    assert Users(file).names() == [word for word in WORDS if word.endswith(("c0", "c1"))]
    at_once(lambda name: Users(file).remove(name), changes=2)
    assert not Users(file).names()


def test_images_of_a_manifest_list(tmp_path: Path) -> None:
    with running() as registry:
        for word in WORDS:
            registry.add_image("app", word, make_image({"a": word.encode()}))
        name = f"{registry.host}/app"

        def lists() -> ManifestLists:
            return ManifestLists(tmp_path, client(tmp_path))

        at_once(lambda word: lists().create(f"{name}:all", [f"{name}:{word}"], amend=True))
        assert {str(entry.reference) for entry in lists().entries(f"{name}:all")} == {
            f"{name}:{word}" for word in WORDS
        }
        at_once(lambda word: lists().annotate(f"{name}:all", f"{name}:{word}", variant=word))
        variants = {e.desc.platform.variant for e in lists().entries(f"{name}:all") if e.desc.platform}
        assert variants == set(WORDS)
