"""What the writers of integers have in common: kernels by layer, images in batches, a look at the integers written."""

import dataclasses
import tempfile

import keras
import numpy as np

from dirac_keras.deployment.formats.child import ChildError, run_child
from dirac_keras.deployment.formats.registry import FORMATS, INTEGER
from dirac_keras.deployment.quantization.grids import filter_scales, to_nearest
from dirac_keras.deployment.quantization.network import Network
from dirac_keras.errors import RunError
from dirac_keras.graph.inputs import fixed_batch
from dirac_keras.listing import listed

MOST_NUMBERS = 1 << 19  # of a batch of images: a quantizer may hold all tensors of a run
MOST_IMAGES = 32


def request_of(job, source, path):
    """What a `quantize_*.py` script is asked.

    Args:
        job: `Job` of integers; its model's kernels are on the grid.
        source, path: of the float and the integer artefact.
    """
    network = Network(job.model)
    kept = set(job.quantization.kept) if job.quantization is not None else set()
    kernels = {name: keras.ops.convert_to_numpy(layer.kernel) for name, layer in network.layers.items()}
    batch = job.batch or fixed_batch(job.model)
    batch = batch or int(np.clip(MOST_NUMBERS // job.pixels[0].size, 1, min(MOST_IMAGES, len(job.pixels))))
    count = -(-len(job.pixels) // batch) * batch  # the first ones again fill the last batch
    return {
        "source": str(source),
        "path": str(path),
        "pixels": job.pixels[np.arange(count) % len(job.pixels)],
        "batch": batch,
        "weight_bits": INTEGER[job.precision],
        "kept": {name: kernel for name, kernel in kernels.items() if name in kept},
        "quantized": {name: kernel for name, kernel in kernels.items() if name not in kept},
        "identity": {name: _diagonal(kernels[name]) for name in getattr(job.quantization, "identity_in_float", ())},
    }


def _diagonal(kernel):
    """The identity taps of a convolution, one a filter."""
    return np.diagonal(kernel[tuple(side // 2 for side in kernel.shape[:-2])]).copy()


def write_by_way_of_float(job, path, write, script, who):
    """Write a job's integer artefact from its float32 one; returns notes.

    Args:
        job: `Job`.
        path: of the artefact.
        write: function `(job, path)` that writes the float32 artefact.
        script, who: as `quantize_in_child` takes them.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = f"{folder}/float32{FORMATS[job.format].suffix}"
        write(dataclasses.replace(job, precision="float32"), source)
        return quantize_in_child(job, script, request_of(job, source, path), who)


def quantize_in_child(job, script, request, who):
    """Run a script; returns notes: layers whose integers the artefact does not hold as they were rounded.

    Args:
        job: `Job`.
        script: path of `quantize_*.py`.
        request: dict of `request_of`.
        who: text, the library that quantizes.
    """
    try:
        integers = run_child(script, request)["integers"]
    except ChildError as error:
        if error.kind == "LostKernels":
            raise RunError(
                f"{who} cannot find the kernels of {listed(error.arguments[0], 5)} in the converted graph, where they "
                "should stay as they are: another operation went into them. Nothing was written."
            ) from None
        raise RunError(f"{who} cannot quantize the model: {error}. Nothing was written.") from None
    lost = differing(job.model, request["quantized"], request["weight_bits"], integers, request["identity"])
    if not lost:
        return []
    return [f"{who} stores other integers than the kernels were rounded to, in {listed(lost, 5)}"]


def differing(model, kernels, bits, integers, identity=()):
    """Paths of layers whose kernel is not among the sorted integers of an artefact; an identity in float is 0 there."""
    network, lost = Network(model), []
    for path, kernel in kernels.items():
        if path in identity:
            kernel, diagonal = kernel.copy(), np.arange(len(identity[path]))
            kernel[(*(side // 2 for side in kernel.shape[:-2]), diagonal, diagonal)] = 0
        matrices = network.taps(path).matrices(kernel)
        if matrices.shape[-1] == 1:  # one weight a filter, which any grid holds
            continue
        expected = [to_nearest(matrix, filter_scales(matrix, bits), bits) for matrix in matrices]
        expected = np.sort(np.stack(expected).astype("int8"), axis=None)
        if not any(np.array_equal(expected, found) for found in integers):
            lost.append(path)
    return lost
