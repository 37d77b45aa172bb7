"""One artefact in a process of its own, which answers requests: a script, `python -I worker.py`.

A line of JSON comes in for each request and one goes out for each answer, `{"error": ..., "kind": ...}` for one that
cannot be answered. The package is imported for a `.keras` file alone: an artefact is measured as it serves, without it.
"""

import importlib.util
import json
import os
import pathlib
import sys
import time

KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
CYCLE = 64  # batches of the images that are timed in turn


class Worker:
    """What answers: `answer(do="open", ...)` first, then `load`, then the others."""

    def open(self, path, threads, search_path, blocked, standalone, keras=None):
        """Open the artefact at a path; what it is, and the seconds and memory of it. `absent`: without its runtime."""
        sys.path[:] = search_path
        spec = importlib.util.spec_from_file_location("standalone", standalone)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.is_keras = pathlib.Path(path).suffix in KERAS_SUFFIXES
        if self.is_keras:
            from dirac_keras.deployment.benchmarking.keras_runner import KerasRunner
        else:
            sys.meta_path.insert(0, module._Refuse(blocked))
            format = module.find_format(path)
            try:
                importlib.import_module(module.RUNTIMES[format])
            except ImportError as error:
                return {"absent": format, "reason": str(error)}
        before, start = memory_mib(), time.perf_counter()
        self.runner = KerasRunner(path, **(keras or {})) if self.is_keras else module.open_artefact(path, threads)
        return {
            "format": self.runner.format,
            "inputs": self.runner.inputs,
            "outputs": self.runner.outputs,
            "batch": self.runner.batch,
            "metadata": self.runner.metadata,
            "runtime": self.runner.runtime,
            "is_folded": getattr(self.runner, "is_folded", None),
            "open_seconds": time.perf_counter() - start,
            "memory_before_mib": before,
        }

    def load(self, images, mean=None, std=None):
        """The images, uint8 in a `.npy`; with a mean and a deviation the artefact is fed with real numbers."""
        import numpy as np

        self.images = np.load(images, mmap_mode="r")
        (self.name,) = self.runner.inputs
        self.scale = None if mean is None else (np.float32(mean), np.float32(std))
        return {}

    def _run(self, start, batch):
        import numpy as np

        images = self.images[start : start + batch]
        if self.scale is not None:
            images = (np.asarray(images, "float32") - self.scale[0]) / self.scale[1]
        return self.runner.run({self.name: np.ascontiguousarray(images)})

    def time(self, batch, calls, start=0):
        """Seconds of each of some runs of a batch, over the images in turn."""
        starts = range(0, max(len(self.images) - batch, 0) + 1, batch)[:CYCLE]
        seconds = []
        for call in range(start, start + calls):
            began = time.perf_counter()
            self._run(starts[call % len(starts)], batch)
            seconds.append(time.perf_counter() - began)
        return {"seconds": seconds}

    def predict(self, batch, output):
        """The outputs for all images, written to a `.npz`."""
        import numpy as np

        parts = [self._run(start, batch) for start in range(0, len(self.images), batch)]
        numeric = [name for name, value in parts[0].items() if value.dtype.kind in "fiu"]  # labels are texts
        np.savez(output, **{name: np.concatenate([part[name] for part in parts]) for name in numeric})
        return {}

    def memory(self):
        """The largest memory of this process so far, and which of the heavy packages it has imported."""
        known = {"dirac_keras", "keras", "tensorflow"}
        return {
            "peak_memory_mib": memory_mib(),
            "imported": sorted(known & {name.split(".")[0] for name in sys.modules}),
        }


def memory_mib():
    """Peak resident memory of this process, MiB; None where the system does not tell it."""
    try:
        with open("/proc/self/status", encoding="utf-8") as file:  # `ru_maxrss` holds the parent's, too
            return next(int(line.split()[1]) / 2**10 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main():
    """Answer until standard input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a runtime prints is no answer
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(worker, request.pop("do"))(**request)
        except Exception as error:
            reply = {"error": str(error) or type(error).__name__, "kind": type(error).__name__}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
