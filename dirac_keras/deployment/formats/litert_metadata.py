"""The metadata of a `.tflite` file: a flatbuffer inside it, and files associated with it, as a zip at its end.

The schema is TensorFlow Lite Support's metadata_schema.fbs, 1.1.0; a table's fields are numbered in its order. Its own
writer is kept no more.
"""

import json
import pathlib
import zipfile

from dirac_keras.files.keras_zip import METADATA_MEMBER

METADATA_NAME = "TFLITE_METADATA"
LABELS_FILE = "labels.txt"
_AXIS_LABELS, _DESCRIPTIONS = 2, 1  # AssociatedFileType
_IMAGE, _NORMALIZATION = 2, 1  # of the unions ContentProperties, ProcessUnitOptions
_COLOR_SPACES = {"RGB": 1, "grey": 2}
_ALIGNMENT = 16  # of a buffer's data, as the schema of the model asks for


def write_metadata(path, facts):
    """Add metadata, labels and facts to a file.

    Args:
        path: of the `.tflite` file.
        facts: dict, `Job.facts()`.
    """
    from ai_edge_litert import schema_py_generated as schema

    path = pathlib.Path(path)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    names = {side: _names(model, side) for side in ("inputs", "outputs")}
    content = schema.BufferT()
    content.data = build_metadata(facts, names["inputs"], names["outputs"])
    model.buffers.append(content)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers) - 1
    model.metadata = [*(model.metadata or ()), entry]
    path.write_bytes(_packed(model, schema))
    files = {METADATA_MEMBER: json.dumps(facts, indent=2, ensure_ascii=False) + "\n"}
    if "labels" in facts:
        files[LABELS_FILE] = "".join(f"{label}\n" for label in facts["labels"])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:  # readers on a phone map them as they are
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), text)


def build_metadata(facts, inputs, outputs):
    """The flatbuffer `ModelMetadata`, bytes.

    The normalization that it names is what is left to do outside the graph: none, as it is inside. Mean and deviation
    stand in the description and in the associated JSON.

    Args:
        facts: dict, `Job.facts()`.
        inputs, outputs: lists of names of tensors, in the model's order.
    """
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    tables = _Tables(builder)
    has_images = "image_shape" in facts
    labels = [(LABELS_FILE, "Names of the classes, one a line.", _AXIS_LABELS)] if has_images else []
    taken = [tables.image(name, facts) if has_images else tables.tensor(name, "") for name in inputs]
    about = {"logits": "Logits of the classes.", "probabilities": "Probabilities of the classes."}
    given = [tables.tensor(name, about.get(name, ""), files=labels) for name in outputs]
    subgraph = tables.table(5, {2: tables.tables(taken), 3: tables.tables(given)})
    facts_file = tables.file(METADATA_MEMBER, "All that is known of the model, as JSON.", _DESCRIPTIONS)
    fields = {
        0: tables.text(facts["name"]),
        1: tables.text(_describe(facts)),
        2: tables.text(facts["version"]),
        3: tables.tables([subgraph]),
        6: tables.tables([facts_file]),
        7: tables.text("1.0.0"),
    }
    builder.Finish(tables.table(8, fields), file_identifier=b"M001")
    return bytes(builder.Output())


class _Tables:
    """Tables of a flatbuffer by the numbers of their fields."""

    def __init__(self, builder):
        self.builder = builder

    def text(self, value):
        return self.builder.CreateString(value)

    def table(self, fields, offsets=None, numbers=None):
        """`offsets`: field -> offset; `numbers`: field -> `(slot function's name, value)`."""
        self.builder.StartObject(fields)
        for field, offset in (offsets or {}).items():
            self.builder.PrependUOffsetTRelativeSlot(field, offset, 0)
        for field, (kind, value) in (numbers or {}).items():
            getattr(self.builder, f"Prepend{kind}Slot")(field, value, 0)
        return self.builder.EndObject()

    def tables(self, offsets):
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()

    def floats(self, values):
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependFloat32(value)
        return self.builder.EndVector()

    def file(self, name, description, kind):
        return self.table(4, {0: self.text(name), 1: self.text(description)}, {2: ("Int8", kind)})

    def tensor(self, name, description, extra=None, files=()):
        offsets = {0: self.text(name), 1: self.text(description), **(extra or {})}
        if files:
            offsets[6] = self.tables([self.file(*file) for file in files])
        return self.table(7, offsets)

    def image(self, name, facts):
        height, width, channels = facts["image_shape"]
        size = self.table(2, numbers={0: ("Uint32", width), 1: ("Uint32", height)})
        image = self.table(2, {1: size}, {0: ("Int8", _COLOR_SPACES.get(facts["color"], 0))})
        content = self.table(3, {1: image}, {0: ("Uint8", _IMAGE)})
        normalization = self.table(2, {0: self.floats([0.0] * channels), 1: self.floats([1.0] * channels)})
        unit = self.table(2, {1: normalization}, {0: ("Uint8", _NORMALIZATION)})
        stats = self.table(2, {0: self.floats([255.0] * channels), 1: self.floats([0.0] * channels)})
        description = (
            f"Pixels, 0 to 255, {facts['color']}, {height}x{width}. Of an image of another size: "
            f"{facts['resize_rule']}."
        )
        return self.tensor(name, description, {3: content, 4: self.tables([unit]), 5: stats})


def _describe(facts):
    if "image_shape" not in facts:
        return f"{facts['name']}, {facts['precision']}."
    return (
        f"Classifier of images with {len(facts['labels'])} classes, {facts['precision']}. The preprocessing is inside: "
        f"(pixel - mean) / deviation, mean {facts['mean']}, deviation {facts['std']}."
    )


def _names(model, side):
    """Names of the tensors of the first subgraph: the signature's, where there is one."""
    subgraph = model.subgraphs[0]
    named = {}
    for signature in model.signatureDefs or ():
        for tensor in getattr(signature, side):
            named.setdefault(tensor.tensorIndex, _as_text(tensor.name))
    return [named.get(index, _as_text(subgraph.tensors[index].name)) for index in getattr(subgraph, side)]


def _as_text(name):
    return name.decode() if isinstance(name, bytes) else name


def _packed(model, schema):
    """Bytes of a model. The generated code would not align the data of its buffers."""
    import flatbuffers

    class Aligned(schema.BufferT):
        def Pack(self, builder):
            data = None
            if self.data is not None and len(self.data):
                content = bytes(memoryview(self.data))
                builder.StartVector(1, len(content), _ALIGNMENT)
                builder.head = builder.Head() - len(content)
                builder.Bytes[builder.Head() : builder.Head() + len(content)] = content
                data = builder.EndVector()
            schema.BufferStart(builder)
            if data is not None:
                schema.BufferAddData(builder, data)
            return schema.BufferEnd(builder)

    for buffer in model.buffers:
        buffer.__class__ = Aligned
    builder = flatbuffers.Builder(sum(len(b.data) for b in model.buffers if b.data is not None) + (1 << 16))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
