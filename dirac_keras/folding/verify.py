"""Whether the folded model computes what the original does, on random inputs."""

from dataclasses import dataclass

import keras

from dirac_keras.errors import RunError
from dirac_keras.folding.differences import EPSILON, Difference, effect_of_rounding, run
from dirac_keras.folding.sample import LARGEST_TOLERANCE, line_of
from dirac_keras.graph.casting import to_dtype
from dirac_keras.graph.nested import all_layers
from dirac_keras.graph.trace import trace

# Relative to the output's scale. Folds agree to 1e-5 or so in float32; what is wrong is off by 0.1 or more. In half
# precision the original is that far from its exact value itself, so a copy of both in float32 is compared, too.
_TOLERANCE = {"bfloat16": 0.05, "float16": 0.01}
_TOLERANCE_FLOAT32 = 1e-3
_ROUNDINGS = 5.0  # the tolerance is so many times what rounding the weights once does, where it alone tells
_ROUNDINGS_IN_HALF_PRECISION = 10.0  # where the sums are rounded too


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
            f"fold made a wrong model: it does not run on inputs that the original takes ({line_of(error)}). {_WAY_OUT}"
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
    if judged.relative > max(base, LARGEST_TOLERANCE):
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
    if Difference.of_all(expected.outputs, outputs[0]).relative > LARGEST_TOLERANCE**0.5:
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
