"""Code that a model file needs and does not hold: modules named by the user."""

import importlib
import importlib.util
import inspect
import os
import pathlib
import sys

from dirac_keras.errors import UserError


def import_named(names):
    """Import modules, and collect what a model file may name of them.

    Args:
        names: module names, found from the working directory too, or paths of `.py` files.

    Returns: dict, name -> class or function that a module defines itself or takes from its own package.
    Raises: ValueError: if one cannot be imported, with its own error.
    """
    found = {}
    for name in names:
        module = _import(name)
        package = module.__name__.split(".")[0]
        found |= {
            key: value
            for key, value in vars(module).items()
            if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__.split(".")[0] == package
        }
    return found


def _import(name):
    try:
        return _import_file(pathlib.Path(name)) if name.endswith(".py") else _import_module(name)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # the module's own code runs here
        raise UserError(f"imports: {name} cannot be imported: {type(error).__name__}: {error}.") from error


def _import_module(name):
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:  # as `python -m` has it; a console script has not
        sys.path.append(here)
    return importlib.import_module(name)


def _import_file(path):
    if not path.is_file():
        raise UserError(f"imports: {path} does not exist. Give a .py file, or the name of a module.")
    name = path.stem
    if name in sys.modules:
        origin = getattr(sys.modules[name], "__file__", None)
        if origin is None or not os.path.samefile(origin, path):
            raise UserError(f"imports: {path} has the name of a module that is in use, {name}. Give it another name.")
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where pickling and Keras look for what it defines
    sys.path.append(str(path.resolve().parent))  # its neighbours
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
