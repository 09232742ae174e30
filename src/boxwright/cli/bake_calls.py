"""bake --call and --check: what was asked of each target's Dockerfile."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxwright.bake.plan import BakePlan, BakeRequest
    from boxwright.build.request import BuildResult
    from boxwright.cli.context import Context
    from boxwright.cli.flags import Namespace


def show(
    ctx: Context, args: Namespace, request: BakeRequest, plan: BakePlan, results: dict[str, BuildResult]
) -> int:
    """Print all answers, by target; the first exit code that is not 0."""
    from boxwright.bake.requests import request_of
    from boxwright.cli.build import calls

    asked = calls.parse(args) if args.call != "build" or args.check else calls.Call()
    targets = plan.resolved.targets
    answered = {name: r for name, r in sorted(results.items()) if r.answer is not None}
    code = 0
    if asked.json:
        shown: dict[str, Any] = plan.resolved.to_json()
        for name in targets:
            shown["target"][name] = {"build": targets[name].to_json()}
        for name, result in answered.items():
            assert result.answer is not None
            shown["target"][name][result.answer.method] = result.answer.data
            code = code or (0 if asked.ignore_status else result.answer.status)
        import json

        ctx.out(json.dumps(shown, indent=2, ensure_ascii=False))
        return code
    for at, (name, result) in enumerate(answered.items()):
        assert result.answer is not None
        if at:
            ctx.out()
        ctx.out(name)
        if description := targets[name].get("description"):
            ctx.out(description)
        ctx.out()
        images = dict.fromkeys(targets, "")
        one = request_of(
            targets[name], request.cwd, environ=request.environ, results=images, source=request.source
        )
        code = calls.show(ctx, asked, result.answer, request=one) or code
    return code
