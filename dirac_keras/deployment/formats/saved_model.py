"""TensorFlow's SavedModel, with signatures for images and their labels where the preprocessing is known."""

import json
import pathlib
import tempfile

import keras

from dirac_keras.deployment.feeding import input_type
from dirac_keras.deployment.formats.tensorflow import import_tensorflow, quiet_tensorflow
from dirac_keras.deployment.formats.to_saved_model import with_batch
from dirac_keras.deployment.image_spec import FILE_CHANNELS, LABELS_FILE
from dirac_keras.deployment.verification import verify_saved_model
from dirac_keras.files.keras_file import METADATA_MEMBER
from dirac_keras.graph.functional import has_graph
from dirac_keras.graph.inputs import fixed_batch, input_specs
from dirac_keras.graph.trace import trace
from dirac_keras.listing import listed


def check(job):
    """Raise unless TensorFlow is there."""
    import_tensorflow("saved_model")


def write(job, folder):
    """Write a job to `folder` and compare it, unless `job.verify` is false; returns notes.

    `job.options` gets `signatures`, and `difference`, the largest one or None.
    """
    model, image_spec, head = job.model, job.spec, job.head
    tf = import_tensorflow("saved_model")
    batch = job.batch or fixed_batch(model)
    notes = _notes(model)
    archive = keras.export.ExportArchive()
    archive.track(model)
    specs = keras.tree.map_structure(lambda spec: with_batch(spec, job.batch), input_specs(model))

    def infer(inputs):
        return model(inputs, training=False)  # layers that augment images take silence for training

    serve = archive.add_endpoint("serve", infer, [specs])
    # The folder of the label file has to outlive write_out: TensorFlow copies assets as it saves.
    with quiet_tensorflow(tf), tempfile.TemporaryDirectory() as assets:
        if image_spec is not None:
            _add_image_endpoints(archive, serve, job, batch, pathlib.Path(assets), notes)
        archive.write_out(str(folder), verbose=False)
    job.options["signatures"] = signatures = _read_signatures(folder)
    job.options["difference"] = None
    if job.verify:
        job.options["difference"] = verify_saved_model(
            model, folder, image_spec, head, specs, signatures, notes, batch, job.pixels
        )
    return notes


def describe(job, folder):
    """Write the metadata of the model's file beside the graph, which has the labels."""
    if job.metadata:
        (folder / METADATA_MEMBER).write_text(json.dumps(job.metadata, indent=2) + "\n", encoding="utf-8")


def _add_image_endpoints(archive, serve, job, batch, assets, notes):
    import tensorflow as tf

    model, spec, head = job.model, job.spec, job.head
    (assets / LABELS_FILE).write_text("".join(f"{name}\n" for name in spec.label_lines()), encoding="utf-8")
    # ExportArchive carries a file into assets/ only with a table that reads it; this one serves the labels.
    labels = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(assets / LABELS_FILE),
            key_dtype=tf.int64,
            key_index=tf.lookup.TextFileIndex.LINE_NUMBER,
            value_dtype=tf.string,
            value_index=tf.lookup.TextFileIndex.WHOLE_LINE,
        ),
        default_value="",
    )
    archive.track(labels)
    channels, dtype = spec.image_shape[-1], input_type(model)

    def classify(images):
        images = tf.cast(images if "float" in dtype else tf.round(images), dtype)
        outputs = tf.cast(keras.tree.flatten(serve(images))[0], tf.float32)
        if head.gives == "values":
            return {"values": outputs, "name": labels.lookup(tf.range(head.units, dtype=tf.int64))}
        if head.task == "labels":
            probabilities = outputs if head.gives == "probabilities" else tf.sigmoid(outputs)
        elif head.is_binary:
            second = outputs if head.gives == "probabilities" else tf.sigmoid(outputs)
            probabilities = tf.concat([1.0 - second, second], axis=-1)
        else:
            probabilities = outputs if head.gives == "probabilities" else tf.nn.softmax(outputs)
        result = {"probabilities": probabilities, "label": labels.lookup(tf.argmax(probabilities, axis=-1))}
        return result if head.gives == "probabilities" else {"logits": outputs, **result}

    def serving_default(images):
        return classify(images)

    def serving_uint8(images):
        return classify(spec.normalize(spec.view(images)))

    def serving_bytes(image_bytes):
        images = tf.map_fn(spec.decode, image_bytes, fn_output_signature=tf.TensorSpec(spec.image_shape, tf.uint8))
        return classify(spec.normalize(images))

    endpoints = {
        serving_default: tf.TensorSpec((batch, *spec.image_shape), tf.float32, "images"),
        serving_uint8: tf.TensorSpec((batch, None, None, channels), tf.uint8, "images"),
        serving_bytes: tf.TensorSpec((batch,), tf.string, "image_bytes"),
    }
    if channels not in FILE_CHANNELS:
        del endpoints[serving_bytes]
        notes.append(f"no serving_bytes: image files are read in 1 or 3 channels, the model {channels}")
    for function, signature in endpoints.items():
        endpoint = tf.function(function, input_signature=[signature], autograph=False)
        endpoint.get_concrete_function()  # a traced function is taken as it is, whatever the backend
        archive.add_endpoint(function.__name__, endpoint)


def _notes(model):
    """What of the model stays with it when it serves."""
    notes = []
    if fixed_batch(model):
        notes.append(f"the model fixes its batch: every signature takes {fixed_batch(model)} samples at once")
    ignored = [
        call.path
        for call in (trace(model).calls if has_graph(model) else ())
        if call.training and any(name in type(call.operation).__name__ for name in ("Dropout", "Noise", "BatchNorm"))
    ]
    if ignored:
        notes.append(f"called with training=True, but serves as in model.predict: {listed(ignored, 5)}")
    return notes


def _read_signatures(folder):
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.dtypes import as_dtype

    def describe(tensor):
        sides = ["None" if side.size < 0 else str(side.size) for side in tensor.tensor_shape.dim]
        return f"{as_dtype(tensor.dtype).name} ({', '.join(sides)})"

    def describe_all(tensors):
        return {name: describe(tensor) for name, tensor in sorted(tensors.items())}

    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return {
        name: {"inputs": describe_all(signature.inputs), "outputs": describe_all(signature.outputs)}
        for name, signature in sorted(saved.meta_graphs[0].signature_def.items())
        if not name.startswith("__")
    }
