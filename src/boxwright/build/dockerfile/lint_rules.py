"""The build checks by name: what each says in general (docs.docker.com/reference/build-checks)."""

from __future__ import annotations

from boxwright.build.dockerfile.directives import CheckOptions, parse_check
from boxwright.build.dockerfile.errors import DockerfileError, SourceRange, Warning

DESCRIPTIONS = {
    "StageNameCasing": "Stage names should be lowercase",
    "FromAsCasing": "The 'as' keyword should match the case of the 'from' keyword",
    "NoEmptyContinuation": "Empty continuation lines will become errors in a future release",
    "ConsistentInstructionCasing": "All commands within the Dockerfile should use the same casing (either "
    "upper or lower)",
    "DuplicateStageName": "Stage names should be unique",
    "ReservedStageName": "Reserved words should not be used as stage names",
    "JSONArgsRecommended": "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior "
    "related to OS signals",
    "MaintainerDeprecated": "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    "UndefinedArgInFrom": "FROM command must use declared ARGs",
    "WorkdirRelativePath": (
        "Relative workdir without an absolute workdir declared within the build can have unexpected "
        "results if the base image changes"
    ),
    "UndefinedVar": "Variables should be defined before their use",
    "MultipleInstructionsDisallowed": "Multiple instructions of the same type should not be used in the same stage",
    "LegacyKeyValueFormat": "Legacy key/value format with whitespace separator should not be used",
    "InvalidBaseImagePlatform": "Base image platform does not match expected target platform",
    "RedundantTargetPlatform": "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as "
    "this is the default behavior",
    "SecretsUsedInArgOrEnv": "Sensitive data should not be used in the ARG or ENV commands",
    "InvalidDefaultArgInFrom": "Default value for global ARG results in an empty or invalid base image name",
    "FromPlatformFlagConstDisallowed": "FROM --platform flag should not use a constant value",
    "CopyIgnoredFile": "Attempting to Copy file that is excluded by .dockerignore",
    "InvalidDefinitionDescription": (
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. "
        "If this is not intended to be a description comment, add an empty line or comment between the "
        "instruction and the comment."
    ),
    "ExposeProtoCasing": "Protocol in EXPOSE instruction should be lowercase",
    "ExposeInvalidFormat": (
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an "
        "error in a future release"
    ),
}
EXPERIMENTAL = frozenset(("InvalidDefinitionDescription",))
_PAGES = {
    "StageNameCasing": "stage-name-casing",
    "FromAsCasing": "from-as-casing",
    "NoEmptyContinuation": "no-empty-continuation",
    "ConsistentInstructionCasing": "consistent-instruction-casing",
    "DuplicateStageName": "duplicate-stage-name",
    "ReservedStageName": "reserved-stage-name",
    "JSONArgsRecommended": "json-args-recommended",
    "MaintainerDeprecated": "maintainer-deprecated",
    "UndefinedArgInFrom": "undefined-arg-in-from",
    "WorkdirRelativePath": "workdir-relative-path",
    "UndefinedVar": "undefined-var",
    "MultipleInstructionsDisallowed": "multiple-instructions-disallowed",
    "LegacyKeyValueFormat": "legacy-key-value-format",
    "RedundantTargetPlatform": "redundant-target-platform",
    "SecretsUsedInArgOrEnv": "secrets-used-in-arg-or-env",
    "InvalidDefaultArgInFrom": "invalid-default-arg-in-from",
    "FromPlatformFlagConstDisallowed": "from-platform-flag-const-disallowed",
    "CopyIgnoredFile": "copy-ignored-file",
    "InvalidDefinitionDescription": "invalid-definition-description",
    "ExposeProtoCasing": "expose-proto-casing",
    "ExposeInvalidFormat": "expose-invalid-format",
}


def warning(rule: str, detail: str, location: SourceRange | None) -> Warning:
    """A finding of a rule, with the rule's general text and the page that explains it."""
    page = _PAGES.get(rule)
    url = f"https://docs.docker.com/go/dockerfile/rule/{page}/" if page else ""
    return Warning(rule=rule, message=detail, location=location, description=DESCRIPTIONS[rule], url=url)


class Findings:
    """Collects warnings, less those that the file or a comment above the instruction does not want."""

    def __init__(self, options: CheckOptions) -> None:
        self.options = options
        self.warnings: list[Warning] = []

    def add(
        self, rule: str, detail: str, location: SourceRange | None, comments: tuple[str, ...] = ()
    ) -> None:
        """Record a finding at an instruction that stands below `comments`."""
        options = (self.options, *_from_comments(comments))
        if rule in EXPERIMENTAL:
            if not any(o.experimental_all or rule in o.experimental for o in options):
                return
        elif any(o.skip_all or rule in o.skip for o in options):
            return
        self.warnings.append(warning(rule, detail, location))


def _from_comments(comments: tuple[str, ...]) -> tuple[CheckOptions, ...]:
    """The options of the first comment `check=…`; what follows its first space is a reason."""
    for comment in comments:
        key, equals, value = comment.partition("=")
        if equals and key.strip().lower() == "check":
            try:
                return (parse_check(value.strip().partition(" ")[0]),)
            except DockerfileError:
                return ()
    return ()
