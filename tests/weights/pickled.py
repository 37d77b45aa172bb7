"""Files of PyTorch, put together instruction by instruction: what no library would write."""

import io
import struct
import zipfile


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value):
    return b"\x8a\x08" + struct.pack("<q", value)


def name(module, what):
    return f"c{module}\n{what}\n".encode()


def row(*values):
    """A tuple."""
    return b"(" + b"".join(values) + b"t"


def call(function, *arguments):
    return function + row(*arguments) + b"R"


def storage(key="0", count=4, kind="FloatStorage"):
    return row(text("storage"), name("torch", kind), text(key), text("cpu"), number(count)) + b"Q"


def tensor(shape, strides, offset=0, count=4, key="0"):
    sizes = (row(*map(number, values)) for values in (shape, strides))
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    return call(rebuild, storage(key, count), number(offset), *sizes, b"\x89", call(name("collections", "OrderedDict")))


def mapping(**entries):
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def program(value):
    return b"\x80\x02" + value + b"."


def archive(value, storages=None, compression=zipfile.ZIP_STORED, root="archive/"):
    """The bytes of a zip file of PyTorch.

    Args:
        value: instructions of the value.
        storages: dict, key -> bytes; None: four numbers of 4 bytes under "0".
    """
    storages = {"0": bytes(16)} if storages is None else storages
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as zipped:
        zipped.writestr(f"{root}data.pkl", program(value))
        for key, data in storages.items():
            zipped.writestr(f"{root}data/{key}", data)
    return file.getvalue()


MAGIC = b"\x80\x02\x8a\n" + 0x1950A86A20F9469CFC6C.to_bytes(10, "little") + b"."


def legacy(value, count=4, data=bytes(16), key="0"):
    """The bytes of a file of PyTorch before 1.6, of one storage."""
    system = program(mapping(little_endian=b"\x88"))
    keys = program(b"](" + text(key) + b"e")
    return MAGIC + program(number(1001)) + system + program(value) + keys + struct.pack("<q", count) + data
