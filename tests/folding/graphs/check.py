"""What becomes of a graph when it is folded: the outcome, judged without the verification of `fold` itself."""

import pathlib
import tempfile
from dataclasses import dataclass, field

import keras
import numpy as np

from dirac_keras.errors import RunError, UserError
from dirac_keras.folding import fold
from dirac_keras.graph.trace import trace

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
TIGHT = {"float64": 1e-10, "float32": 1e-4}  # of the output's scale; beyond it, and in half precision, the twin judges


@dataclass
class Outcome:
    """Failures by kind, each with a line of text; what else there is to tell."""

    failures: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)
    report: object = None
    folded: object = None

    @property
    def kinds(self):
        """What to count: the failures, or `ok`, or with what reserve it is that."""
        return list(self.failures) or list(self.notes)[:1] or ["ok"]


def check(graph, with_export=False):
    """Folds a graph in every way and holds the results against the original.

    Kinds of failure: `wrong`, `crash`, `refused`, `false alarm`, `other structure`, `changed original`, `unlisted`, and
    `not savable`, `not cloned`, `no config`, `not exported`, `not folded again`, `folds further`.
    """
    outcome = Outcome()
    try:
        inputs = graph.inputs()
        expected = run(graph.model, inputs)
        again = run(graph.model, inputs)
    except Exception as error:  # whatever Keras has against a random graph
        outcome.notes["the original does not run"] = _line(error)
        return outcome
    if not all(np.isfinite(x).all() for x in expected) or any(
        not np.array_equal(x, y) for x, y in zip(expected, again, strict=True)
    ):
        outcome.notes["the original is not finite or not reproducible"] = None
        return outcome
    weights = [np.array(keras.ops.convert_to_numpy(x)) for x in graph.model.variables]
    if not _fold(graph, outcome):
        return outcome
    _compare(graph, outcome, inputs, expected)
    changed = any(
        not np.array_equal(x, keras.ops.convert_to_numpy(y))
        for x, y in zip(weights, graph.model.variables, strict=True)
    )
    if changed:
        outcome.failures["changed original"] = ""
    if (unlisted := _unlisted(outcome)) > 0:
        outcome.failures["unlisted"] = f"{unlisted} normalizations are left and not in the report"
    _carry_on(graph, outcome, inputs, with_export)
    return outcome


def run(model, inputs):
    """The outputs in float64."""
    outputs = keras.tree.flatten(model(inputs, training=False))
    return [keras.ops.convert_to_numpy(output).astype("float64") for output in outputs]


def difference(expected, actual):
    """The largest difference, relative to each output's largest number."""
    if [x.shape for x in expected] != [y.shape for y in actual]:
        return np.inf
    return max(
        float(np.abs(x - y).max() / max(np.abs(x).max(), 1e-30)) if np.isfinite(y).all() else np.inf
        for x, y in zip(expected, actual, strict=True)
    )


def _fold(graph, outcome):
    alarm = None
    try:
        outcome.folded, outcome.report = fold(graph.model)
        if outcome.report.max_abs_difference is None:
            outcome.notes["ok, not verified by fold"] = outcome.report.note
        return True
    except RunError as error:
        alarm = error
    except UserError as error:
        outcome.failures["refused"] = _line(error)
        return False
    except Exception as error:
        outcome.failures["crash"] = _line(error)
        return False
    outcome.failures["false alarm"] = _line(alarm)
    outcome.folded, outcome.report = fold(graph.model, verify=False)
    return True


def _compare(graph, outcome, inputs, expected):
    try:
        actual = run(outcome.folded, inputs)
    except Exception as error:
        outcome.failures["wrong"] = f"does not run: {_line(error)}"
        return
    outputs = keras.tree.flatten(graph.model.outputs), keras.tree.flatten(outcome.folded.outputs)
    if [x.dtype for x in outputs[0]] != [y.dtype for y in outputs[1]]:
        outcome.failures["other structure"] = f"{[x.dtype for x in outputs[0]]} became {[y.dtype for y in outputs[1]]}"
    same_names = getattr(graph.model, "output_names", None) == getattr(outcome.folded, "output_names", None)
    if not same_names or not _same_structure(graph.model, outcome.folded):
        outcome.failures["other structure"] = "names or structure of inputs or outputs"
    distance = difference(expected, actual)
    if distance > TIGHT.get(graph.policy, 0.0) and not _is_rounding(graph, inputs, expected, actual):
        outcome.failures["wrong"] = f"{distance:.3g} of the scale in {graph.policy}"
    if "wrong" in outcome.failures:
        outcome.failures.pop("false alarm", None)


