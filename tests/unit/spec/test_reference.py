"""References are read by hand; here are the patterns of distribution/reference's grammar, and what each text is by them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from boxwright.spec.reference import Reference, ReferenceInvalid, is_tag, split_domain

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_TAG = r"[\w][\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"({_DOMAIN})/({_COMPONENT}(?:/{_COMPONENT})*)(?::({_TAG}))?(?:@({_DIGEST}))?", re.ASCII
)
_HEXED = "sha256:" + "a" * 64


def _by_the_grammar(text: str) -> Reference | None:
    if re.fullmatch("[0-9a-f]{64}", text):
        return None
    found = _REFERENCE.fullmatch("/".join(split_domain(text)))
    if found is None or len(f"{found[1]}/{found[2]}") > 255:
        return None
    if found[4] and not re.fullmatch(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", found[4]):
        return None
    return Reference(domain=found[1], path=found[2], tag=found[3] or "", digest=found[4] or "")


def _by_hand(text: str) -> Reference | None:
    try:
        return Reference.parse(text)
    except ReferenceInvalid:
        return None


@given(
    st.one_of(
        st.text("aA0.-_:[]/@é", max_size=14),
        st.builds(
            "{}/{}:{}".format,
            st.text("aA0.-:[]", max_size=9),
            st.text("a0._-/A", max_size=9),
            st.text("aA_.-\n", max_size=4),
        ),
        st.builds(
            "a{}@{}:{}".format,
            st.sampled_from(["", ":t", ":", "@"]),
            st.text("aA0+.-_", max_size=6) | st.sampled_from(["sha256", "sha512"]),
            st.integers(31, 33).map("a".__mul__) | st.sampled_from(["a" * 64, "A" * 64, "g" * 64, "a" * 128]),
        ),
    )
)
@example("a.-b/c")
@example("a-.b/c")
@example("a--b.c/d")
@example("a..b/c")
@example("[::1]:5000/a")
@example("[::1]5000/a")
@example("[:]/a")
@example("[]/a")
@example("[::1/a")
@example("a.b:/c")
@example("a.b:1:2/c")
@example("a.b:٣/c")
@example("a__b/c")
@example("x/a__b/c")
@example("x/a___b")
@example("x/a/-b")
@example("x/a_/b")
@example("x/a--b")
@example("x/a//b")
@example("x/a/")
@example("a:")
@example("a@")
@example("a:b:c")
@example(f"a@{_HEXED}")
@example(f"a:b@{_HEXED}")
@example(f"a@{_HEXED}@{_HEXED}")
@example("a:" + "t" * 128)
@example("a:" + "t" * 129)
@example("a:é")
@example("a\n")
@example("a" * 64)
@example("e" * 255)
@example("b" * 237)
@example("b" * 238)
def test_a_text_is_the_reference_that_the_grammar_says(text: str) -> None:
    assert _by_hand(text) == _by_the_grammar(text)


@given(st.text("aA0_.-é\n", max_size=4))
def test_a_tag_is_what_the_grammar_says(text: str) -> None:
    assert is_tag(text) == bool(re.fullmatch(_TAG, text, re.ASCII))


@pytest.mark.parametrize("text", ["", "/", ":tag", "@" + _HEXED, "A", "localhost/", "http://a/b"])
def test_what_names_no_repository_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ReferenceInvalid, match=r"^invalid reference format: "):
        Reference.parse(text)
