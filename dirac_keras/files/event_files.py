"""Event files of TensorBoard: scalars, histograms and pictures, as the `tensorboard` package reads and encodes them.

TensorFlow is not needed and not imported, whatever the backend: `tensorboard` makes the same messages that
`tf.summary` makes. Only the file is opened here, so that what the system refuses is an error at once, not in a thread.
"""

import contextlib
import itertools
import os
import socket
import time

from dirac_keras.errors import UserError

_NUMBERS = itertools.count()  # of the files of this process


class EventWriter:
    """Writes one event file; what was written is on disk after `flush`.

    Args:
        folder: where TensorBoard looks for it, made if absent; or a URL that TensorBoard's own file layer knows, such
            as `gs://bucket/run`.

    Raises: ValueError: here and in every method, if the file cannot be written, with the system's reason. ImportError:
        without the package `tensorboard`.
    """

    def __init__(self, folder):
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.folder = str(folder)
        self._message = event_pb2.Event
        # The form of name that TensorBoard looks for; no two of one second are the same file.
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}.{next(_NUMBERS)}"
        self._records = None
        with self._naming_reason():
            self._records = RecordWriter(_open(self.folder, name))
        self._add(file_version="brain.Event:2")
        self.flush()

    def scalar(self, name, value, step):
        """A number, kept in float32."""
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        self.summary(scalar_pb(name, float(value)), step)

    def histogram(self, name, values, step):
        """The distribution of an array of finite numbers, in TensorBoard's 30 intervals."""
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb

        self.summary(histogram_pb(name, values), step)

    def picture(self, name, png, step):
        """A picture, from the bytes of its PNG file."""
        from tensorboard.compat.proto import summary_pb2
        from tensorboard.plugins.image import metadata
        from tensorboard.util.tensor_util import make_tensor_proto

        # Width and height as text, then the file: what tf.summary.image makes. They stand at the front of every PNG.
        width, height = (str(int.from_bytes(png[at : at + 4], "big")).encode() for at in (16, 20))
        summary = summary_pb2.Summary()
        summary.value.add(
            tag=name,
            tensor=make_tensor_proto([width, height, png]),
            metadata=metadata.create_summary_metadata(display_name=None, description=None),
        )
        self.summary(summary, step)

    def summary(self, summary, step):
        """A message `Summary` of `tensorboard.compat.proto`."""
        self._add(step=int(step), summary=summary)

    def flush(self):
        """Bring what was written to the file."""
        with self._naming_reason():
            self._records.flush()

    def close(self):
        """The end of the file; after it nothing can be written."""
        with self._naming_reason():
            self._records.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _add(self, **fields):
        event = self._message(wall_time=time.time(), **fields)
        with self._naming_reason():
            self._records.write(event.SerializeToString())

    @contextlib.contextmanager
    def _naming_reason(self):
        """Within, an error of the system becomes one with the folder and the reason: a full disk."""
        try:
            yield
        except OSError as error:
            if self._records is not None:
                with contextlib.suppress(OSError):
                    self._records.close()
            raise UserError(f"path: {self.folder} cannot be written: {error.strerror or error}.") from error


def _open(folder, name):
    if "://" in folder:
        from tensorboard.compat import tf  # TensorFlow's file systems where it is installed, else fsspec's

        tf.io.gfile.makedirs(folder)
        return tf.io.gfile.GFile(f"{folder}/{name}", "wb")
    os.makedirs(folder, exist_ok=True)
    return open(os.path.join(folder, name), "wb")
