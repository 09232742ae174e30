"""`dataclasses.dataclass` for a program that starts often: the same classes without generating code.

The standard decorator writes, compiles and executes the source of five methods for every class, 1 to 2 ms each,
and imports `inspect` for it; the hundred classes of a build were half of a cached build's time. Here all classes
share their methods. Creating an instance is slower (about 1 µs more), which no command notices.

To type checkers this *is* `dataclasses`; at run time, `dataclasses.replace`, `fields` and `asdict` know these
classes, and the two kinds may inherit from each other.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import Field, dataclass, field, fields, replace
    from types import MappingProxyType
    from typing import Any
else:
    MappingProxyType = type(type.__dict__)  # importing `types` takes longer than all of this
    _MISSING = object()
    _FLAG = "__value_fields__"

    class FrozenInstanceError(AttributeError):
        """An attribute of an immutable value was set."""

    class Field:
        """One field: its default or factory, and where it counts."""

        __slots__ = ("compare", "default", "factory", "hash", "init", "kw_only", "name", "repr", "type")

        def __init__(
            self,
            *,
            default=_MISSING,
            default_factory=_MISSING,
            init=True,
            repr=True,
            hash=None,
            compare=True,
            kw_only=None,
        ):
            self.name = self.type = ""
            self.default, self.factory, self.init, self.repr, self.compare, self.kw_only = (
                default,
                default_factory,
                init,
                repr,
                compare,
                kw_only,
            )
            self.hash = compare if hash is None else hash

        @property
        def default_factory(self):
            return self.factory

    def field(
        *,
        default=_MISSING,
        default_factory=_MISSING,
        init=True,
        repr=True,
        hash=None,
        compare=True,
        kw_only=None,
    ):
        """As dataclasses.field."""
        return Field(
            default=default,
            default_factory=default_factory,
            init=init,
            repr=repr,
            hash=hash,
            compare=compare,
            kw_only=kw_only,
        )

    def fields(value):
        """As dataclasses.fields."""
        return tuple(getattr(value, _FLAG).values())

    def replace(value, /, **changes):
        """As dataclasses.replace."""
        for name, f in getattr(value, _FLAG).items():
            if f.init and name not in changes:
                changes[name] = getattr(value, name)
        return value.__class__(**changes)

    def dataclass(cls=None, /, *, frozen=False, slots=False, eq=True, order=False, kw_only=False, repr=True):
        """As dataclasses.dataclass."""

        def wrap(cls):
            return _made(cls, frozen=frozen, slots=slots, eq=eq, order=order, kw_only=kw_only, repr=repr)

        return wrap if cls is None else wrap(cls)

    def _made(cls, *, frozen, slots, eq, order, kw_only, repr):
        inherited, own = _collect(cls, kw_only)
        every = {**inherited, **own}
        cls.__value_fields__ = every
        cls.__dataclass_fields__ = _StandardFields(every)
        cls.__dataclass_params__ = _Params(frozen)
        positional = [f for f in every.values() if f.init and not f.kw_only]
        cls.__match_args__ = tuple(f.name for f in positional)
        if slots:
            cls = _with_slots(cls, own, inherited)
        elif own:
            for name, f in own.items():
                if isinstance(cls.__dict__.get(name), Field):
                    if f.default is _MISSING:
                        delattr(cls, name)
                    else:
                        setattr(cls, name, f.default)
        mine = cls.__dict__
        cls.__init__ = _init(cls, positional, [f for f in every.values() if f.kw_only or not f.init])
        if repr and "__repr__" not in mine:
            cls.__repr__ = _repr
        if eq:
            if "__eq__" not in mine:
                cls.__eq__ = _eq
            if "__hash__" not in mine or mine["__hash__"] is None:
                cls.__hash__ = _hash if frozen else None
        if order:
            cls.__lt__, cls.__le__, cls.__gt__, cls.__ge__ = _lt, _le, _gt, _ge
        if frozen:
            cls.__setattr__, cls.__delattr__ = _refuse_set, _refuse_delete
            if slots:
                cls.__getstate__, cls.__setstate__ = _getstate, _setstate
        return cls

    def _collect(cls, kw_only):
        inherited = {}
        for base in cls.__mro__[-1:0:-1]:
            known = base.__dict__.get(_FLAG)
            if known is None and "__dataclass_fields__" in base.__dict__:
                known = {
                    name: _from_standard(f)
                    for name, f in base.__dataclass_fields__.items()
                    if f._field_type.name == "_FIELD"
                }
            inherited.update(known or {})
        own = {}
        annotations = cls.__dict__.get("__annotations__", {})  # noqa: RUF063 - inspect is what is avoided
        for name, annotation in annotations.items():
            text = (
                annotation
                if isinstance(annotation, str)
                else getattr(annotation, "__name__", str(annotation))
            )
            if text.startswith(("ClassVar", "typing.ClassVar")):
                continue
            default = cls.__dict__.get(name, _MISSING)
            if type(default).__name__ == "member_descriptor":
                default = _MISSING
            f = default if isinstance(default, Field) else Field(default=default)
            f.name, f.type = name, annotation
            f.kw_only = kw_only if f.kw_only is None else f.kw_only
            own[name] = f
        return inherited, own

    def _from_standard(standard):
        import dataclasses

        gone = dataclasses.MISSING
        f = Field(
            default=_MISSING if standard.default is gone else standard.default,
            default_factory=_MISSING if standard.default_factory is gone else standard.default_factory,
            init=standard.init,
            repr=standard.repr,
            hash=standard.hash,
            compare=standard.compare,
            kw_only=bool(standard.kw_only),
        )
        f.name, f.type = standard.name, standard.type
        return f

    class _StandardFields:
        """`__dataclass_fields__`, made when it is asked for."""

        def __init__(self, every):
            self._every = every

        def __get__(self, instance, owner):
            import dataclasses

            gone, out = dataclasses.MISSING, {}
            for name, f in self._every.items():
                standard = dataclasses.field(
                    default=gone if f.default is _MISSING else f.default,
                    init=f.init,
                    repr=f.repr,
                    hash=f.hash,
                    compare=f.compare,
                    kw_only=bool(f.kw_only),
                )
                standard.default_factory = gone if f.factory is _MISSING else f.factory
                standard.name, standard.type, standard._field_type = name, f.type, dataclasses._FIELD
                out[name] = standard
            return out

    class _Params:
        __slots__ = ("frozen",)

        def __init__(self, frozen):
            self.frozen = frozen

    def _with_slots(cls, own, inherited):
        namespace = dict(cls.__dict__)
        taken = {name for base in cls.__mro__[1:-1] for name in getattr(base, "__slots__", ())}
        namespace["__slots__"] = tuple(name for name in own if name not in taken)
        for name in own:
            namespace.pop(name, None)
        namespace.pop("__dict__", None)
        namespace.pop("__weakref__", None)
        made = type(cls)(cls.__name__, cls.__bases__, namespace)
        made.__qualname__ = cls.__qualname__
        return made

    def _init(cls, positional, others):
        plan = []
        for f in (*positional, *others):
            slot = getattr(cls, f.name, None)
            setter = slot.__set__ if type(slot).__name__ == "member_descriptor" else None
            plan.append((f.name, setter, f.default, f.factory, f.init))
        most, title = len(positional), cls.__qualname__
        finish = cls.__dict__.get("__post_init__") or getattr(cls, "__post_init__", None)
        put = object.__setattr__

        def __init__(self, *args, **named):
            given = len(args)
            if given > most:
                raise TypeError(f"{title}() takes {most} positional arguments but {given} were given")
            at = 0
            for name, setter, default, factory, wanted in plan:
                if at < given:
                    value = args[at]
                    at += 1
                elif wanted and name in named:
                    value = named.pop(name)
                elif default is not _MISSING:
                    value = default
                elif factory is not _MISSING:
                    value = factory()
                elif wanted:
                    raise TypeError(f"{title}() missing the argument {name!r}")
                else:
                    continue
                if setter is not None:
                    setter(self, value)
                else:
                    put(self, name, value)
            if named:
                raise TypeError(f"{title}() got an unexpected or repeated argument {min(named)!r}")
            if finish is not None:
                finish(self)

        return __init__

    def _values(value, flag):
        return tuple(getattr(value, name) for name, f in value.__value_fields__.items() if getattr(f, flag))

    def _repr(self):
        inside = ", ".join(
            f"{name}={getattr(self, name)!r}" for name, f in self.__value_fields__.items() if f.repr
        )
        return f"{self.__class__.__qualname__}({inside})"

    def _eq(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self is other or _values(self, "compare") == _values(other, "compare")

    def _hash(self):
        return hash(_values(self, "hash"))

    def _compared(operation):
        def method(self, other):
            if other.__class__ is not self.__class__:
                return NotImplemented
            return operation(_values(self, "compare"), _values(other, "compare"))

        return method

    _lt, _le = _compared(lambda a, b: a < b), _compared(lambda a, b: a <= b)
    _gt, _ge = _compared(lambda a, b: a > b), _compared(lambda a, b: a >= b)

    def _refuse_set(self, name, value):
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def _refuse_delete(self, name):
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def _getstate(self):
        return [getattr(self, name) for name in self.__value_fields__]

    def _setstate(self, state):
        for name, value in zip(self.__value_fields__, state):
            object.__setattr__(self, name, value)


EMPTY: Mapping[str, Any] = MappingProxyType({})

__all__ = ["EMPTY", "Field", "dataclass", "field", "fields", "replace"]
