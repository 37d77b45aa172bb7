"""`fold(model)`: Dirac, normalization layers and branches merged into kernels, sealed skips taken out."""

import dataclasses

import keras

from dirac_keras.folding.branches import factor_of_one, is_sum, merge_branches, write_factor, write_factors
from dirac_keras.folding.copies import make_again
from dirac_keras.folding.dropped import dropped_parts
from dirac_keras.folding.inventory import layers_inside, normalizations_inside
from dirac_keras.folding.opening import holds_work, open_layers
from dirac_keras.folding.package_objects import is_from_package, needs_package
from dirac_keras.folding.rebuild import Changes, rebuild
from dirac_keras.folding.report import DroppedPart, FoldedLayer, FoldReport, KeptLayer, SharedLayer
from dirac_keras.folding.rules import RescalingRule, Rules, has_rule, inside, is_batch_normalization, plain_class
from dirac_keras.folding.sample import Sample, input_shapes, take_sample
from dirac_keras.folding.search import Refused, find_edits, find_edits_of_factor, find_edits_of_scale
from dirac_keras.folding.skips import remove_sealed_skips
from dirac_keras.folding.verify import compare
from dirac_keras.graph.costs import count_costs
from dirac_keras.graph.functional import check_has_graph, has_graph
from dirac_keras.graph.trace import trace
from dirac_keras.layers import VariableSkip


def fold(model, verify=True):
    """Merges BatchNormalization and Dirac parameterization into plain kernels and biases, takes sealed skips out.

    A `VariableSkip` whose alpha is exactly 1 goes with its addition and with the projection that leads to it alone.
    Linear branches that start at one tensor and meet in an addition, as those of RepVGG, MobileOne, ACNet and Diverse
    Branch Blocks, become one convolution.

    Works on any Functional or Sequential model, nested and branching too. A layer or subclassed model with a
    BatchNormalization inside is opened: where its `call` shows all it does on symbolic tensors, a nested Functional
    model of the same name takes its place. What would not be exact is left as it is and reported.

    The original is not changed; the folded model is uncompiled and trainable, and loads without this package. A layer
    whose configuration does not make its equal again stands in both models; the report names it.

    Args:
        model: built Functional or Sequential `keras.Model`.
        verify: bool, whether to run both models on random inputs and compare.

    Returns: `(folded_model, FoldReport)`.
    Raises:
        ValueError: if `model` is not a Keras model, is not built, or has no graph of layers.
        RunError: if the verification finds the folded model to differ beyond rounding.
    Source: Zagoruyko & Komodakis 2017, arXiv:1706.00388, section 2: at inference everything folds into one
        convolution.

    Example:
    >>> folded, report = fold(model)
    >>> print(report)
    """
    check_has_graph(model)
    result, work = _fold(model, "")
    work.kept += _left_inside(result, work)
    return result, _report(model, result, work, verify)


@dataclasses.dataclass
class _Work:
    """What was done to a model, for its report.

    `closed` tells why layers were not opened, by path; `reported` has the ids of the new layers that `kept` speaks of.
    """

    folded: list = dataclasses.field(default_factory=list)
    kept: list = dataclasses.field(default_factory=list)
    shared: list = dataclasses.field(default_factory=list)
    dropped: list = dataclasses.field(default_factory=list)
    closed: dict = dataclasses.field(default_factory=dict)
    reported: set = dataclasses.field(default_factory=set)

    def add(self, other):
        self.folded += other.folded
        self.kept += other.kept
        self.shared += other.shared
        self.dropped += other.dropped
        self.closed |= other.closed
        self.reported |= other.reported


