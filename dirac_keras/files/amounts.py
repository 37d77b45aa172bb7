"""Sizes and counts as people write them."""

_UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3), ("bytes", 1))


def unit_of(largest):
    """`(name, bytes)` of the unit in which a size, or the largest of several, is written."""
    return next((unit for unit in _UNITS if largest >= unit[1]), _UNITS[-1])


def size_text(count, unit=None):
    """A number of bytes in three digits: `12.3 kB`; without the unit's name where the unit is given."""
    name, size = unit or unit_of(count)
    value = count / size
    digits = 0 if size == 1 or value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}" + ("" if unit else f" {name}")


def counted(number, noun, plural=None):
    """`1 image`, `2,000 images`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
