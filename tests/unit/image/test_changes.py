"""`--change`: Docker's instructions on a config."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.image.changes import ChangeInvalid, apply_changes


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ('CMD ["a", "b c"]', "Cmd", ["a", "b c"]),
        ("cmd echo $HOME", "Cmd", ["/bin/sh", "-c", "echo $HOME"]),
        ("ENTRYPOINT x", "Entrypoint", ["/bin/sh", "-c", "x"]),
        ('ENTRYPOINT ["x"]', "Entrypoint", ["x"]),
        ("ENV A=1 B='two words' C=\"$X\"", "Env", ["X=y", "A=1", "B=two words", "C=y"]),
        ("ENV A the rest $X", "Env", ["X=y", "A=the rest y"]),
        ("ENV X=${X}z Y=${NO:-d} Z=${X:+s} Q='$X'", "Env", ["X=yz", "Y=d", "Z=s", "Q=$X"]),
        (r"ENV A=a\ b", "Env", ["X=y", "A=a b"]),
        ('LABEL a=1 b="2 3"', "Labels", {"a": "1", "b": "2 3"}),
        (
            "EXPOSE 80 53/UDP 8000-8002",
            "ExposedPorts",
            {"53/udp": {}, "80/tcp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {}},
        ),
        ("VOLUME /a /b", "Volumes", {"/a": {}, "/b": {}}),
        ('VOLUME ["/a b"]', "Volumes", {"/a b": {}}),
        ("USER u:g", "User", "u:g"),
        ("WORKDIR sub/../x", "WorkingDir", "/w/x"),
        ("STOPSIGNAL SIGUSR1", "StopSignal", "SIGUSR1"),
        ("ONBUILD RUN x", "OnBuild", ["RUN x"]),
        ("HEALTHCHECK NONE", "Healthcheck", {"Test": ["NONE"]}),
        (
            "HEALTHCHECK --interval=1m30s --retries=3 CMD curl x",
            "Healthcheck",
            {"Test": ["CMD-SHELL", "curl x"], "Interval": 90_000_000_000, "Retries": 3},
        ),
        ('HEALTHCHECK CMD ["a"]', "Healthcheck", {"Test": ["CMD", "a"]}),
    ],
)
def test_instructions(change: str, key: str, value: Any) -> None:
    assert apply_changes({"Env": ["X=y"], "WorkingDir": "/w"}, [change])[key] == value


@pytest.mark.parametrize(
    "change",
    [
        "RUN x",
        "FROM a",
        "COPY a b",
        "CMD",
        "ENV",
        "ENV A",
        "ENV =x",
        "EXPOSE 0",
        "EXPOSE 70000",
        "EXPOSE 9-8",
        "EXPOSE x",
        "LABEL 'a=1",
        "USER a b",
        "STOPSIGNAL NOPE",
        "ONBUILD ONBUILD RUN x",
        "ONBUILD FROM x",
        "HEALTHCHECK x",
        "HEALTHCHECK --interval=x CMD y",
        "HEALTHCHECK --nope=1 CMD y",
        "nonsense",
    ],
)
def test_what_cannot_be_is_refused(change: str) -> None:
    with pytest.raises(ChangeInvalid):
        apply_changes({}, [change])


def test_the_config_given_is_left_alone() -> None:
    before = {"Labels": {"a": "1"}, "Env": ["A=1"]}
    apply_changes(before, ["LABEL a=2", "ENV A=2"])
    assert before == {"Labels": {"a": "1"}, "Env": ["A=1"]}


@given(st.lists(st.text(max_size=40), max_size=3))
def test_any_text_is_applied_or_refused(changes: list[str]) -> None:
    try:
        apply_changes({}, changes)
    except ChangeInvalid:
        pass


@given(
    st.sampled_from(["ENV", "LABEL", "EXPOSE", "VOLUME", "HEALTHCHECK", "WORKDIR", "USER"]),
    st.text(alphabet='ab=$\\{}\'" -:/[1],"', max_size=30),
)
def test_any_argument_is_applied_or_refused(word: str, rest: str) -> None:
    try:
        apply_changes({"Env": ["a=b"]}, [f"{word} {rest}"])
    except ChangeInvalid:
        pass