def _fold(model, prefix, opened=None):
    """The folded model and the `_Work`.

    Args:
        prefix: path of the layer that the model is in, with a slash at its end.
        opened: `Opened` of the model, if more than what holds something to fold was opened.
    """
    work = _Work()
    is_first, opened = opened is None, opened or open_layers(model)
    graph = trace(opened.model)
    calls = graph.calls
    names = {id(call.operation): prefix + call.path for call in calls}
    layers = list({id(call.operation): call.operation for call in calls}.values())
    integers = {
        id(slot)
        for call in calls
        for slot, tensor in zip(call.slots, call.inputs, strict=True)
        if tensor in graph.integers
    }
    cuts, work.folded, work.kept = remove_sealed_skips(graph)
    work.folded += [FoldedLayer(names[key], was) for key, was in opened.sums.items() if key in names]

    fusion = _Fusion(graph, names, cuts)
    fusion.run([layer for layer in layers if is_batch_normalization(layer)])
    work.folded += fusion.folded
    work.kept += fusion.kept
    made = {}
    for layer in layers:
        if _is_fold_within(layer):
            made[id(layer)], inner = _fold_time_distributed(layer, graph.calls_of[id(layer)], names[id(layer)])
            work.add(inner)
        if plain_class(layer) is None or id(layer) in fusion.dropped:
            continue  # a layer of this package that has none is reported below, after a look at the copy
        if reason := fusion.why_not_plain(layer, [call for call in calls if call.operation is layer]):
            work.kept.append(KeptLayer(names[id(layer)], f"a plain layer {reason}"))
            continue
        fusion.use_rule(layer)
        if not is_batch_normalization(layer):
            action = f"{type(layer).__name__} became {plain_class(layer).__name__}"
            work.folded.append(FoldedLayer(names[id(layer)], action))

    changes = Changes(
        rules=fusion.rules,
        made=made,
        dropped=fusion.dropped,
        cuts=cuts,
        dtypes=_dtypes(calls, cuts, integers),
        read_integers={id(call.operation) for call in calls if any(id(slot) in integers for slot in call.slots)},
        closed=graph.closed,
        origins=opened.origins,
    )
    result, copies, shared = rebuild(opened.model, changes)
    unloadable = {
        id(layer)
        for layer, copy in copies
        if copy is layer and isinstance(layer, keras.layers.Layer) and not shared[id(layer)].is_loadable
    }
    if unloadable and is_first:  # opened, its inner layers may be
        again = open_layers(model, unloadable)
        if not unloadable <= again.closed.keys():
            return _fold(model, prefix, again)
    for layer, copy in copies:
        path = names.get(id(layer), f"{prefix}{layer.name}")
        if copy is layer and isinstance(layer, keras.layers.Layer):
            work.shared.append(SharedLayer(path, shared[id(layer)].reason))
        work.dropped += [DroppedPart(path, part) for part in dropped_parts(layer, copy)]
        is_said = type(layer) is VariableSkip or any(entry.layer == path for entry in work.kept)
        if id(layer) in names and not is_said and (reason := _why_not_plain(layer, copy)):
            work.kept.append(KeptLayer(path, reason))
        if is_batch_normalization(layer) and id(layer) in fusion.reasons:
            work.reported.add(id(copy))
    work.closed |= {names[key]: reason for key, reason in opened.closed.items() if key in names}
    work.closed |= {names[key]: "is called on inputs of another structure or rank than its own" for key in graph.closed}
    return result, work


def _is_fold_within(layer):
    return type(layer) is keras.layers.TimeDistributed and not has_rule(layer) and holds_work(layer)


def _fold_time_distributed(layer, calls, path):
    """A model, or a layer of layers, in `TimeDistributed` is folded on its own: all steps share it."""
    if any(call.training for call in calls):
        return make_again(layer), _Work(closed={path: "is called with training=True"})
    inner = layer.layer
    if not has_graph(inner):
        batch, _, *rest = calls[0].input_shapes[0]
        tensor = keras.Input(batch_shape=(batch, *rest), dtype=layer.compute_dtype)
        inner = keras.Model(tensor, inner(tensor), name=inner.name)
    result, work = _fold(inner, f"{path}/{inner.name}/")
    return keras.layers.TimeDistributed(result, name=layer.name, dtype=layer.dtype_policy), work


