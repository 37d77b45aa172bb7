"""A pickle as PyTorch writes it, read without running it: dicts, lists, numbers, texts and descriptions of tensors.

A pickle is a program: it may import any function and call it. This reader knows the few instructions that state dicts
are made of, and the few names that they mention. None of them is imported; each stands for a plain value here.
Whatever else a file asks for is refused, by name.
"""

import dataclasses
import pickletools

from dirac_keras.errors import UserError

MOST_INSTRUCTIONS = 5_000_000  # a checkpoint of a thousand layers with its optimizer has some 100,000
_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
_CALLABLES = {
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
}


@dataclasses.dataclass(frozen=True)
class Storage:
    """Numbers in a row, elsewhere in the file.

    Attributes:
        key: str, their name.
        dtype: str.
        count: int, numbers of the whole row.
        first: int, where in it this one begins: 0 unless it is part of another.
    """

    key: str
    dtype: str
    count: int
    first: int = 0


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage, in numbers, not in bytes: not checked yet."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple


@dataclasses.dataclass(frozen=True)
class _Name:
    """What a pickle calls by a name; never the thing itself."""

    module: str
    name: str

    def __str__(self):
        return f"{self.module}.{self.name}"


@dataclasses.dataclass(frozen=True)
class _StorageType:
    dtype: str


def read_pickle(file, path):
    """The value of the pickle at the position of an open file, which is behind it afterwards.

    Args:
        file: binary, as PyTorch wrote it.
        path: for messages.

    Returns: dicts, lists, tuples, numbers, texts, None and `Tensor`s.
    Raises: ValueError: if it is damaged, or mentions what a state dict does not need, with its name.
    """
    try:
        return _Machine(path).run(pickletools.genops(file))
    except UserError:
        raise
    except KeyError as error:
        raise UserError(
            f"path: {path} is damaged, or no file of tensors: its pickle cannot be read: it takes entry {error} of its "
            "memory, which it never put there."
        ) from None
    except Exception as error:  # whatever a damaged instruction stream leads to
        raise UserError(f"path: {path} is damaged: its pickle cannot be read: {_first_line(error)}.") from None


class _Machine:
    """The stack and the memory of one pickle."""

    def __init__(self, path):
        self.path, self.stack, self.outer, self.memo = path, [], [], {}

    def run(self, instructions):
        for count, (opcode, argument, _) in enumerate(instructions):
            if count > MOST_INSTRUCTIONS:
                raise UserError(f"path: {self.path} has a pickle of over {MOST_INSTRUCTIONS} instructions.")
            name = opcode.name
            if name == "STOP":
                return self.stack.pop()
            if name in _CONSTANTS:
                self.stack.append(argument)
            elif name in _VALUES:
                self.stack.append(_VALUES[name]())
            elif name in _STEPS:
                _STEPS[name](self, argument)
            else:
                raise UserError(
                    f"path: {self.path} holds a pickle that makes objects ({name}), which no state dict needs, so it "
                    "is not read. Save the state dict alone: torch.save(model.state_dict(), FILE)."
                )
        raise ValueError("it has no end")

    def close(self):
        """The values since the last mark."""
        values, self.stack = self.stack, self.outer.pop()
        return values

    def mark(self, _):
        self.outer.append(self.stack)
        self.stack = []

    def remember(self, key):
        self.memo[key] = self.stack[-1]

    def recall(self, key):
        self.stack.append(self.memo[key])

    def last_as_tuple(self, count):
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def close_dict(self, _):
        pairs = self.close()
        self.stack.append({})
        self.extend_dict(pairs)

    def extend_list(self, values):
        into = self.stack[-1]
        if not isinstance(into, list):
            raise ValueError("items of what is no list")
        into.extend(values)

    def extend_dict(self, pairs):
        into = self.stack[-1]
        if not isinstance(into, dict):
            raise ValueError("items of what is no dict")
        into.update(zip(pairs[::2], pairs[1::2], strict=True))

    def set_item(self, _):
        value, key = self.stack.pop(), self.stack.pop()
        self.extend_dict([key, value])

    def find(self, module, name):
        """What stands for a name. Raises: UserError: for one that is not in the list."""
        if module in ("torch", "torch.cuda") and name in _STORAGES:
            self.stack.append(_StorageType(_STORAGES[name]))
        elif module == "torch" and name in _DTYPES:
            self.stack.append(name)
        elif (module, name) in _CALLABLES:
            self.stack.append(_Name(module, name))
        else:
            raise UserError(
                f"path: {self.path} wants to use {module}.{name}, which no state dict needs, so nothing of it is read: "
                "a pickle can run any program. If you trust the file, take the tensors out with the library that wrote "
                "it: torch.save(model.state_dict(), FILE), or safetensors."
            )

    def find_on_stack(self, _):
        name, module = self.stack.pop(), self.stack.pop()
        self.find(str(module), str(name))

    def call(self, _):
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise ValueError("a call of what is no function")
        self.stack.append(_call(function, arguments))

    def build(self, _):
        """The attributes of an object: of a dict's, such as a state dict's versions, nothing is needed."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise ValueError("attributes of what is no dict")

    def persistent(self, _):
        kind, dtype, key, _, count, *view = self.stack.pop()
        if kind != "storage" or not isinstance(dtype, _StorageType):
            raise ValueError("a reference to what is no storage")
        first = 0
        if view and view[0] is not None:  # part of another, as PyTorch before 0.4 wrote it
            _, first, _ = view[0]
        self.stack.append(Storage(str(key), dtype.dtype, count, first))


def _call(function, arguments):
    if function.name == "OrderedDict":
        return dict(*arguments)
    if function.name == "Size":
        return tuple(*arguments)
    if function.name == "device":
        return str(arguments[0])
    if function.name == "_rebuild_parameter":
        return arguments[0]
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _first_line(error):
    return (str(error) or type(error).__name__).splitlines()[0][:200]


# Instructions that put their argument on the stack, those that put a value there, and the others.
_CONSTANTS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_VALUES = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
}
_STEPS = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "MARK": _Machine.mark,
    "POP": lambda machine, _: machine.stack.pop(),
    "TUPLE": lambda machine, _: (lambda values: machine.stack.append(tuple(values)))(machine.close()),
    "TUPLE1": lambda machine, _: machine.last_as_tuple(1),
    "TUPLE2": lambda machine, _: machine.last_as_tuple(2),
    "TUPLE3": lambda machine, _: machine.last_as_tuple(3),
    "LIST": lambda machine, _: (lambda values: machine.stack.append(values))(machine.close()),
    "DICT": _Machine.close_dict,
    "APPEND": lambda machine, _: machine.extend_list([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend_list(machine.close()),
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda machine, _: machine.extend_dict(machine.close()),
    "PUT": _Machine.remember,
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    "GET": _Machine.recall,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "GLOBAL": lambda machine, names: machine.find(*names.split(" ", 1)),
    "STACK_GLOBAL": _Machine.find_on_stack,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
}
