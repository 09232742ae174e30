"""BuildKit's own parser data: what its dump says of 33 files, and 4 that must be refused."""

from __future__ import annotations

import pytest

from boxwright.build.dockerfile.construct import stages_of
from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.parse import parse
from support import DATA

CORPUS = DATA / "vectors" / "buildkit-parser"


@pytest.mark.parametrize("name", sorted(path.name for path in (CORPUS / "testfiles").iterdir()))
def test_dump(name: str) -> None:
    case = CORPUS / "testfiles" / name
    assert parse((case / "Dockerfile").read_bytes()).dump() == (case / "result").read_text().strip()


def test_nothing_is_missing() -> None:
    assert len(list((CORPUS / "testfiles").iterdir())) == 33


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty_dockerfile", "the Dockerfile cannot be empty"),
        ("env_no_value", "ENV must have two arguments"),
        ("only_comments", "file with no instructions"),
        ("shykes-nested-json", "when using JSON array syntax, arrays must be comprised of strings only"),
    ],
)
def test_refused(name: str, reason: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        stages_of(parse((CORPUS / "testfiles-negative" / name / "Dockerfile").read_bytes()))
    assert caught.value.reason == reason
