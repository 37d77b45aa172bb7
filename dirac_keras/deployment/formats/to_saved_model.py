"""A network as a SavedModel with one signature: what every converter reads."""

import pathlib
import tempfile

import keras

from dirac_keras.deployment.formats.child import ChildError, run_child
from dirac_keras.deployment.formats.tensorflow import import_tensorflow, quiet_tensorflow
from dirac_keras.errors import UserError
from dirac_keras.graph.inputs import fixed_batch, input_specs

LOAD_SCRIPT = pathlib.Path(__file__).with_name("load_keras.py")


def write_job(job, folder):
    """Write what a float artefact is converted from, with the preprocessing inside where there are images.

    Args:
        job: `Job`.
        folder: path of the SavedModel.
    """
    if job.spec is not None:
        return write_saved_model(job.served(), folder, job.batch or fixed_batch(job.model), job.format)
    return write_saved_model(job.model, folder, job.batch, job.format)


def write_saved_model(model, folder, batch=None, format="onnx"):
    """Write a network as it is, from TensorFlow, or from JAX by way of its file.

    Args:
        model: `keras.Model`.
        folder: path of the SavedModel; its signature is `serving_default`, outputs without a name are `output_0`, ...
        batch: int, the samples that it takes at once; None: as the model has it.
        format: name of what it is converted to, for errors.

    Raises: ValueError: if the backend is JAX and TensorFlow cannot take over the model, or is absent.
    """
    specs = keras.tree.map_structure(lambda spec: with_batch(spec, batch), input_specs(model))
    tf = import_tensorflow(format)
    if keras.backend.backend() == "tensorflow":
        return _write_here(tf, model, folder, specs)
    with tempfile.TemporaryDirectory() as temporary:
        file = f"{temporary}/network.keras"
        try:
            model.save(file)
            run_child(LOAD_SCRIPT, {"model": file, "folder": str(folder), "batch": batch})
        except ChildError as error:
            raise UserError(
                f"model: Keras on {keras.backend.backend()} has no converter to {format}, and TensorFlow cannot "
                f'read the model: {error}. Export where KERAS_BACKEND=tensorflow, or with `format="saved_model"`.'
            ) from None


def _write_here(tf, model, folder, specs):
    archive = keras.export.ExportArchive()
    archive.track(model)

    def serve(inputs):
        return model(inputs, training=False)  # layers that augment images take silence for training

    archive.add_endpoint("serve", serve, [specs])
    with quiet_tensorflow(tf):
        archive.write_out(str(folder), verbose=False)


def with_batch(spec, batch):
    """A `keras.InputSpec` with the batch fixed to a number, unless that is None."""
    return spec if batch is None else keras.InputSpec(shape=(batch, *spec.shape[1:]), dtype=spec.dtype, name=spec.name)


def find_nodes(folder, operations):
    """Names of the nodes of some types of operations in a SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString(pathlib.Path(folder, "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return [node.name for node in nodes if node.op in operations]
