"""Frozen, keyword-only values that cost nothing at start-up.

`dataclasses` would read better, but importing it and building twenty frozen classes takes longer than
bubblewrap needs to start a sandbox (measured: 55 ms against 10 ms), and every launch would pay for it.
A `Record` is the part of it that we use; type checkers see a frozen, keyword-only dataclass.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Never, Self, dataclass_transform
else:

    def dataclass_transform(**_options):
        return lambda cls: cls


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Record:
    """A value: annotated names are its fields, class attributes their defaults."""

    __fields__: ClassVar[tuple[str, ...]] = ()
    __known__: ClassVar[frozenset[str]] = frozenset()  # the same, as a set
    __required__: ClassVar[frozenset[str]] = frozenset()  # those without a default

    def __init_subclass__(cls) -> None:
        own = [name for name in cls.__dict__.get("__annotations__", {}) if not name.startswith("__")]
        cls.__fields__ = cls.__fields__ + tuple(name for name in own if name not in cls.__fields__)
        cls.__known__ = frozenset(cls.__fields__)
        cls.__required__ = frozenset(name for name in cls.__fields__ if not hasattr(cls, name))

    def __init__(self, **given: Any) -> None:
        if not self.__required__ <= given.keys() <= self.__known__:  # a launch makes a thousand records
            raise self._misfit(given)
        self.__dict__.update(given)

    def _misfit(self, given: dict[str, Any]) -> TypeError:
        for name in given:
            if name not in self.__fields__:
                return TypeError(f"{type(self).__name__} has no field '{name}'")
        missing = next(name for name in self.__fields__ if name in self.__required__ and name not in given)
        return TypeError(f"{type(self).__name__} needs field '{missing}'")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: cannot set '{name}'")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: cannot delete '{name}'")

    def values(self) -> tuple[Any, ...]:
        """Return the field values in the order in which they were declared."""
        return tuple(getattr(self, name) for name in self.__fields__)

    def but(self, **changed: Any) -> Self:
        """Return a copy with some fields changed."""
        return type(self)(**{**self.__dict__, **changed})

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self.values() == other.values()

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.values()))

    def __repr__(self) -> str:
        inner = ", ".join(f"{n}={v!r}" for n, v in zip(self.__fields__, self.values(), strict=True))
        return f"{type(self).__name__}({inner})"


def assert_never(value: Never) -> Never:
    """Fail on a case that the type checker has shown to be impossible."""
    raise AssertionError(f"unexpected {value!r}")
