"""Folding: a trained network as a plain Keras model, its Dirac and normalization layers merged into the kernels."""

import keras

from dirac_keras.folding import verify as verification
from dirac_keras.folding.graph import has_graph, is_functional, trace
from dirac_keras.folding.rebuild import rebuild
from dirac_keras.folding.report import FoldedLayer, FoldReport, KeptLayer
from dirac_keras.folding.rules import is_batch_normalization, is_dirac
from dirac_keras.folding.search import Refused, find_edits, rule_of

__all__ = ["FoldReport", "FoldedLayer", "KeptLayer", "fold"]


def fold(model, verify=True):
    """Merges BatchNormalization and Dirac parameterization into plain kernels and biases.

    Works on any Functional or Sequential model, nested and branching too. What would not be exact is left as it is
    and reported. The original is not changed; the folded model is uncompiled, trainable, and loads without this
    package.

    Args:
        model: built Functional or Sequential `keras.Model`.
        verify: bool, whether to run both models on random inputs and compare.

    Returns: `(folded_model, FoldReport)`.
    Raises:
        ValueError: if `model` is not a Keras model, is not built, or has no graph of layers.
        RuntimeError: if the verification finds the folded model to differ beyond rounding.
    Source: Zagoruyko & Komodakis 2017, arXiv:1706.00388, section 2: "folded into a single convolution at inference".

    Example:
    >>> folded, report = fold(model)
    >>> print(report)
    """
    _check(model)
    graph = trace(model)
    rules = {}
    names = {id(call.operation): call.path for call in graph.calls}
    folded, kept, dropped = _fold_normalizations(graph, rules, names)
    folded, kept = _add_plain_layers(graph, rules, names, folded, kept)
    result = rebuild(model, rules, dropped)
    return result, _report(model, result, folded, kept, verify)


def _fold_normalizations(graph, rules, names):
    """Folds until nothing more folds: one fold can clear the way for another."""
    folded, dropped = [], set()
    known = {}
    pending = _unique(call.operation for call in graph.calls if is_batch_normalization(call.operation))
    progress = True
    while progress:
        progress = False
        reasons = []
        for layer in pending:
            try:
                edits = find_edits(graph, layer, lambda operation: rule_of(operation, known))
            except Refused as refused:
                reasons.append((layer, str(refused)))
                continue
            for target, side, scale, shift, _ in edits.of_layer.values():
                absorb = known[id(target)].absorb_output if side == "output" else known[id(target)].absorb_input
                absorb(scale, shift)
                rules[id(target)] = known[id(target)]
            into = ", ".join(f"'{names[id(target)]}'" for target, *_ in edits.of_layer.values())
            folded.append(FoldedLayer(names[id(layer)], f"merged into {into}"))
            for call in list(graph.calls_of[id(layer)]):
                graph.remove(call)
            dropped.add(id(layer))
            rules.pop(id(layer), None)
            progress = True
        pending = [layer for layer, _ in reasons]
    return folded, [KeptLayer(names[id(layer)], reason) for layer, reason in reasons], dropped


def _add_plain_layers(graph, rules, names, folded, kept):
    """Layers of this package become Keras' own, with or without a BatchNormalization merged in."""
    for layer in _unique(call.operation for call in graph.calls):
        if not _is_from_package(layer):
            continue
        rule = rule_of(layer, rules)
        if rule is None:
            kept = [*kept, KeptLayer(names[id(layer)], f"{type(layer).__name__} has no plain equal")]
        elif is_dirac(layer):
            folded = [*folded, FoldedLayer(names[id(layer)], f"{type(layer).__name__} became {rule.plain_class.__name__}")]
    return folded, kept


def _is_from_package(operation):
    return type(operation).__module__.split(".")[0] == "dirac_keras"


def _report(model, result, folded, kept, verify):
    from dirac_keras.costs import count_macs  # costs reads graphs with this package's help

    shapes, error = verification.runnable_shapes(model) if verify else (verification.input_shapes(model), None)
    comparison = {}
    if verify and error is None:
        comparison = verification.compare(model, result, shapes)
    elif verify:
        comparison = {"note": f"not verified: the original does not run on random inputs ({error})"}
    single = [(1, *shape[1:]) for shape in shapes]
    return FoldReport(
        folded=tuple(folded),
        kept=tuple(kept),
        parameters_before=model.count_params(),
        parameters_after=result.count_params(),
        macs_before=sum(count_macs(model, single).values()),
        macs_after=sum(count_macs(result, single).values()),
        **comparison,
    )


def _check(model):
    way_out = "pass a Functional or Sequential Keras model that has been built"
    if not isinstance(model, keras.Model):
        raise ValueError(f"model must be a keras.Model. Received model={model!r} of type {type(model)}; {way_out}.")
    if has_graph(model):
        return
    if isinstance(model, keras.Sequential):
        raise ValueError(
            f"model must be built: its shapes are unknown. Received Sequential model '{model.name}' without an input "
            "shape; add keras.Input(shape) as its first layer, or call model.build(input_shape)."
        )
    if is_functional(model):
        raise ValueError(
            f"model must compute its graph of layers. Received '{model.name}', whose class {type(model).__name__} "
            "overrides call(); pass keras.Model(model.inputs, model.outputs) if the graph is what you mean."
        )
    raise ValueError(
        f"model must have a graph of layers. Received the subclassed model '{model.name}' ({type(model).__name__}), "
        "whose call() is plain code; rebuild it with the Functional API, keras.Model(inputs, outputs)."
    )


def _unique(operations):
    return list({id(operation): operation for operation in operations}.values())
