"""Whether the folded model computes what the original does, on random inputs."""

import itertools
from dataclasses import dataclass

import keras
import numpy as np

from dirac_keras.errors import RunError
from dirac_keras.folding.differences import EPSILON, Difference, effect_of_rounding, run
from dirac_keras.graph.casting import to_dtype
from dirac_keras.graph.finite import nonfinite_weights
from dirac_keras.graph.nested import all_layers
from dirac_keras.graph.samples import random_inputs
from dirac_keras.graph.sizes import in_words, possible_shapes
from dirac_keras.graph.trace import trace

# Relative to the output's scale. Folds agree to 1e-5 or so in float32; what is wrong is off by 0.1 or more. In half
# precision the original is that far from its exact value itself, so a copy of both in float32 is compared, too.
_TOLERANCE = {"bfloat16": 0.05, "float16": 0.01}
_TOLERANCE_FLOAT32 = 1e-3
_ROUNDINGS = 5.0  # the tolerance is so many times what rounding the weights once does, where it alone tells
_ROUNDINGS_IN_HALF_PRECISION = 10.0  # where the sums are rounded too
_LARGEST_TOLERANCE = 0.1  # where rounding may do more, nothing can be told from outputs
_DEPENDENCE = 1e-6  # outputs that other inputs change by less are the same
_SIZES_TRIED = 4
_LEVELS = (256, 2)  # integers of unknown meaning: those of an image, or indices that anything has a row for


@dataclass(frozen=True)
class Sample:
    """Input shapes, and what the original makes of random inputs of these shapes.

    Args:
        shapes: list of shapes with the batch axis; what is open stays None where no size was found.
        why_not: str, why the original cannot be compared with anything; empty if it can.
        reserve: str, why a comparison with it says less than usual; empty if it does not.
    """

    shapes: list
    inputs: object = None
    outputs: list | None = None
    why_not: str = ""
    reserve: str = ""


def input_shapes(model):
    """Shapes for counting: those of `sample` as far as they are known without running the model."""
    try:
        return next(iter(possible_shapes(model)))
    except ValueError:
        return [tuple(tensor.shape) for tensor in model.inputs]


def sample(model):
    """Runs `model` on random inputs of such shapes that its outputs tell something of a folded model.

    They are finite, depend on the inputs, and come again for the same inputs. Where the first do not, other sizes are
    tried for what is open, and other integers; the best are taken, with what is to be said of them.
    """
    shapes, tried = [tuple(tensor.shape) for tensor in model.inputs], []
    try:
        for shapes in itertools.islice(possible_shapes(model), _SIZES_TRIED):
            for levels in _LEVELS:
                tried.append(_attempt(model, shapes, levels))
                if not (tried[-1].why_not or tried[-1].reserve):
                    return tried[-1]
    except ValueError as error:
        return Sample(shapes, why_not=str(error))
    return min(tried, key=lambda found: (bool(found.why_not), bool(found.reserve)))


def _attempt(model, shapes, levels):
    try:
        inputs = random_inputs(model, shapes, levels=levels)
        outputs = run(model, inputs)
        others = run(model, random_inputs(model, shapes, seed=1, levels=levels))  # other numbers in memory, too
        again = run(model, inputs)
    except Exception as caught:  # of whatever kind: the model's own code runs here
        return Sample(shapes, why_not=f"the original does not run on random inputs ({_line(caught)})")
    if Difference.of_all(outputs, again).relative > _LARGEST_TOLERANCE / 10:
        return Sample(shapes, why_not="the original gives other outputs when it runs on the same inputs again")
    if not any(np.isfinite(output).any() for output in outputs):
        weights = ", ".join(map(str, nonfinite_weights(model)[:5]))
        reason = f"; not finite are its weights {weights}" if weights else ""
        return Sample(shapes, why_not=f"the original gives no finite number on random inputs{reason}")
    reserve = ""
    if not all(np.isfinite(output).all() for output in outputs):
        reserve = "outputs on random inputs are not all finite; only finite ones are compared"
    elif Difference.of_all(outputs, others).relative < _DEPENDENCE:  # as where a layer in a layer has an empty tensor
        reserve = "the outputs do not depend on the inputs: the comparison says little"
    return Sample(shapes, inputs, outputs, reserve=reserve)


def compare(expected, model, folded):
    """Runs `folded` on the sample's inputs and holds the outputs against the original's.

    Args:
        expected: `Sample` of `model`.

    Returns: dict with `max_abs_difference`, `max_relative_difference`, `argmax_agreement` and `note`; with `note` alone
        where the outputs say nothing of the fold, and why.
    Raises: RunError: if they differ by more than the precision of the model explains.
    """
    if expected.why_not:
        return _not_verified(expected.why_not)
    try:
        outputs = run(folded, expected.inputs)
    except Exception as error:
        raise RunError(
            f"fold made a wrong model: it does not run on inputs that the original takes ({_line(error)}). {_WAY_OUT}"
        ) from error
    difference = Difference.of_all(expected.outputs, outputs)
    notes = [expected.reserve] if expected.reserve else []
    lowest = _lowest_precision(model)
    if lowest in _TOLERANCE or not difference.relative <= _TOLERANCE_FLOAT32:
        if not Difference.of_all(expected.outputs, run(model, expected.inputs)).relative <= difference.relative / 2:
            return _not_verified("the original gives other outputs when it runs on the same inputs again")
        judged = _judge(model, folded, expected, difference, lowest)
        if judged.why_not:
            return _not_verified(judged.why_not)
        notes += judged.notes
    return {
        "max_abs_difference": difference.absolute,
        "max_relative_difference": difference.relative,
        "argmax_agreement": None if difference.same_argmax is None else float(difference.same_argmax.mean()),
        "note": "; ".join(notes),
    }


