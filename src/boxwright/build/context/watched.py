"""A large file of the context while it is read: its first bytes are passed on before the last were
compared, so that a change shows only when it is closed."""

from __future__ import annotations

import io
import os
import time

from boxwright.build.context.cache import was_racy
from boxwright.build.context.looks import stat_key
from boxwright.build.context.node import hash_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxwright.build.context.node import LocalNode


class WatchedFile(io.FileIO):
    """A file that is looked at again when it is closed: one that is then as it was listed was the same in between.
    Closing raises `changed` when it is not."""

    def __init__(self, fd: int, node: LocalNode, changed: Exception) -> None:
        """`fd` becomes the file's own; its status is that of the node."""
        super().__init__(fd, "rb")
        self._node, self._changed = node, changed
        # A change in the very tick of the clock in which the file was hashed would not show in its status.
        self._racy = was_racy(node.key, time.time_ns())

    def close(self) -> None:
        """Let go of the file. Raises `changed`; closed it is in any case, and only once."""
        if self.closed:
            return
        node = self._node
        try:
            same = stat_key(os.fstat(self.fileno())) == node.key
            if same and self._racy and node.content:
                os.lseek(self.fileno(), 0, os.SEEK_SET)
                same = hash_file(self.fileno(), node.size) == node.content
        finally:
            super().close()
        if not same:
            raise self._changed
