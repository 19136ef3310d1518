"""Copy immutable records."""

from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import replace as replace  # so that the names and types of the changes are checked
else:

    def replace(record, /, **changes):
        """Return a copy of a record with changed fields, like `dataclasses.replace`, in half the time.

        The class of the record has slots, and no `__init__` of its own.
        """
        read, writers, has_checks = _prepare(type(record))
        copy = object.__new__(type(record))
        for write, value in zip(writers, read(record), strict=True):
            write(copy, value)
        for name, value in changes.items():
            object.__setattr__(copy, name, value)
        if has_checks:
            copy.__post_init__()
        return copy


@cache
def _prepare(kind: type) -> tuple[Any, list[Any], bool]:
    """Return what reads all values of a record at once, what sets each of them, and whether to call `__post_init__`."""
    names = [field.name for field in fields(kind)]
    read = attrgetter(*names) if len(names) > 1 else lambda record: (getattr(record, names[0]),)
    return read, [getattr(kind, name).__set__ for name in names], hasattr(kind, "__post_init__")
