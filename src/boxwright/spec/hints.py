"""`Protocol`, `runtime_checkable`, `NamedTuple`, `cast` without importing `typing`, which takes 3 ms of every command.

To type checkers these *are* those of `typing`. At run time a protocol is a plain base class that no object is checked
against unless it is `runtime_checkable`; then `isinstance` asks for its methods by name, as `typing` does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, Protocol, cast, runtime_checkable
else:
    _MEMBERS = "__members_asked__"
    _NOT_COPIED = frozenset(("__new__", "__init__", "__slots__", "__getnewargs__", "__classcell__"))

    class _Asked(type):
        """The class of protocols, and of the classes that name one as their base."""

        def __instancecheck__(cls, value):
            if type.__instancecheck__(cls, value):
                return True
            members = cls.__dict__.get(_MEMBERS)
            return members is not None and all(getattr(value, name, None) is not None for name in members)

    class Protocol(metaclass=_Asked):
        """As typing.Protocol."""

        __slots__ = ()

    def runtime_checkable(cls):
        """As typing.runtime_checkable, for protocols of methods."""
        bases = [base for base in cls.__mro__ if base not in (object, Protocol)]
        names = {name: None for base in bases for name, value in vars(base).items() if callable(value)}
        setattr(
            cls, _MEMBERS, tuple(name for name in names if not name.startswith("__") or name == "__call__")
        )
        return cls

    def cast(kind, value):
        """As typing.cast."""
        return value

    class _Named(type):
        def __new__(mcs, title, bases, namespace):
            annotations = namespace.get("__annotations__", {})
            if not bases:
                return type.__new__(mcs, title, bases, namespace)
            from collections import namedtuple

            defaults = [namespace[name] for name in annotations if name in namespace]
            made = namedtuple(title, annotations, defaults=defaults, module=namespace["__module__"])
            for name, value in namespace.items():
                if name not in annotations and name not in _NOT_COPIED:
                    setattr(made, name, value)
            return made

    class NamedTuple(metaclass=_Named):
        """As typing.NamedTuple, for classes."""


__all__ = ["NamedTuple", "Protocol", "cast", "runtime_checkable"]