def _is_rounding(graph, inputs, expected, actual):
    """Whether the folded model is about as close as the original to what the same model gives in float64."""
    try:
        twin = graph.twin()
        exact = run(twin, inputs)
    except Exception:  # what cannot be built or computed in float64
        return difference(expected, actual) < 100.0 * _epsilon(graph.model)
    folded_twin, _ = fold(twin, verify=False)
    if difference(exact, run(folded_twin, inputs)) > _tight_in_float64(twin):
        return False
    own, new = difference(exact, expected), difference(exact, actual)
    return new <= 10.0 * own + 32.0 * _epsilon(graph.model)


def _epsilon(model):
    """Of the coarsest precision in which anything is computed."""
    dtypes = {layer.compute_dtype for layer in model._flatten_layers()}
    dtypes |= {dtype for call in trace(model).calls for dtype in call.output_dtypes}
    if _has_integers(model) or keras.backend.backend() == "jax":
        dtypes.add("float32")  # in which Keras' batch normalization computes there, whatever its own precision
    return max(EPSILON.get(dtype, 0.0) for dtype in dtypes)


def _tight_in_float64(model):
    """How close a folded twin comes: Keras' normalizations compute in the precision of what they are given."""
    if _has_integers(model):
        return 1e-4
    dtypes = {dtype for call in trace(model).calls for dtype in (*call.input_dtypes, *call.output_dtypes)}
    return 1e-9 if keras.backend.backend() != "jax" and "float32" not in dtypes else 1e-5


def _has_integers(model):
    return any("float" not in tensor.dtype for tensor in model.inputs)


def _same_structure(model, folded):
    def structures(of):
        return [] if isinstance(of, keras.Sequential) else [of.input, of.output]

    def bare(structure):
        return keras.tree.map_structure(lambda x: None, structure)

    return bare(structures(model)) == bare(structures(folded))


def _unlisted(outcome):
    """How many BatchNormalization layers the folded model has more than its report names."""
    left = [x for x in outcome.folded._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    listed = {entry.layer for entry in outcome.report.kept}
    return len([x for x in left if not any(x.name in entry.split("/") for entry in listed)])


def _carry_on(graph, outcome, inputs, with_export):
    """Save, clone, configure, export, fold again: whatever the original lets one do."""
    reference = run(outcome.folded, inputs) if "wrong" not in outcome.failures else None
    if reference is None:
        return
    steps = {"not savable": _saved, "not cloned": _cloned, "no config": _configured}
    if with_export:
        steps["not exported"] = _exported
    for kind, step in steps.items():
        fault = _fault(step, outcome.folded, inputs, graph.policy)
        if fault is None:
            continue
        if _fault(step, graph.model, inputs, graph.policy) is None:
            outcome.failures[kind] = fault
        else:
            outcome.notes[f"ok, {kind}, nor is the original"] = fault
    _fold_again(graph, outcome, inputs, reference)


def _fold_again(graph, outcome, inputs, reference):
    try:
        again, report = fold(outcome.folded, verify=False)
        distance = difference(reference, run(again, inputs))
    except Exception as error:
        outcome.failures["not folded again"] = _line(error)
        return
    if distance > 1e-4 and graph.policy in TIGHT:
        outcome.failures["not folded again"] = f"differs by {distance:.3g}"
    if report.folded:
        outcome.failures["folds further"] = f"{report.folded[0].layer}: {report.folded[0].action}"


def _fault(step, model, inputs, policy):
    """What goes wrong with a step, or None."""
    try:
        distance = difference(run(model, inputs), step(model, inputs))
    except Exception as error:
        return _line(error)
    return f"differs by {distance:.3g}" if distance > 1e-5 and policy in TIGHT else None


def _saved(model, inputs):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.keras"
        model.save(path)
        return run(keras.models.load_model(path, safe_mode=False), inputs)


def _cloned(model, inputs):
    clone = keras.models.clone_model(model)
    _copy_weights(model, clone)
    return run(clone, inputs)


def _configured(model, inputs):
    other = type(model).from_config(model.get_config())
    _copy_weights(model, other)
    return run(other, inputs)


def _copy_weights(model, other):
    for source, target in zip(model.variables, other.variables, strict=True):
        target.assign(source.value)
    for source, target in zip(model._flatten_layers(), other._flatten_layers(), strict=True):
        if isinstance(source, keras.layers.Normalization):
            target.finalize_state()
        if isinstance(source, keras.layers.Discretization):
            target.bin_boundaries = source.bin_boundaries


def _exported(model, inputs):
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        layer = keras.layers.TFSMLayer(folder, call_endpoint="serve")
        outputs = keras.tree.flatten(layer(inputs))
        return [keras.ops.convert_to_numpy(output).astype("float64") for output in outputs]


def _line(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
