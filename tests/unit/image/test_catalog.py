"""Names, IDs and listings."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.engine import Engine
from boxwright.errors import Invalid
from boxwright.image.catalog import AmbiguousId, NoSuchImage, familiar, quick_normal, split
from boxwright.image.filters import FilterInvalid
from boxwright.spec.reference import Reference
from support.image import engine, imported, with_entry


@pytest.fixture
def eng(tmp_path: Path) -> Engine:
    return engine(tmp_path / "root")


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a/b",
        "a:1",
        "x.y/b",
        "localhost/q:2",
        "h:5000/a/b:3",
        "docker.io/a",
        "index.docker.io/a/b",
        "a_b/c--d",
        "library/a",
    ],
)
def test_quick_names_are_the_grammars_names(text: str) -> None:
    whole = Reference.parse(text).with_default_tag()
    assert quick_normal(text) in ("", str(whole))
    assert familiar(str(whole)) == whole.familiar
    assert split(str(whole)) == (whole.name, whole.tag, "")


@pytest.mark.parametrize("text", ["", "/a", ":a", "-a", "a//b", "A", "a@sha256:" + "0" * 64, "a b"])
def test_unusual_names_are_left_to_the_grammar(text: str) -> None:
    assert quick_normal(text) == ""


def test_names_ids_and_digests_find_the_same_image(eng: Engine) -> None:
    image = imported(eng, "team/app:1")
    target = eng.services.images_store.resolve("team/app:1").target
    for text in (
        "team/app:1",
        "docker.io/team/app:1",
        image,
        image[7:],
        image[7:19],
        image[7:10],
        target,
        target[7:20],
    ):
        assert eng.services.images_store.resolve(text).image_id == image, text


def test_a_name_wins_over_an_id(eng: Engine) -> None:
    first = imported(eng, "one", "a")
    second = imported(eng, first[7:15], "b")
    assert eng.services.images_store.resolve(first[7:15]).image_id == second


@pytest.mark.parametrize(
    "text", ["nosuch", "nosuch:2", "abcdef0123", "sha256:" + "0" * 64, "0" * 64, "a@sha256:" + "0" * 64]
)
def test_what_is_missing_is_named(eng: Engine, text: str) -> None:
    with pytest.raises(NoSuchImage, match="No such image: "):
        eng.services.images_store.resolve(text)


def test_the_tag_is_part_of_the_message(eng: Engine) -> None:
    with pytest.raises(NoSuchImage, match="No such image: nosuch:latest"):
        eng.services.images_store.resolve("nosuch")


@pytest.mark.parametrize("text", ["", "UPPER", "a:b:c", "-x", "a/" * 200 + "b", "ü", "a\0b", "a\nb"])
def test_malformed_names_are_refused(eng: Engine, text: str) -> None:
    with pytest.raises(Invalid):
        eng.services.images_store.resolve(text)


def test_an_ambiguous_prefix_is_an_error(eng: Engine) -> None:
    ids = {imported(eng, f"a:{n}", str(n)) for n in range(17)}
    shared = next(i[7:8] for i in ids if sum(j[7:8] == i[7:8] for j in ids) > 1)
    with pytest.raises(AmbiguousId, match="ambiguous"):
        eng.services.images_store.resolve(shared)


def test_a_digest_name_needs_its_repository(eng: Engine) -> None:
    imported(eng, "team/app:1")
    target = eng.services.images_store.resolve("team/app:1").target
    assert eng.services.images_store.resolve(f"team/app@{target}").target == target
    with pytest.raises(NoSuchImage):
        eng.services.images_store.resolve(f"other/app@{target}")


def test_users_tag_with_tags_only(eng: Engine) -> None:
    image = imported(eng, "app")
    for name in (f"app@{image}", image, image[7:], "sha256:1", "a:b@" + image, ""):
        with pytest.raises(Invalid):
            eng.images.tag("app", name)
    assert eng.images.list()[0].tags == ("app:latest",)


def test_listing_is_newest_first_and_one_entry_an_image(eng: Engine) -> None:
    old = imported(engine(eng.root, SOURCE_DATE_EPOCH="1000000000"), "old", "1")
    new = imported(eng, "new", "2")
    eng.images.tag("new", "newer:2")
    assert [(i.id, i.tags) for i in eng.images.list()] == [
        (new, ("new:latest", "newer:2")),
        (old, ("old:latest",)),
    ]


def test_a_name_moves_and_leaves_a_dangling_image(eng: Engine) -> None:
    first, second = imported(eng, "app", "1"), imported(eng, "app", "2")
    found = {i.id: i for i in eng.images.list()}
    assert found[first].dangling and found[second].tags == ("app:latest",)
    assert [i.id for i in eng.images.list(filters={"dangling": ["true"]})] == [first]
    assert [i.id for i in eng.images.list(filters={"dangling": ["false"]})] == [second]


def test_intermediate_images_need_all(eng: Engine) -> None:
    parent = imported(eng, "", "1")
    row = eng.services.images_store.resolve(parent)
    from boxwright.spec.config import HistoryEntry

    child = with_entry(
        eng.services.images_store.resolved(row).config,
        HistoryEntry(created_by="x", created="2030-01-01T00:00:00Z"),
    )
    eng.services.images_store.create(child, names=["child"], parent=parent)
    assert [i.tags for i in eng.images.list()] == [("child:latest",)]
    assert len(eng.images.list(all=True)) == 2


def test_filters(eng: Engine) -> None:
    imported(engine(eng.root, SOURCE_DATE_EPOCH="1000000000"), "team/old:1", "1", changes=["LABEL a=1 b=2"])
    imported(eng, "team/new:1", "2", changes=["LABEL a=2"])

    def names(**filters: str) -> list[str]:
        return [
            tag
            for i in eng.images.list(filters={k.rstrip("_"): [v] for k, v in filters.items()})
            for tag in i.tags
        ]

    assert names(label="a") == ["team/new:1", "team/old:1"]
    assert names(label="a=2") == ["team/new:1"]
    assert names(before="team/new:1") == ["team/old:1"]
    assert names(since="team/old:1") == ["team/new:1"]
    assert names(until="1h") == ["team/old:1"]
    assert names(reference="team/n*") == ["team/new:1"]
    assert names(reference="*") == []  # a star stops at a slash
    assert names(reference="*/*:1") == ["team/new:1", "team/old:1"]
    assert names(reference="team/old") == ["team/old:1"]
    for bad in ({"nope": ["x"]}, {"dangling": ["perhaps"]}, {"until": ["soon"]}, {"reference": ["[a"]}):
        with pytest.raises(FilterInvalid):
            eng.images.list(filters=bad)
    with pytest.raises(NoSuchImage):
        eng.images.list(filters={"before": ["nosuch"]})
