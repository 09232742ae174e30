"""What a command gets: the engine, the settings, where output goes and how it may look."""

from __future__ import annotations

import os
import sys
from functools import cached_property

from boxwright.cli.printable import printable, styled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.engine import Engine
    from boxwright.settings import Settings


class Context:
    """One invocation of the command line. Everything in it is made on first use."""

    def __init__(
        self,
        *,
        root: str | None = None,
        docker_config: str | None = None,
        debug: bool = False,
        prog: str = "boxwright",
        docker_context: str = "",
    ) -> None:
        self._root = root
        self._docker_config = docker_config
        self.debug = debug or os.environ.get("BOXWRIGHT_DEBUG", "0") not in ("", "0")
        self.docker_context = docker_context  # of `--context`
        self.prog = prog  # the command as typed: "boxwright image ls"

    @cached_property
    def settings(self) -> Settings:
        """The environment and the configuration files. Raises SettingsInvalid."""
        from boxwright.settings import load

        settings = load(root=self._root)
        if self._docker_config is not None:
            from pathlib import Path

            from boxwright.spec.values import replace

            settings = replace(settings, docker_config=Path(self._docker_config))
        return settings

    @cached_property
    def engine(self) -> Engine:
        """The engine on the chosen root."""
        from boxwright.engine import Engine

        return Engine(settings=self.settings)

    def close(self) -> None:
        """Close connections to registries: a program that runs several commands would collect them."""
        services = self.engine.services.__dict__ if "engine" in self.__dict__ else {}
        if "registry" in services:
            services["registry"].close()

    # --- output ----------------------------------------------------------------------------------

    def out(self, text: str = "", *, end: str = "\n") -> None:
        """One line of data on standard output: on a terminal without what it would obey, elsewhere as it is."""
        sys.stdout.write((printable(text) if self.stdout_is_tty else text) + end)

    def err(self, text: str = "") -> None:
        """One line for people (progress, warnings, errors) on standard error, after what was printed before. Only our
        own styles are obeyed by the terminal that shows it."""
        self.relay(self.shown(text))

    def shown(self, text: str) -> str:
        """Text for people, with nothing in it that a terminal would obey but our own styles, where there are any."""
        return printable(text, own=self.color)

    def relay(self, text: str) -> None:
        """A line of the user's own program on standard error, untouched, after what was printed before."""
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError:  # a full disk, a closed descriptor: told at the end, and this may be the telling
            pass
        try:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
        except BrokenPipeError:
            raise
        except OSError:  # no reader is left to be told
            pass

    def warn(self, text: str) -> None:
        """``WARNING: …`` on standard error."""
        self.err(f"{self.paint('WARNING', 'yellow')}: {text}")

    @cached_property
    def stdout_is_tty(self) -> bool:
        """Whether a person sees standard output."""
        return _isatty(sys.stdout)

    @cached_property
    def stderr_is_tty(self) -> bool:
        """Whether a person sees standard error."""
        return _isatty(sys.stderr)

    @cached_property
    def stdin_is_tty(self) -> bool:
        """Whether a person can answer on standard input."""
        return _isatty(sys.stdin)

    @cached_property
    def color(self) -> bool:
        """Whether standard error may be coloured (no-color.org, FORCE_COLOR, TERM=dumb)."""
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR", "0") != "0":
            return True
        return self.stderr_is_tty and os.environ.get("TERM") != "dumb"

    def paint(self, text: str, style: str) -> str:
        """The text in a style (red, green, yellow, cyan, bold, faint) if colours are allowed; for `err` and `shown`."""
        return styled(text, style) if self.color else text

    @cached_property
    def width(self) -> int:
        """Columns of the terminal; 80 when there is none."""
        if (said := os.environ.get("COLUMNS", "")).isdigit() and int(said) > 0:
            return int(said)
        for stream in (
            sys.stdout,
            sys.stderr,
        ):  # not shutil.get_terminal_size: importing it takes longer than --help
            try:
                return os.get_terminal_size(stream.fileno()).columns or 80
            except (OSError, ValueError, AttributeError):
                continue
        return 80

    # --- asking ----------------------------------------------------------------------------------

    def confirm(self, warning: str, *, question: str = "Are you sure you want to continue?") -> bool:
        """Docker's prompt before a prune. Anything but y is no; without a terminal a line is read all the same."""
        sys.stdout.flush()
        sys.stderr.write(f"{self.shown(warning)}\n{self.shown(question)} [y/N] ")
        sys.stderr.flush()
        return bool(sys.stdin) and sys.stdin.readline().strip().lower() in ("y", "yes")


def _isatty(stream: object) -> bool:
    try:
        return bool(stream.isatty())  # type: ignore[attr-defined]
    except (AttributeError, ValueError):  # closed by the parent, or no stream at all
        return False
