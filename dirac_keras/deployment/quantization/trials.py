"""One network to quantize: ways to round it, each made and measured on images that no weight was fitted to."""

import time

import numpy as np

from dirac_keras.deployment.quantization.equalization import equalizable_pairs, equalize
from dirac_keras.deployment.quantization.fake import TensorRule
from dirac_keras.deployment.quantization.grids import signal_to_noise_db
from dirac_keras.deployment.quantization.identity_apart import identity_masks, split_identity
from dirac_keras.deployment.quantization.keeping import choose_kept, shares
from dirac_keras.deployment.quantization.memory import digest
from dirac_keras.deployment.quantization.network import Network, copy_of
from dirac_keras.deployment.quantization.ordering import relu_before_pool
from dirac_keras.deployment.quantization.report import QuantizationReport, Trial
from dirac_keras.deployment.quantization.rounding import METHODS, round_network, rounded_layers
from dirac_keras.deployment.quantization.running import most_images, run
from dirac_keras.deployment.quantization.separable import split_separable
from dirac_keras.deployment.quantization.simulation import Simulation
from dirac_keras.deployment.quantization.training import finetune
from dirac_keras.errors import UserError

STRENGTHS = (0.5, 0.75, 1.0)  # of `equalize_activations`: 1 gives all channels one range, if the images tell it well
STRENGTH_IMAGES = 128  # at most, on which the strengths are compared
LEAST_GAIN = 0.1  # decibels, for which a cure more is taken
ALONE_IMAGES = 64  # on which each layer and each tensor is rounded alone: one run of the network for each


class Result:
    """A network that was rounded: `trial`, the float one `source` that it was made of, `copy`, the layers rounded."""

    def __init__(self, trial, source, copy, layers):
        self.trial, self.source, self.copy, self.layers = trial, source, copy, layers


