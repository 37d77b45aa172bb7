"""`fold(model)`: Dirac and normalization layers merged into kernels, sealed skips taken out."""

import keras

from dirac_keras.folding import verify as verification
from dirac_keras.folding.package_objects import is_from_package, needs_package
from dirac_keras.folding.rebuild import rebuild
from dirac_keras.folding.report import FoldedLayer, FoldReport, KeptLayer
from dirac_keras.folding.rules import Rules, inside, is_batch_normalization, plain_class
from dirac_keras.folding.search import Refused, find_edits
from dirac_keras.folding.skips import remove_sealed_skips
from dirac_keras.graph.costs import count_macs
from dirac_keras.graph.trace import trace
from dirac_keras.layers import VariableSkip


def fold(model, verify=True):
    """Merges BatchNormalization and Dirac parameterization into plain kernels and biases, takes sealed skips out.

    A `VariableSkip` whose alpha is exactly 1 goes with its addition and with the projection that leads to it alone.

    Works on any Functional or Sequential model, nested and branching too. What would not be exact is left as
    it is and reported. The original is not changed; the folded model is uncompiled and trainable, and loads
    without this package.

    Args:
        model: built Functional or Sequential `keras.Model`.
        verify: bool, whether to run both models on random inputs and compare.

    Returns: `(folded_model, FoldReport)`.
    Raises:
        ValueError: if `model` is not a Keras model, is not built, has no graph of layers, or holds a layer
            that cannot be copied.
        RunError: if the verification finds the folded model to differ beyond rounding.
    Source: Zagoruyko & Komodakis 2017, arXiv:1706.00388, section 2: at inference everything folds into one
        convolution.

    Example:
    >>> folded, report = fold(model)
    >>> print(report)
    """
    graph = trace(model)
    cuts, skips_folded, skips_kept = remove_sealed_skips(graph)
    names = {id(call.operation): call.path for call in graph.calls}
    layers = list({id(call.operation): call.operation for call in graph.calls}.values())
    calls_of = {key: list(calls) for key, calls in graph.calls_of.items()}

    fusion = _Fusion(graph, names)
    fusion.run([layer for layer in layers if is_batch_normalization(layer)])
    folded, kept = skips_folded + fusion.folded, skips_kept + fusion.kept
    for layer in layers:
        plain = plain_class(layer)
        if plain is None or id(layer) in fusion.dropped:
            continue  # a layer of this package that has none is reported below, after a look at the copy
        fusion.use_rule(layer)
        if not is_batch_normalization(layer):
            folded.append(FoldedLayer(names[id(layer)], f"{type(layer).__name__} became {plain.__name__}"))

    casting = {
        key for key in fusion.dropped if any(call.input_dtypes[0] != call.output_dtypes[0] for call in calls_of[key])
    }
    result, copies = rebuild(model, fusion.rules, fusion.dropped, casting, cuts)
    kept += [
        KeptLayer(names[id(layer)], reason)
        for layer, copy in copies
        if id(layer) in names and type(layer) is not VariableSkip and (reason := _why_not_opened(layer, copy))
    ]
    return result, _report(model, result, folded, kept, verify)


class _Fusion:
    """Merges BatchNormalization layers into others, on the graph and in the rules' copies of the weights."""

    def __init__(self, graph, names):
        self.rules = {}  # id(layer) -> rule, of the layers that change
        self.dropped = set()
        self.folded, self.kept = [], []
        self._all_rules = Rules()
        self._graph, self._names = graph, names

    def use_rule(self, layer):
        self.rules[id(layer)] = self._all_rules.of(layer)

    def run(self, normalizations):
        """Repeats until nothing merges any more: one merge can clear the way for another."""
        reasons, progress = {}, True
        while progress:
            progress = False
            for layer in normalizations:
                if id(layer) in self.dropped:
                    continue
                try:
                    edits = find_edits(self._graph, layer, self._all_rules)
                except Refused as refused:
                    reasons[id(layer)] = str(refused)
                    continue
                self._merge(layer, edits)
                progress = True
        self.kept += [
            KeptLayer(self._names[id(layer)], reasons[id(layer)])
            for layer in normalizations
            if id(layer) not in self.dropped
        ]

    def _merge(self, layer, edits):
        targets = []
        for edit in edits:
            self.use_rule(edit.layer)
            rule = self.rules[id(edit.layer)]
            absorb = rule.absorb_output if edit.side == "output" else rule.absorb_input
            absorb(edit.affine.scale, edit.affine.shift)
            targets.append(f"'{self._names[id(edit.layer)]}'")
        for call in list(self._graph.calls_of[id(layer)]):
            self._graph.remove(call)
        self.dropped.add(id(layer))
        self.rules.pop(id(layer), None)
        self.folded.append(FoldedLayer(self._names[id(layer)], f"merged into {', '.join(targets)}"))


def _why_not_opened(layer, copy):
    """What a copied layer may still hold that folding did not look into; None for ordinary layers."""
    if isinstance(copy, keras.layers.Layer) and needs_package(copy.get_config()):
        return f"{type(layer).__name__} holds an object of dirac_keras and loads with that package only"
    if is_from_package(inside(copy)):
        return f"{type(layer).__name__} has no plain equal and loads with dirac_keras only"
    if isinstance(layer, keras.Model):
        return "is a model whose layers are not visible, or called on inputs in another structure than its own"
    return None


def _report(model, result, folded, kept, verify):
    sample = verification.sample(model) if verify else verification.Sample(verification.input_shapes(model))
    comparison = verification.compare(sample, model, result) if verify else {}

    def macs(of):
        try:
            return sum(count_macs(of, sample.shapes).values())
        except ValueError:  # a size that only a run shows
            return None

    return FoldReport(
        folded=tuple(folded),
        kept=tuple(kept),
        parameters_before=model.count_params(),
        parameters_after=result.count_params(),
        macs_before=macs(model),
        macs_after=macs(result),
        **comparison,
    )
