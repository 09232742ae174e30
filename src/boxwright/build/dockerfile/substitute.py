"""Expansion of whole instructions: which fields see variables, and which do not (Dockerfile reference, "Environment
replacement")."""

from __future__ import annotations

from collections.abc import Callable

from boxwright.build.dockerfile import instructions as ins
from boxwright.build.dockerfile.errors import DockerfileError
from boxwright.build.dockerfile.expand import Lookup, expand, nothing_set, process_words
from boxwright.build.dockerfile.mounts import mount_of
from boxwright.spec.values import replace

_FROM_VARIABLE = (
    "variable expansion is not supported for --from, define a new stage with FROM using ARG "
    "from global scope as a workaround"
)


def expand_instruction(
    instruction: ins.Instruction,
    lookup: Lookup,
    escape: str = "\\",
    *,
    unset: set[str] | None = None,
) -> ins.Instruction:
    """The instruction with its variables replaced and its quotes removed; a new value, or the same one.

    Left as they are: FROM (`expand_from`: it sees global ARGs), ARG (each default is needed only when
    nothing overrides it, and sees the ones before it), and all that the shell is to read. Names that
    `lookup` did not know are added to `unset`. Raises DockerfileError with the instruction's lines.
    """

    def word(text: str) -> str:
        return expand(text, lookup, escape, unset=unset)

    try:
        if isinstance(instruction, ins.Copy | ins.Add):
            return _copied(instruction=instruction, word=word, lookup=lookup, unset=unset)
        if isinstance(instruction, ins.Run):
            if not instruction.mounts:
                return instruction
            return replace(
                instruction, mounts=tuple(mount_of(mount.raw, word) for mount in instruction.mounts)
            )
        if isinstance(instruction, ins.Env | ins.Label):
            pairs = tuple(
                ins.KeyValue(word(pair.key), word(pair.value), pair.legacy) for pair in instruction.pairs
            )
            return replace(instruction, pairs=pairs)
        if isinstance(instruction, ins.Expose):
            return replace(
                instruction,
                words=tuple(
                    w for text in instruction.words for w in process_words(text, lookup, escape, unset=unset)
                ),
            )
        if isinstance(instruction, ins.VolumePaths):
            return replace(instruction, paths=tuple(map(word, instruction.paths)))
        if isinstance(instruction, ins.Workdir):
            return replace(instruction, path=word(instruction.path))
        if isinstance(instruction, ins.User):
            return replace(instruction, user=word(instruction.user))
        if isinstance(instruction, ins.StopSignal):
            return replace(instruction, signal=word(instruction.signal))
    except DockerfileError as error:
        raise error.at(instruction.location) from None
    return instruction


def _copied(
    instruction: ins.Copy | ins.Add, word: Callable[[str], str], lookup: Lookup, unset: set[str] | None
) -> ins.Copy | ins.Add:
    # A heredoc's body keeps its quotes, and its escape is always the backslash.
    contents = tuple(
        replace(file, data=expand(file.data, lookup, raw=True, unset=unset)) if file.expand else file
        for file in instruction.contents
    )
    sources = tuple(map(word, instruction.sources))
    chown, chmod = word(instruction.chown), word(instruction.chmod)
    if isinstance(instruction, ins.Add):
        checksum = word(instruction.checksum)
        return replace(
            instruction,
            sources=sources,
            contents=contents,
            dest=word(instruction.dest),
            chown=chown,
            chmod=chmod,
            checksum=checksum,
        )
    if expand(instruction.from_, nothing_set) != instruction.from_:
        raise DockerfileError(_FROM_VARIABLE)
    return replace(
        instruction, sources=sources, contents=contents, dest=word(instruction.dest), chown=chown, chmod=chmod
    )


def expand_from(
    instruction: ins.From, lookup: Lookup, escape: str = "\\", *, unset: set[str] | None = None
) -> ins.From:
    """FROM with the global ARGs put in. Raises DockerfileError: an empty name or platform, bad syntax."""
    try:
        image = expand(instruction.image, lookup, escape, unset=unset)
        if not image:
            raise DockerfileError(f"base name ({instruction.image}) should not be blank")
        platform = expand(instruction.platform, lookup, escape, unset=unset)
        if instruction.platform and not platform:
            raise DockerfileError(f"empty platform value from expression {instruction.platform}")
    except DockerfileError as error:
        raise error.at(instruction.location) from None
    return replace(instruction, image=image, platform=platform)
