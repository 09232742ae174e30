"""Plans as text: every vertex with its definition, the final config, the history. UPDATE_GOLDEN=1 writes them anew."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from boxwright.build.dockerfile.parse import parse
from boxwright.build.graph import walk
from boxwright.build.plan import Plan, Planner
from boxwright.build.planning import Base, PlanOptions
from boxwright.spec.config import HistoryEntry, ImageConfig
from boxwright.spec.platform import Platform
from support import DATA
from support.corpus import CORPUS

GOLDEN = DATA / "golden" / "plan"
FILES = [
    "arg-scope/Containerfile.arg-mixed-defaults",
    "builtins/Dockerfile",
    "copy-from/Dockerfile4",
    "env-precedence/Dockerfile",
    "heredoc/Containerfile",
    "healthcheck/Dockerfile",
    "leading-args/Dockerfile",
    "multi-stage-builds/Dockerfile.mixed",
    "onbuild/Dockerfile2",
    "run-mounts/Dockerfile.secret-options",
    "volume/Dockerfile",
    "workdir-symlink/Dockerfile",
]


class Bases:
    """Any name is an image with something to inherit."""

    def image(self, name: str, platform: Platform) -> Base:
        config = {
            "Env": ["PATH=/bin", "FROM_BASE=1"],
            "Cmd": ["sh"],
            "Labels": {"base": "yes"},
            "WorkingDir": "/base",
        }
        history = (HistoryEntry("2024-01-01T00:00:00Z", "the base"),)
        return Base(
            f"docker.io/library/{name}",
            "sha256:" + "b" * 64,
            ImageConfig(platform=platform, history=history, config=config),
        )


def text_of(plan: Plan) -> str:
    order = list(walk(plan.target))
    lines = []
    for number, vertex in enumerate(order):
        inputs = " ".join(str(order.index(v)) for v in vertex.inputs)
        lines.append(f"{number} <- {inputs or 'nothing'}: {vertex.name or vertex.text}")
        definition = json.dumps(vertex.op.definition(), sort_keys=True)
        lines.append(f"    {vertex.op.kind} reads={vertex.op.reads} {definition}")
    lines.append("config " + json.dumps(plan.config, indent=2))
    lines += [
        f"history {d.created_by!r} {'-' if d.vertex is None else order.index(d.vertex)}" for d in plan.drafts
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", FILES)
def test_plan(name: str) -> None:
    path = CORPUS / name
    plan = Planner(parse(path.read_bytes()), PlanOptions(platform=Platform("linux", "amd64")), Bases()).plan()
    text = text_of(plan)
    golden: Path = GOLDEN / (name.replace("/", "-") + ".txt")
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()
