"""Fuzz the Dockerfile language: `python tests/fuzz/fuzz_dockerfile.py [seconds] [seed]`.

With atheris installed its coverage guides the search; without it the upstream corpus is mutated at random.
Anything but a DockerfileError is a finding and ends the run with the input on standard error.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from boxwright.build.dockerfile.construct import parse_instruction, stages_of
from boxwright.build.dockerfile.errors import DockerfileError, render_excerpt
from boxwright.build.dockerfile.heredoc import run_command
from boxwright.build.dockerfile.history import created_by
from boxwright.build.dockerfile.instructions import OnBuild
from boxwright.build.dockerfile.instructions import Run as RunInstruction
from boxwright.build.dockerfile.parse import parse
from boxwright.build.dockerfile.substitute import expand_from, expand_instruction

VECTORS = Path(__file__).parent.parent / "data" / "vectors"
TOKENS = [
    b"\\\n",
    b"<<EOF",
    b"\nEOF\n",
    b"${",
    b"}",
    b"$x",
    b"'",
    b'"',
    b"--",
    b"--mount=type=",
    b"=",
    b"[",
    b"]",
    b",",
    b"\n",
    b"# escape=`\n",
    b"#",
    b"\xff",
    b"\x00",
    b"FROM ",
    b"RUN ",
    b"COPY ",
    b"ENV ",
    b"ONBUILD ",
    b"HEALTHCHECK ",
    b"EXPOSE ",
    b"ARG ",
    b" AS ",
    b"1" * 400,
]


def one_input(data: bytes) -> None:
    """All that a build does with a Dockerfile before it does anything."""
    try:
        file = parse(data)
        file.dump()
        global_args, stages = stages_of(file)
        for stage in stages:
            _tolerant(lambda: expand_from(stage.from_, {"x": "y"}.get, file.escape))  # noqa: B023 - called at once
            for step in (*global_args, *stage.instructions):
                _tolerant(lambda: created_by(expand_instruction(step, {"x": "y"}.get, file.escape)))  # noqa: B023
                if isinstance(step, RunInstruction):
                    run_command(step)
                if isinstance(step, OnBuild):
                    _tolerant(lambda: parse_instruction(step.expression))  # noqa: B023
    except DockerfileError as error:
        render_excerpt("Dockerfile", data, error.ranges)


def _tolerant(act: Callable[[], object]) -> None:
    try:
        act()
    except DockerfileError:
        pass


def corpus() -> list[bytes]:
    found = [path.read_bytes() for path in sorted((VECTORS / "buildkit-parser").rglob("Dockerfile"))]
    found.append(json.loads((VECTORS / "heredoc.json").read_text())["dockerfile"].encode())
    return found + [
        case["dockerfile"].encode() for case in json.loads((VECTORS / "lint-rules.json").read_text())["cases"]
    ]


def mutated(chooser: random.Random, seeds: list[bytes]) -> bytes:
    data = bytearray(chooser.choice(seeds))
    for _ in range(chooser.randrange(1, 8)):
        at = chooser.randrange(len(data) + 1)
        kind = chooser.randrange(5)
        if kind == 0:
            data[at:at] = chooser.choice(TOKENS)
        elif kind == 1:
            del data[at : at + chooser.randrange(1, 30)]
        elif kind == 2 and at < len(data):
            data[at] = chooser.randrange(256)
        elif kind == 3:
            other = chooser.choice(seeds)
            start = chooser.randrange(len(other) + 1)
            data[at:at] = other[start : start + chooser.randrange(200)]
        else:
            data[at:at] = data[at : at + 40] * chooser.randrange(1, 5)
    return bytes(data)


def run(seconds: float, seed: int) -> int:
    """The plain loop; the number of inputs tried."""
    chooser = random.Random(seed)
    seeds = corpus()
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        data = mutated(chooser, seeds)
        began = time.monotonic()
        try:
            one_input(data)
        except BaseException:
            sys.stderr.write(f"input: {data!r}\n")
            raise
        if time.monotonic() - began > 5:
            raise AssertionError(f"slow: {data!r}")
        count += 1
    return count


def main() -> None:
    try:
        import atheris
    except ImportError:
        seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
        seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
        sys.stdout.write(f"{run(seconds, seed)} inputs, seed {seed}\n")
        return
    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
