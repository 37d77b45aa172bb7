"""`python -m benchmarks.explanations RUN`: the pictures and numbers of docs/explanations.md.

RUN is a run on a data set. On the first test images of it that the network knows: the pictures of `docs/figures`, the
seconds an image of each method, how complete integrated gradients are, and how far the maps of the folded network are
from those of the trained one.
"""

import datetime
import pathlib
import time

import click
import keras
import numpy as np

import dirac_keras
from benchmarks.command import Benchmark
from dirac_keras.explanation import receptive_fields_by_depth
from dirac_keras.explanation.explaining import METHODS
from dirac_keras.explanation.pictures import draw_depth, draw_explanations, draw_fields, save_picture
from dirac_keras.training.folder.directory import machine
from pipelines import load_splits

SHOWN = 1  # of the images, in pictures


@click.command(cls=Benchmark)
@click.argument("run", type=click.Path(exists=True))
@click.option("--images", default=8, show_default=True)
@click.option("--steps", default=64, show_default=True)
@click.option("--picture-dpi", default=80, show_default=True)
@click.option("--output", default="docs/figures", show_default=True, type=click.Path(file_okay=False))
def main(run, images, steps, picture_dpi, output):
    """Explain test images of a RUN, measure it, and draw the pictures of the documentation."""
    output = pathlib.Path(output)
    model, metadata = dirac_keras.load_model(run, compiled=False)
    data = metadata["data"]
    splits = load_splits(data["name"], max_test=64, eval_batch_size=64, seed=metadata.get("seed", 0))
    fed, labels = (np.asarray(part) for part in next(iter(splits.test())))
    known = np.flatnonzero(model.predict(fed, verbose=0).argmax(axis=-1) == labels)[:images]
    fed = fed[known]
    pixels = np.clip(np.rint(fed * np.array(data["std"]) + np.array(data["mean"])), 0, 255).astype("uint8")
    folded, _ = dirac_keras.fold(model)
    black = -np.array(data["mean"]) / np.array(data["std"])
    options = {"integrated_gradients": {"steps": steps, "baseline": black}}
    print(f"{machine()}; {datetime.date.today()}; Keras on {keras.backend.backend()}; {model.name}, {len(fed)} images "
          f"of {data['name']}")  # fmt: skip
    found = []
    for method in METHODS:
        given = {"class_names": data["class_names"], **options.get(method, {})}
        dirac_keras.explain(model, fed[:1], method, **given)  # what the backend prepares once
        begin = time.perf_counter()
        found.append(dirac_keras.explain(model, fed, method, **given))
        seconds = (time.perf_counter() - begin) / len(fed)
        after = dirac_keras.explain(folded, fed, method, target=list(found[-1].targets), **given)
        gap = np.abs(after.maps - found[-1].maps).max() / np.abs(found[-1].maps).max()
        complete = ""
        if found[-1].gaps is not None:
            missed = [found[-1].incompleteness(index) for index in range(len(fed))]
            complete = f", incompleteness {np.median(missed):.1%} (median), {max(missed):.1%} (largest)"
        print(f"{method}: {seconds:.2f} s an image; folded: {gap:.1e} of the largest value away{complete}")
    for index in range(SHOWN):
        save_picture(draw_explanations(pixels[index], found, index), output / f"explain-{index + 1}.png", picture_dpi)
    fields = receptive_fields_by_depth(model, fed)
    for one in fields:
        print(f"{one.layer}: depth {one.depth}, sides {one.sides}, effective side {one.effective_side:.1f}")
    save_picture(draw_fields(pixels[0], fields), output / "explain-fields.png", picture_dpi)
    save_picture(draw_depth(fields), output / "explain-depth.png", picture_dpi)


if __name__ == "__main__":
    main()