def _dtypes(calls, cuts, integers):
    """`{id(operation): (dtype of the input that passes where it goes, dtype of its output)}`, one where they differ."""
    dtypes = {}
    for call in calls:
        leaves = keras.tree.flatten((call.args, call.kwargs))
        kept = [leaves[place] for place in cuts.get(id(call.operation), range(len(leaves)))]
        source = next((leaf for leaf in kept if isinstance(leaf, keras.KerasTensor)), None)
        before = "int" if id(source) in integers else getattr(source, "dtype", None)
        after = call.output_dtypes[0] if call.output_dtypes else None
        if id(call.operation) not in dtypes or before != after:
            dtypes[id(call.operation)] = before, after
    return dtypes


def _left_inside(result, work):
    """Entries for each BatchNormalization that is left and not reported yet: what holds it is closed, or its class."""
    entries = []
    for path, layer in normalizations_inside(result):
        if id(layer) in work.reported:
            continue
        around = [closed for closed in work.closed if path.startswith(f"{closed}/")]
        if around:
            closed = max(around, key=len)
            reason = f"lies in '{closed}', which cannot be opened: it {work.closed[closed]}"
        elif not is_batch_normalization(layer):
            reason = f"is a {type(layer).__name__}, which may compute something else than BatchNormalization"
        else:
            reason = "lies in a layer that folding does not open"
        entries.append(KeptLayer(path, reason))
    return entries


class _Fusion:
    """Merges BatchNormalization and branches into other layers, on the graph and in the rules' weights."""

    def __init__(self, graph, names, cuts):
        self.rules = {}  # id(layer) -> rule, of the layers that change
        self.dropped = set()
        self.folded, self.kept = [], []
        self.reasons = {}  # id(layer) -> why it is left
        self._all_rules = Rules()
        self._graph, self._names, self._cuts = graph, names, cuts

    def use_rule(self, layer):
        self.rules[id(layer)] = self._all_rules.of(layer)

    def why_not_plain(self, layer, calls):
        """Why a layer of this package that absorbed nothing has to stay one, or None."""
        rule = self._all_rules.of(layer)
        reasons = () if rule.has_new_kernel else (rule.why_not_plain(call.output_shapes[0]) for call in calls)
        return next(filter(None, reasons), None)

    def run(self, normalizations):
        """Repeats until nothing merges any more: one merge can clear the way for another."""
        self._merge_normalizations(normalizations)
        if self._merge_scales():
            self._merge_normalizations(normalizations)
        while (merged := merge_branches(self._graph, self._all_rules, self._names, self._cuts)).hosts:
            for layer in merged.hosts:
                self.use_rule(layer)
            self.dropped |= merged.dropped
            self.folded += merged.folded
            self._absorb_factors()
            self._merge_normalizations(normalizations)
        self._write_multiples()
        self.kept += [KeptLayer(self._names[key], reason) for key, reason in merged.reasons.items()]
        said = {entry.layer for entry in self.folded}
        self.kept += [
            KeptLayer(self._names[id(layer)], self.reasons[id(layer)])
            for layer in normalizations
            if self._is_left(layer) and self._names[id(layer)] not in said
        ]

    def _is_left(self, layer):
        return id(layer) not in self.dropped and bool(self._graph.calls_of[id(layer)])

    def _merge_normalizations(self, normalizations):
        progress = True
        while progress:
            progress = False
            for layer in normalizations:
                if not self._is_left(layer):
                    continue
                try:
                    edits = find_edits(self._graph, layer, self._all_rules)
                except Refused as refused:
                    self.reasons[id(layer)] = str(refused)
                    continue
                self._merge(layer, edits)
                progress = True

    def _merge_scales(self):
        """Constants, as in `x + 0.3 * y`, go into the layers before or behind them where they can.

        What scales the images before the first kernel stays, unless it is a branch: it says what the network expects.

        Returns: whether any did.
        """
        front, count = self._before_kernels(), len(self.folded)
        for call in list(self._graph.calls):
            readers = [reader for tensor in call.outputs for reader in self._graph.consumers.get(tensor, [])]
            is_on_branch = bool(readers) and all(is_sum(self._graph, reader) for reader in readers)
            if not self._graph.calls_of[id(call.operation)] or (front.issuperset(call.inputs) and not is_on_branch):
                continue
            try:
                edits = find_edits_of_scale(self._graph, call.operation, self._all_rules)
            except Refused:
                continue
            self._merge(call.operation, edits)
        return len(self.folded) > count

    def _before_kernels(self):
        """Tensors that are made of the inputs without a kernel or statistics of the network's own."""
        front = set(self._graph.inputs)
        for call in self._graph.calls:
            rule = self._all_rules.of(call.operation)
            has_none = rule is None and not getattr(call.operation, "weights", None)
            if front.issuperset(call.inputs) and (has_none or isinstance(rule, RescalingRule)):
                front.update(call.outputs)
        return front

    def _absorb_factors(self):
        """Factors that merging has left in sums go into the layers before them where they can."""
        for call in self._graph.calls:
            for place, factor in enumerate(call.factors or ()):
                if factor == 1.0:
                    continue
                try:
                    edits = find_edits_of_factor(self._graph, call, place, self._all_rules)
                except Refused:
                    continue
                said = f"a factor of it {self._absorb(edits)}"
                self.folded.append(FoldedLayer(self._names[id(call.operation)], said))
                write_factor(self._cuts, call, place, 1.0)

    def _write_multiples(self):
        """`x + x`, where nothing took it in, becomes the layer that multiplies by 2: no tensor joins itself."""
        for call in self._graph.calls:
            is_left = len(set(call.inputs)) == 1 < len(call.inputs) and not self._graph.integers & set(call.inputs)
            is_one = len(self._graph.calls_of[id(call.operation)]) == 1
            if is_left and is_one and (factor := factor_of_one(call)) is not None:
                write_factors(self._graph, self._cuts, call, {0: factor})
                self.folded.append(FoldedLayer(self._names[id(call.operation)], f"became a multiple by {factor:g}"))

    def _merge(self, layer, edits):
        said = self._absorb(edits)
        for call in list(self._graph.calls_of[id(layer)]):
            self._graph.remove(call)
        self.dropped.add(id(layer))
        self.rules.pop(id(layer), None)
        self.folded.append(FoldedLayer(self._names[id(layer)], said))

    def _absorb(self, edits):
        """Puts edits into the rules. Returns: what was done, in words."""
        targets = []
        for edit in edits:
            self.use_rule(edit.layer)
            rule = self.rules[id(edit.layer)]
            absorb = rule.absorb_output if edit.side == "output" else rule.absorb_input
            absorb(edit.affine.scale, edit.affine.shift)
            targets.append(f"'{self._names[id(edit.layer)]}'")
        return f"merged into {', '.join(targets)}" if targets else "was the identity"


