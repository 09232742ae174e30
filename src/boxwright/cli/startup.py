"""What makes a command start sooner. Only the command line does this; the SDK leaves its caller's process alone.

Measured on `boxwright images` (Python 3.11): `dataclasses` imports `inspect`, which imports the compiler's helpers
(a sixth of the whole time), and needs it only for classes without a docstring; `pathlib` imports `urllib.parse`, and
needs it only for `Path.as_uri`; that one imports `ipaddress`, and needs it only for URLs with addresses in brackets;
`pathlib` also imports `ntpath`, `fnmatch` for patterns, and `re` (3 ms, with `enum`) for those of Windows; `socket`
imports `selectors` for a way to send files that nothing here takes.
"""

from __future__ import annotations

import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LATER = ("inspect", "ipaddress", "copy", "ntpath", "fnmatch", "selectors", "re")


class _Later(ModuleType):
    """A module that is imported when something in it is first asked for; its `submodules` come without it."""

    submodules: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system looks whether we are being initialised
            raise AttributeError(name)
        if name in self.submodules:
            from importlib import import_module

            return import_module(f"{self.__name__}.{name}")
        return getattr(self.real(), name)

    def real(self) -> ModuleType:
        """The module itself, which takes this one's place. Submodules that were imported meanwhile are its own."""
        from importlib import import_module

        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        real = import_module(self.__name__)
        for name, module in list(sys.modules.items()):
            parent, _, last = name.rpartition(".")
            if parent == self.__name__:
                setattr(real, last, module)
        self.__dict__.update(real.__dict__)
        return real


def _postpone_urls() -> None:
    """`pathlib` takes a function out of `urllib.parse` when it is imported, and others look for the module in its
    package."""
    if "urllib.parse" in sys.modules:
        return
    import urllib

    later = _Later("urllib.parse")

    def quote_from_bytes(*words: Any, **more: Any) -> str:
        return str(later.real().quote_from_bytes(*words, **more))

    later.quote_from_bytes = quote_from_bytes  # type: ignore[attr-defined]
    sys.modules["urllib.parse"] = urllib.parse = later  # type: ignore[attr-defined]


def _postpone_json() -> None:
    """`json.decoder` has the class of the compiled scanner's errors, and imports `json.scanner` from its package."""
    if "json" in sys.modules:
        return
    import os

    try:
        from boxwright.cli.quickjson import functions
    except ImportError:  # an interpreter whose `json` has no compiled half
        return
    later = _Later("json")
    later.submodules = ("decoder", "encoder", "scanner")
    later.__path__ = [os.path.join(os.path.dirname(os.__file__), "json")]
    later.__dict__.update(functions(later.real))
    sys.modules["json"] = later


def occupy() -> None:
    """Put something where a standard stream is closed: the first file that is opened, the database perhaps, would get
    its number, and what is printed would go there. Printing to a closed standard output stays an error."""
    import os

    for number, name, mode in (
        (0, "stdin", os.O_RDONLY),
        (1, "stdout", os.O_RDONLY),
        (2, "stderr", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, mode)  # the lowest free number, which is this one
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))


def hurry() -> None:
    """Postpone imports that most commands never need, collect garbage less often than a server should, and let threads
    that hash and copy have the interpreter soon."""
    import gc

    from boxwright.files.modules import hasten

    hasten()
    gc.set_threshold(50_000, 20, 20)
    # What a thread waits for the interpreter after each piece that it hashed, while another computes; 5 ms is as long
    # as hashing 8 MB takes.
    sys.setswitchinterval(0.0005)
    for name in _LATER:
        if name not in sys.modules:
            sys.modules[name] = _Later(name)
    _postpone_urls()
    _postpone_json()


def leave(code: int) -> int:
    """End the process without taking the interpreter apart: nothing is open but the database, whose last connection
    would first copy its log back and sync twice, 10 ms on a good disk; the next command that writes enough does it.

    Returns the code when something waits for the normal end (coverage, a debugger)."""
    import os

    if sys.gettrace() is not None or "coverage" in sys.modules or "pytest" in sys.modules:
        return code
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (
        OSError,
        ValueError,
    ):  # the reader is gone, or it is closed: `main` has said what there was to say
        pass
    os._exit(code)
