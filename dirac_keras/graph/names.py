"""Names of layers in one graph, where layers of several models come to stand beside each other."""

import itertools


def unused_name(name, taken):
    """A name that no layer has yet: `name`, a path with its slashes as underscores, or the first free number behind it.

    Args:
        name: str.
        taken: set of str; gets the name.
    """
    name = name.replace("/", "_")
    found = next(
        one for one in itertools.chain([name], (f"{name}_{k}" for k in itertools.count(1))) if one not in taken
    )
    taken.add(found)
    return found
