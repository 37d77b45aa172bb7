"""How the skips of a trained VAN went, and the plain network that remains."""

import numpy as np

from dirac_keras.callbacks import plots
from dirac_keras.experiments.data import splits_of_run
from dirac_keras.experiments.report import errors
from dirac_keras.files.keras_file import load_model
from dirac_keras.files.tables import read_table
from dirac_keras.folding import assert_plain, fold
from dirac_keras.graph.casting import to_dtype
from dirac_keras.phase_out import seal_skips
from dirac_keras.precision import has_float64

GONE = 1e-3  # of the mean residual


def removal(experiment, results, folder):
    """A report: the residual by step, and the trained network sealed, folded, proven plain and compared."""
    lines = []
    for run, directory in results:
        model, _ = load_model(directory.model)
        lines.append(f"{run.title}: test error {errors(directory)['test_error']:.2f} %.")
        gone = next((row["step"] for row in read_table(directory.skips) if row["residual"] < GONE), None)
        lines.append(
            f"The mean residual of the skips falls below {GONE:g} "
            + (f"at step {gone:.0f}." if gone is not None else "at no step.")
        )
        path = folder / f"{experiment.name}-{run.name}.png"
        plots.plot_skips(read_table(directory.skips), path)
        lines += [*_folded_lines(model, _test_images(directory)), f"picture: {path}"]
    return lines


def _folded_lines(model, images):
    try:
        seal_skips(model)  # is sealed already unless training ended with a skip left
    except ValueError as error:
        return [f"Not sealed: {error}"]
    folded, _ = fold(model, verify=False)
    assert_plain(folded)
    counted = (
        f"Sealed and folded: {len(folded.layers)} layers of {len(model.layers)}, no addition left (`assert_plain`)."
    )
    if not has_float64():
        outputs = [network.predict(images, verbose=0) for network in (model, folded)]
        apart = np.max(np.abs(outputs[1] - outputs[0])) / np.max(np.abs(outputs[0]))
        return [
            f"{counted} Largest difference of the outputs on {len(images)} test images, relative to the largest "
            f"output: {apart:.1e} in float32; how much of it is rounding only TensorFlow can tell, which has float64.",
        ]
    exact = to_dtype(model, "float64")
    exactly_folded, _ = fold(exact, verify=False)
    truth, model_outputs, folded_outputs, exact_outputs = (
        network.predict(images, verbose=0) for network in (exact, model, folded, exactly_folded)
    )

    def difference(first, second):
        return f"{np.max(np.abs(first - second)) / np.max(np.abs(truth)):.1e}"

    return [
        f"{counted} Largest difference of the outputs on {len(images)} test images, relative to the largest output: "
        f"{difference(folded_outputs, model_outputs)} in float32, {difference(exact_outputs, truth)} in float64. "
        f"From the float64 outputs the unfolded network's are {difference(model_outputs, truth)} away in float32, "
        f"the folded one's {difference(folded_outputs, truth)}: rounding, not folding.",
    ]


def _test_images(directory, limit=2000):
    batches = [np.asarray(images) for images, _ in splits_of_run(directory).test()]
    return np.concatenate(batches)[:limit]
