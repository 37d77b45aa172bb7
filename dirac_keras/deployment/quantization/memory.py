"""What `quantize` made once, for further calls with the same network and images: other formats, another budget."""

import hashlib

import numpy as np


class Memory:
    """Given to several calls of `quantize`, it saves them what an earlier one has rounded.

    The formats of one network differ little in what they ask: ONNX and OpenVINO the same, LiteRT rounded logits
    besides. What is remembered is what the call would have made, number for number. Another network, other images or
    labels are noticed, by every number of theirs, and what was known is forgotten. Each way to round that was tried
    is held, as many bytes as the network has in float32.

    ```python
    memory = Memory()
    for format in ("onnx", "litert", "openvino"):
        export(model, f"net-{format}", format, precision="int8", calibration=images, quantization={"memory": memory})
    ```
    """

    def __init__(self):
        self._subject, self._known = None, {}

    def about(self, model, calibration):
        """Forget all if this is not of the same model, images and labels."""
        subject = model, digest(*model.get_weights(), calibration.images, calibration.labels)
        if self._subject is None or self._subject[0] is not subject[0] or self._subject[1] != subject[1]:
            self._subject, self._known = subject, {}

    def once(self, key, make):
        """What `make()` gives, or gave for the same key before."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]


class NoMemory:
    """In place of a `Memory`: holds nothing."""

    def once(self, key, make):
        return make()


def digest(*arrays):
    """Bytes that tell arrays apart by shape, kind and every number; None counts as well."""
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        if array is None:
            found.update(b"none")
            continue
        array = np.ascontiguousarray(array)
        found.update(f"{array.shape}{array.dtype.str}".encode())
        found.update(array.data.cast("B") if array.size else b"")
    return found.digest()
