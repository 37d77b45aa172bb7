"""Tables of names: which tensor of a state dict a layer's weight is, as data.

A table maps a layer's name to the tensor's name without its ending, or to one name for each weight. `{g}` stands for
a whole number, and may be shifted on the right: layers count from 1, most libraries from 0.

>>> find_source({"group{g}_block{b}_conv": "layer{g}.{b-1}.conv"}, "group2_block1_conv")
'layer2.0.conv'
"""

import re

_HOLE = re.compile(r"\{(\w+?)([+-]\d+)?\}")


def find_source(table, layer):
    """What a table has for a layer: a text, a dict of texts, or None if it has nothing."""
    for pattern, source in table.items():
        match = _compiled(pattern).fullmatch(layer)
        if match:
            numbers = {name: int(digits) for name, digits in match.groupdict().items()}
            if isinstance(source, dict):
                return {weight: _filled(text, numbers) for weight, text in source.items()}
            return _filled(source, numbers)
    return None


def _compiled(pattern):
    parts, end = [], 0
    for hole in _HOLE.finditer(pattern):
        parts += [re.escape(pattern[end : hole.start()]), rf"(?P<{hole.group(1)}>\d+)"]
        end = hole.end()
    return re.compile("".join([*parts, re.escape(pattern[end:])]))


def _filled(text, numbers):
    return _HOLE.sub(lambda hole: str(numbers[hole.group(1)] + int(hole.group(2) or 0)), text)