class Task:
    """One network to quantize, its images, and what was tried."""

    def __init__(
        self, model, calibration, bits, activation_bits, float_outputs, identity_in_float, seed, progress, memory
    ):
        self.bits, self.activation_bits, self.float_outputs = bits, activation_bits, float_outputs
        self.seed, self.progress, self.memory = seed, progress or (lambda text: None), memory
        self.shape = calibration.images.shape[1:]
        self.notes = list(calibration.notes)
        whole, split = split_separable(model)
        ordered, moved = relu_before_pool(whole)
        self.base = self._network(ordered)
        if split:
            self.notes.append(f"separable convolutions as the two that they are, {len(split)} times: the same numbers")
        if moved:
            self.notes.append(f"ReLU before the pooling that stood before it, {len(moved)} times: the same numbers")
        self.free = identity_masks(self.base) if identity_in_float else {}
        if not self.base.layers:
            raise UserError(f"model has no convolution or dense layer to quantize. Received '{model.name}'.")
        fit, self.held_out = calibration.split()
        self.images = fit.images[: most_images(self.base)]
        if len(self.images) < len(fit):
            self.notes.append(f"fitted to {len(self.images)} of {len(fit)} images: the tensors of more fill the memory")
        self.reference = run(self.base, self.held_out.images)
        self.trials = []
        if any("BatchNormalization" in reason for reason in self.base.left.values()):
            self.notes.append("layers of BatchNormalization are left: fold the model first")
        if self.base.graph.closed:
            self.notes.append("nested models that are called on another structure of inputs stay in float")

    def attempt(self, source, cures, kept=()):
        """`Result` of rounding a network as its cures say."""
        self.progress(", ".join(cures) + (f", {len(kept)} layers kept" if kept else ""))
        copy = self._network(copy_of(source.model))
        layers, _, seconds = self._round(source, copy, cures[-1], kept)
        trial = self._measured(copy, cures, kept, seconds)
        return Result(trial, source, copy, layers)

    def _round(self, source, copy, method, kept=()):
        """`round_network` of a copy, or what it gave: `(layers, weights before by path, seconds)`."""

        def make():
            start, unrounded = time.perf_counter(), {}
            options = {"seed": self.seed, "unrounded": unrounded, "free": self.free}
            layers = round_network(source, copy, self.images, self.bits, method, kept, **options)
            weights = {path: layer.get_weights() for path, layer in copy.layers.items()}
            return layers, unrounded if method != "follow" else None, time.perf_counter() - start, weights

        weights = [array for layer in source.layers.values() for array in layer.get_weights()]
        key = self.bits, method, kept, self.seed, tuple(self.free), tuple(source.layers), digest(*weights)
        *made, weights = self.memory.once(key, make)
        for path, layer in copy.layers.items():
            layer.set_weights(weights[path])
        return made

    def better(self, best, other):
        """The other if it gains enough."""
        return other if other.trial.db >= best.trial.db + LEAST_GAIN else best

    def transformed(self, source, transform):
        """`Network` of the same function, or None where there is nothing to do."""
        if transform == "identity_apart":
            if self.free:
                self.notes.append("identity_apart: the identity taps are in float, which needs no branches")
                return None
            try:
                return self._network(split_identity(source.model)[0])
            except UserError:
                self.notes.append("identity_apart: no convolution has an identity tap that stands out")
                return None
        if not equalizable_pairs(source):
            self.notes.append(f"{transform}: no two layers between which channels can be scaled")
            return None
        if transform == "equalize_weights":
            return self._network(equalize(source.model)[0])
        return self._network(equalize(source.model, self.images, "activations", self._strength(source))[0])

    def _strength(self, source):
        """Of `equalize_activations`, by rounded activations alone, on a third of the images kept from the ranges."""
        if not self.activation_bits:
            return STRENGTHS[0]
        count = min(STRENGTH_IMAGES, max(1, len(self.images) // 3))
        ranged, others = self.images[:-count], self.images[-count:]
        reference, found = run(source, others), {}
        for strength in STRENGTHS:
            network = self._network(equalize(source.model, ranged, "activations", strength)[0])
            found[strength] = self._simulation(network, ranged).db(reference, others)
        return max(found, key=found.get)

    def keep(self, best, max_kept, kept_of):
        """`(result, steps)` with layers in float within the budget.

        Each layer's weights and each tensor are rounded alone once; the noise powers of those that remain rounded are
        taken to add up, as they do where each is small. So a set of layers is judged without running the network, and
        only the best one is made. The weights are those of `"data"` where `"follow"` is best: there a layer makes good
        the very errors of those below, so that alone it would be wrong.
        """
        self.progress("layers to keep")
        steps = choose_kept(shares(best.copy, kept_of, self.shape), max_kept, self._noise(best))
        if not steps:
            return best, ()
        other = self.attempt(best.source, best.trial.cures, tuple(path for step in steps for path in step.paths))
        return (other, steps) if other.trial.db > best.trial.db else (best, ())

    def _noise(self, best):
        """Function of a set of paths to the power of the outputs' noise with these in float, as it is expected."""
        copy = self._network(copy_of(best.source.model))
        _, unrounded, _ = self._round(best.source, copy, best.trial.cures[-1].replace("follow", "data"))
        rounded = {path: layer.get_weights() for path, layer in copy.layers.items()}
        for path, layer in copy.layers.items():
            layer.set_weights(unrounded[path])
        images = self.held_out.images[:ALONE_IMAGES]
        reference, weights, tensors = run(copy, images).astype("float64"), {}, {}
        for path, layer in copy.layers.items():
            layer.set_weights(rounded[path])
            weights[path] = float(np.sum((run(copy, images) - reference) ** 2))
            layer.set_weights(unrounded[path])
        rule = TensorRule(copy, self.float_outputs)
        if self.activation_bits:
            simulation = self._simulation(copy, self.images)
            for tensor in rule.tensors():
                tensors[tensor] = float(np.sum((simulation.outputs(images, only=tensor) - reference) ** 2))

        def noise(kept):
            still = rule.tensors(kept) if tensors else ()
            return sum(weights[path] for path in weights if path not in kept) + sum(tensors[t] for t in still)

        return noise

    def finetuned(self, best, options):
        """`Result` of training the network on, from where the best one starts."""
        self.progress("fine-tuning")
        start = time.perf_counter()
        options = {"dataset": None, "seed": self.seed, **options}
        data = options.pop("dataset")
        given = {"bits": self.bits, "activation_bits": self.activation_bits, "kept": best.trial.kept, "free": self.free}
        begin = next(cure for cure in best.trial.cures if cure in METHODS)
        model, _ = finetune(
            best.source.model, self.images if data is None else data, start=begin, **{**given, **options}
        )
        copy = self._network(model)
        trial = self._measured(copy, (*best.trial.cures, "finetune"), best.trial.kept, time.perf_counter() - start)
        return Result(trial, best.source, copy, rounded_layers(best.source, copy, best.trial.kept))

    def report(self, best, steps, max_kept, kept_of):
        base = self._simulation(self.base, self.images)
        final = self._simulation(best.copy, self.images)
        costs = shares(best.copy, kept_of, self.shape)
        labels = self.held_out.labels
        return QuantizationReport(
            bits=self.bits,
            activation_bits=self.activation_bits,
            float_outputs=self.float_outputs,
            images=len(self.images),
            held_out=len(self.held_out),
            seed=self.seed,
            trials=tuple(self.trials),
            chosen=best.trial,
            activations_db=base.db(self.reference, self.held_out.images) if self.activation_bits else None,
            accuracy_before=None if labels is None else _accuracy(self.reference, labels),
            kept=best.trial.kept,
            kept_steps=steps,
            identity_in_float=tuple(path for path in self.free if path not in best.trial.kept),
            kept_share=float(sum(costs[path] for path in best.trial.kept)),
            max_kept=float(max_kept),
            kept_of=kept_of,
            layers=best.layers,
            left=dict(best.copy.left),
            ranges=final.ranges.by_path(),
            notes=tuple(self.notes),
        )

    def _network(self, model):
        return Network(model, self.shape)

    def _simulation(self, network, images):
        return Simulation(network, images, self.activation_bits, self.float_outputs)

    def _measured(self, copy, cures, kept, seconds):
        images, labels = self.held_out.images, self.held_out.labels
        weights = run(copy, images)
        outputs = weights
        if self.activation_bits:
            outputs = self._simulation(copy, self.images).outputs(images, kept)
        trial = Trial(
            cures=tuple(cures),
            db=signal_to_noise_db(self.reference, outputs),
            weights_db=signal_to_noise_db(self.reference, weights),
            agreement=float(np.mean(_classes(outputs) == _classes(self.reference))),
            accuracy=None if labels is None else _accuracy(outputs, labels),
            kept=tuple(kept),
            seconds=seconds,
        )
        self.trials.append(trial)
        return trial


def _classes(logits):
    return (logits[:, 0] > 0).astype(int) if logits.shape[-1] == 1 else logits.argmax(axis=-1)


def _accuracy(logits, labels):
    return float(np.mean(_classes(logits) == labels))
