"""What a result shows of itself where a notebook's cell ends with it: a line, and no page of numbers."""

import dataclasses

MOST = 70  # letters of a value that is shown as it is


def brief(cls):
    """Decorator of a dataclass: its `repr` has every field, long values by kind and size.

    An array is told by its type and shape, a long text by its beginning, many values by their number and kind:
    `Explanation(method='gradcam', maps=float32 (6, 8, 8), ...)`. The values themselves are the fields'.
    """
    cls.__repr__ = _repr
    return cls


def _repr(self):
    shown = (f"{one.name}={_told(getattr(self, one.name))}" for one in dataclasses.fields(self) if one.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _told(value):
    shape, kind = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and shape and kind is not None:
        return f"{getattr(kind, 'name', kind)} {shape}"
    if isinstance(value, (tuple, list, dict, set, frozenset)):
        return _collection(value)
    text = " ".join(repr(value).split())
    if len(text) <= MOST:
        return text
    return f"{text[: MOST - 1]}\N{HORIZONTAL ELLIPSIS}" if isinstance(value, str) else f"<{type(value).__qualname__}>"


def _collection(value):
    inside = list(value.values() if isinstance(value, dict) else value)
    if len(inside) < MOST and not any(hasattr(one, "shape") for one in inside):  # else it is long, or may be slow
        text = " ".join(repr(value).split())
        if len(text) <= MOST:
            return text
    kinds = {type(one).__qualname__ for one in inside}
    kind = f" {kinds.pop()}" if len(kinds) == 1 else ""
    return f"<{type(value).__qualname__} of {len(inside):,}{kind}>"
