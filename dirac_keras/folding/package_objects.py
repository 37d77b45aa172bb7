"""What of a model loads with this package only: its layers, and its objects in the configuration of others."""


def is_from_package(thing):
    """Whether a layer, operation or other object is of this package."""
    return type(thing).__module__.split(".")[0] == "dirac_keras"


def needs_package(config):
    """Whether a layer's configuration, at any depth, names a class of dirac_keras."""
    if isinstance(config, dict):
        return _is_ours(config) or any(needs_package(value) for value in config.values())
    return isinstance(config, (list, tuple)) and any(needs_package(value) for value in config)


def without_package_objects(config):
    """Drops initializers, regularizers, constraints of dirac_keras: a folded model must load without it."""
    kept = {}
    for key, value in config.items():
        is_ours = _is_ours(value)
        if is_ours and key.endswith("_initializer"):
            continue  # the default; the weights are set anyway
        kept[key] = None if is_ours and key.endswith(("_regularizer", "_constraint")) else value
    return kept


def _is_ours(value):
    """Whether it is an object of this package, serialized or itself."""
    if not isinstance(value, dict):
        return is_from_package(value)
    names = (value.get("module") or "", value.get("registered_name") or "")
    return names[0].split(".")[0] == "dirac_keras" or names[1].startswith("dirac_keras>")
