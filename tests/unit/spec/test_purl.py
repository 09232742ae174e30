"""Package URLs."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from boxwright.spec.platform import Platform
from boxwright.spec.purl import image_purl, purl
from boxwright.spec.reference import Reference


def test_parts_are_escaped_and_qualifiers_sorted() -> None:
    made = purl(
        "deb", "libstdc++6", "1:2~é", namespace="debian", qualifiers={"z": "a/b", "arch": "amd64", "no": ""}
    )
    assert made == "pkg:deb/debian/libstdc%2B%2B6@1:2~%C3%A9?arch=amd64&z=a%2Fb"


def test_an_image_has_its_platform() -> None:
    assert image_purl(Reference.parse("busybox"), Platform("linux", "amd64")) == (
        "pkg:docker/busybox@latest?platform=linux%2Famd64"
    )


@given(st.text())
def test_names_are_escaped_as_python_does(name: str) -> None:
    if name:
        assert purl("generic", name) == "pkg:generic/" + quote(name, safe="-._~:")
