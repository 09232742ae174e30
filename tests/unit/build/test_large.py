"""Dockerfiles of unusual size: deep chains of stages, many steps, long files and lines."""

from __future__ import annotations

import time

import pytest

from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.lint import CheckRequest, check
from boxwright.build.dockerfile.outline import outline
from boxwright.build.dockerfile.parse import MAX_LINE, parse
from boxwright.build.plan import Planner
from boxwright.build.planning import Base, PlanOptions
from boxwright.spec.platform import Platform


class NoBases:
    def image(self, name: str, platform: Platform) -> Base:
        raise AssertionError(f"asked for {name}")


def planned(text: str) -> Planner:
    planner = Planner(parse(text.encode()), PlanOptions(), NoBases())
    planner.plan()
    return planner


@pytest.mark.parametrize(
    "line",
    [
        "FROM s{below} AS s{here}\n",
        "FROM scratch AS s{here}\nCOPY --from=s{below} / /\n",
        "FROM scratch AS s{here}\nCOPY --from={below} / /\n",
        "FROM scratch AS s{here}\nRUN --mount=from=s{below},target=/x true\n",
    ],
)
def test_a_deep_chain_of_stages(line: str) -> None:
    """Deeper than Python's stack."""
    text = "FROM scratch AS s0\n" + "".join(line.format(below=i, here=i + 1) for i in range(1500))
    assert len(planned(text)._planned) == 1501
    assert check(parse(text.encode())).failure is None
    assert outline(parse(text.encode()), CheckRequest()).name == "s1500"


def test_stages_that_are_not_needed_are_not_planned() -> None:
    text = "FROM missing AS a\nFROM scratch AS b\nFROM scratch AS c\nFROM b\nCOPY --from=c / /\n"
    assert sorted(planned(text)._planned) == [1, 2, 3]


def test_the_work_grows_with_the_number_of_steps() -> None:
    def seconds(count: int) -> float:
        text = "FROM scratch\n" + "".join(f"COPY f{i} /d/{i}\nENV A{i}=x\n" for i in range(count // 2))
        began = time.process_time()
        check(parse(text.encode()))
        planned(text)
        return time.process_time() - began

    seconds(100)
    assert seconds(8000) < 12 * min(seconds(2000) for _ in range(3))


def test_a_long_file() -> None:
    dockerfile = parse(b"FROM scratch\n" + b"# a comment\nLABEL a=b\n" * 50_000)
    assert len(dockerfile.nodes) == 50_001 and dockerfile.nodes[-1].location.start == 100_001


def test_a_long_line() -> None:
    longest = "LABEL a=".ljust(MAX_LINE, "x")
    assert len(parse(f"FROM scratch\n{longest}\n".encode()).nodes) == 2
    with pytest.raises(DockerfileError, match="line greater than max allowed size of 65535"):
        parse(f"FROM scratch\n{longest}x\n".encode())


def test_a_file_is_split_once_for_all_of_its_excerpts() -> None:
    """Each warning has an excerpt: with as many warnings as lines, splitting for each would take the square."""
    from boxwright.build.dockerfile import errors

    text = b"FROM scratch\n" + b"LABEL a=$v\n" * 50
    errors._lines.cache_clear()
    shown = {errors.render_excerpt("Dockerfile", text, [errors.SourceRange(n, n)]) for n in range(2, 52)}
    assert len(shown) == 50 and errors._lines.cache_info().misses == 1
