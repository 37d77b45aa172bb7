"""TensorFlow's convolutions by oneDNN on x86 processors. Imports nothing that takes time."""

import os
import platform


def prefer_onednn():
    """Have TensorFlow, when it is imported, use oneDNN on any x86 processor, unless the user has chosen.

    By itself it does so only where there are AVX512-VNNI, AVX-VNNI or AMX; on other processors a training step of
    convolutions takes twice as long by what it has beside it (`python -m benchmarks.onednn`).
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
