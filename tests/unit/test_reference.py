"""Reference parsing against distribution/reference's own tables."""

from __future__ import annotations

import pytest

from boxwright.errors import Invalid
from boxwright.spec.reference import Reference, ReferenceInvalid, split_domain
from support import vectors

CASES = vectors("image-references.json")


@pytest.mark.parametrize("text", CASES["valid"])
def test_valid(text: str) -> None:
    assert Reference.parse(text).path


@pytest.mark.parametrize("text", CASES["invalid"])
def test_invalid(text: str) -> None:
    with pytest.raises(ReferenceInvalid):
        Reference.parse(text)


@pytest.mark.parametrize("case", CASES["docker_ref"], ids=lambda c: c["input"])
def test_docker_ref(case: dict[str, str]) -> None:
    reference = Reference.parse(case["input"])
    if reference.digest:  # Docker's rule: the digest wins and the tag is dropped
        reference = Reference(reference.domain, reference.path, "", reference.digest)
    assert str(reference.with_default_tag()) == case["expected"]


@pytest.mark.parametrize("case", CASES["repository_info"], ids=lambda c: c["ambiguous"] or c["full"])
def test_repository_info(case: dict[str, str]) -> None:
    for text in filter(None, (case["familiar"], case["full"], case["ambiguous"])):
        reference = Reference.parse(text)
        assert (reference.domain, reference.path) == (case["domain"], case["remote"])
        assert reference.familiar_name == case["familiar"]
        assert reference.name == case["full"]


@pytest.mark.parametrize("case", CASES["split_hostname"], ids=lambda c: c["input"])
def test_split(case: dict[str, str]) -> None:
    # The table splits without adding library/, which split_domain does.
    domain, path = split_domain(case["input"])
    assert domain == case["domain"]
    assert path in (case["path"], "library/" + case["path"])


@pytest.mark.parametrize("case", CASES["parse"], ids=lambda c: c["input"][:60] or "empty")
def test_parse_table(case: dict[str, str]) -> None:
    """The raw grammar's table, read through the normalising parser: what it refuses, we refuse."""
    if case.get("error") and case["error"] != "ErrDigestUnsupported":  # sha512 is registered here
        with pytest.raises(Invalid):
            Reference.parse(case["input"])