def _why_not_plain(layer, copy):
    """What a copied layer still holds of this package; None for ordinary layers."""
    if is_from_package(inside(copy)):
        return f"{type(layer).__name__} has no plain equal and loads with dirac_keras only"
    if isinstance(copy, keras.layers.Layer) and _holds_package(copy):
        return f"{type(layer).__name__} holds an object of dirac_keras and loads with that package only"
    return None


def _holds_package(layer):
    try:
        config = layer.get_config()
    except Exception:  # of whatever kind: the layer's own code runs here
        config = {}
    return needs_package(config) or any(is_from_package(inner) for _, inner in layers_inside(layer))


def _report(model, result, work, verify):
    sample = take_sample(model) if verify else Sample(input_shapes(model))
    comparison = compare(sample, model, result) if verify else {}

    def costs(of):
        try:
            return count_costs(of, sample.shapes)
        except ValueError:  # a size that only a run shows
            return None

    before, after = costs(model), costs(result)
    return FoldReport(
        folded=tuple(work.folded),
        kept=tuple(work.kept),
        shared=tuple(work.shared),
        dropped=tuple(work.dropped),
        normalizations_before=len(normalizations_inside(model)),
        normalizations_after=len(normalizations_inside(result)),
        parameters_before=model.count_params(),
        parameters_after=result.count_params(),
        macs_before=before and before.total,
        macs_after=after and after.total,
        uncounted=() if after is None else after.uncounted,
        **comparison,
    )
