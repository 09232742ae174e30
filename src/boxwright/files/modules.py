"""Finding this program's modules, and Python's own, faster than Python does: a command imports 150, which took a
third of its time.

Python's finder looks through every place of its path for each module, and its loader works out the name of the
compiled file twice. Here the place is known: it is where the parent is, or Python's library. What is found is the file
that Python's finder would find, compiled, checked against its source as Python does; where anything is not as it
usually is, Python's finder and loader do it. Imported by the supervisor: C modules only.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER, PathFinder, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

_COMPILED = f".{sys.implementation.cache_tag}.pyc"
_OURS = __name__.partition(".")[0]
_LIBRARY = os.path.dirname(os.__file__)
_CODE = type(os.makedirs.__code__)
_UNCHECKED = b"\0\0\0\0"  # the flags of a compiled file that says its source's time and size


class _SourceLoader(SourceFileLoader):
    """Of one module, whose source's status is known."""

    def __init__(self, name: str, path: str, compiled: str, status: os.stat_result) -> None:
        super().__init__(name, path)
        self._compiled, self._status = compiled, status

    def get_code(self, fullname: str) -> CodeType | None:
        """From the compiled file, when it is of this source."""
        try:
            fd = os.open(self._compiled, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = os.read(fd, os.fstat(fd).st_size)
            finally:
                os.close(fd)
            if data[:16] == self._head():
                code = marshal.loads(memoryview(data)[16:])
                if type(code) is _CODE:
                    return code
        except (OSError, EOFError, ValueError, TypeError):
            pass
        return super().get_code(fullname)

    def _head(self) -> bytes:
        numbers = (int(self._status.st_mtime), self._status.st_size)
        return MAGIC_NUMBER + _UNCHECKED + b"".join((n & 0xFFFFFFFF).to_bytes(4, "little") for n in numbers)


class ModuleFinder:
    """For `sys.meta_path`."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """Of a module of Boxwright or of Python in a file; None for anything else."""
        top, _, inner = name.partition(".")
        if top != _OURS and top not in sys.stdlib_module_names:
            return None  # of others, a compiled module may lie beside the source, and comes first
        if path is None:
            if top == _OURS:
                return None
            folder = _LIBRARY
        elif len(path) == 1:
            folder = path[0]
        else:
            return None
        short = inner.rpartition(".")[2] or top
        try:
            source, inside, compiled = f"{folder}/{short}.py", folder, short
            status = os.stat(source)
        except OSError:
            try:
                source, inside, compiled = f"{folder}/{short}/__init__.py", f"{folder}/{short}", "__init__"
                status = os.stat(source)
            except OSError:
                return None
        cached = f"{inside}/__pycache__/{compiled}{_COMPILED}"
        spec = ModuleSpec(name, _SourceLoader(name, source, compiled=cached, status=status), origin=source)
        spec.has_location = True
        spec.cached = cached
        if inside is not folder:
            spec.submodule_search_locations = [inside]
        return spec


def hasten() -> None:
    """Use it for what is imported from now on, where compiled files are where they usually are."""
    if not sys.flags.optimize and sys.pycache_prefix is None and PathFinder in sys.meta_path:
        sys.meta_path.insert(sys.meta_path.index(PathFinder), ModuleFinder)
