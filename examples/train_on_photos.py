"""Train on a folder of photos, fold the network and serve it.

You need a folder with one sub-folder per class, `photos/cats/1.jpg`, `photos/dogs/7.png`, ... In this example you learn

- how the folder becomes training, validation and test data,
- how a run is configured, and resumed when you start the script again,
- what the exported network takes and gives: image files in, labels out, without this package.

    python examples/train_on_photos.py photos --epochs 30
"""

import argparse
import pathlib

import tensorflow as tf

from dirac_keras import TrainConfig, export, fold
from dirac_keras.training import train
from pipelines import load_splits

parser = argparse.ArgumentParser()
parser.add_argument("photos", help="folder with one sub-folder per class")
parser.add_argument("--workdir", default="runs/photos", type=pathlib.Path)
parser.add_argument("--epochs", default=30, type=int)
parser.add_argument("--image-size", default=32, type=int, help="side in pixels that the photos are scaled to")
parser.add_argument("--depth", default=16, type=int, help="10, 16, 22, 28, ...")
parser.add_argument("--width", default=1.0, type=float, help="factor on the channels")
options = parser.parse_args()

# The configuration decides the result of a run: data, network, training. What is left out has a default.
config = TrainConfig(
    data=f"folder:{options.photos}",
    image_size=options.image_size,
    validation=0.1,
    depth=options.depth,
    width=options.width,
    epochs=options.epochs,
    batch_size=32,
)
splits = load_splits(**config.data_arguments())
print(f"{splits.spec.num_train} photos to train on, classes: {', '.join(splits.spec.class_names)}")

# Interrupt the training at any time: the same command resumes it from its last checkpoint.
result = train(config, splits, options.workdir)
print(f"test accuracy {result.summary['test_accuracy']:.1%}")

# The folded network is a plain chain. With the facts about the data, the export decodes and scales images itself.
plain, _ = fold(result.model)
served = options.workdir / "served"
print(export(plain, served, metadata={"data": splits.spec.to_dict()}, overwrite=True))

# What a server does: TensorFlow alone loads the artefact and answers for the bytes of image files.
photos = sorted(path for path in pathlib.Path(options.photos).rglob("*") if path.suffix in (".jpg", ".png"))[:3]
answers = tf.saved_model.load(served).signatures["serving_bytes"](tf.constant([photo.read_bytes() for photo in photos]))
for photo, label, row in zip(photos, answers["label"].numpy(), answers["probabilities"].numpy(), strict=True):
    print(f"{photo}: {label.decode()} ({row.max():.0%})")