_WAY_OUT = "Please report the model; fold(model, verify=False) returns the folded one unchecked."


def _not_verified(reason):
    return {"note": f"not verified: {reason}"}


@dataclass(frozen=True)
class _Judgement:
    """Notes of a comparison that ended well, or why it could not be made."""

    notes: tuple = ()
    why_not: str = ""


def _judge(model, folded, expected, own, lowest):
    """Tells rounding from mistakes: in copies of both models that round less, and by what rounding does to one.

    Args:
        own: `Difference` of the two models in their own precision, the lowest of which is `lowest`.

    Raises: RunError: if the models differ by more.
    """
    precise = _in_higher_precision(model, folded, expected, lowest)
    if precise is None:
        judged, base, where = own, _TOLERANCE.get(lowest, _TOLERANCE_FLOAT32), ""
        rounding = effect_of_rounding(model, expected.inputs, expected.outputs, lambda variable: EPSILON[lowest])
    else:
        copy, outputs, judged, precision = precise
        base, where = _TOLERANCE_FLOAT32, f", computed in {precision}"
        if any(isinstance(layer, keras.layers.Rescaling) for layer in all_layers(folded)):
            base = max(base, 2.0 * EPSILON[lowest])  # its numbers are no weights, and rounded as it computes
        rounding = 0.0
        if judged.relative > base:
            rounding = effect_of_rounding(copy, expected.inputs, outputs, _epsilon_of_weights(model, copy))
    explained = max(base, _ROUNDINGS * rounding)
    said = f"rounding each weight anew moves the outputs by {rounding:.2g} of their scale{where}"
    if judged.relative > explained:
        raise _wrong(judged, explained, where)
    if judged.relative > max(base, _LARGEST_TOLERANCE):
        return _Judgement(why_not=f"{said}, and the folded model differs by {judged.relative:.2g}: nothing can be told")
    notes = [f"the model amplifies rounding: {said}"] if judged.relative > base else []
    if precise is not None and own.relative > _TOLERANCE.get(lowest, _TOLERANCE_FLOAT32):
        rounding = effect_of_rounding(model, expected.inputs, expected.outputs, lambda variable: EPSILON[lowest])
        if own.relative > _ROUNDINGS_IN_HALF_PRECISION * rounding:
            raise RunError(
                f"fold made a model that is right in {precise[-1]} and not in {lowest}, in which its outputs differ by "
                f"{own.relative:.3g} of the output's scale: folded weights leave what {lowest} holds. Fold the model "
                f"in {precise[-1]}; fold(model, verify=False) returns the folded one unchecked."
            )
        notes.append(f"the difference is what rounding in {lowest} does; in {precise[-1]} it is {judged.relative:.2g}")
    return _Judgement(tuple(notes))


def _wrong(difference, tolerance, where):
    return RunError(
        f"fold made a wrong model: on random inputs its outputs differ by {difference.absolute:.3g}, which is "
        f"{difference.relative:.3g} of the output's scale{where}; the tolerance is {tolerance:.3g}. {_WAY_OUT}"
    )


def _in_higher_precision(model, folded, expected, lowest):
    """Copies of both models that compute in float32, or float64 where they do so in float32, compared.

    Returns: `(copy of the original, its outputs, Difference, precision)`; None where a copy cannot be made, or is not
        in that precision everywhere, or not the same model.
    """
    precision = "float32" if lowest in _TOLERANCE else "float64"
    if precision == "float64" and (lowest == "float64" or not _has_float64()):
        return None
    try:
        copies = [_copy(of, precision) for of in (model, folded)]
        outputs = [run(copy, expected.inputs) for copy in copies]
    except Exception:  # of whatever kind: layers that cannot be made again, or not in another precision
        return None
    if not all(_computes_in(copy, precision) for copy in copies):
        return None
    # A copy that is not the same model differs by much more than precisions do.
    if Difference.of_all(expected.outputs, outputs[0]).relative > _LARGEST_TOLERANCE**0.5:
        return None
    return copies[0], outputs[0], Difference.of_all(*outputs), precision


def _copy(model, precision):
    copy = to_dtype(model, precision)
    if copy is model:
        return model
    for source, target in zip(model.variables, copy.variables, strict=True):  # with the state of random generators
        target.assign(keras.ops.cast(source.value, target.dtype))
    return copy


def _computes_in(model, precision):
    dtypes = {dtype for call in trace(model).calls for dtype in call.output_dtypes}
    return all(dtype == precision for dtype in dtypes if "float" in dtype)


def _epsilon_of_weights(model, copy):
    """Of each variable of the copy, that of the original's, in which a folded weight was rounded."""
    dtypes = {id(target): source.dtype for source, target in zip(model.variables, copy.variables, strict=True)}
    return lambda variable: EPSILON[dtypes[id(variable)]]


def _has_float64():
    if keras.backend.backend() != "jax":
        return True
    import jax

    return bool(jax.config.jax_enable_x64)


def _lowest_precision(model):
    """The coarsest precision in which anything of the model is computed."""
    dtypes = {dtype for call in trace(model).calls for dtype in (*call.input_dtypes, *call.output_dtypes)}
    dtypes |= {layer.compute_dtype for layer in all_layers(model) if layer.weights}
    return max((dtype for dtype in dtypes if dtype in EPSILON), key=EPSILON.get, default="float32")


def _line(error):
    return f"{type(error).__name__}: {in_words(error)}"
