"""`quantization.Memory`: what was rounded once is not rounded again, and is what would have been made."""

import keras
import numpy as np
import pytest

from benchmarks.deployment import PRECISIONS, in_order
from dirac_keras.deployment.quantization import Memory, quantize, trials
from dirac_keras.deployment.quantization.memory import digest
from tests.deployment.quantized_networks import chain, images

CURES = ("data", "follow", "equalize_activations")
FULL = {"bits": 8, "cures": CURES}  # as LiteRT asks
FLOAT_OUT = {**FULL, "float_outputs": True}  # as ONNX and OpenVINO ask


@pytest.fixture
def rounds(monkeypatch):
    """The methods with which networks were rounded, in order."""
    found, own = [], trials.round_network

    def counted(source, copy, images, bits, method, *rest, **options):
        found.append(method)
        return own(source, copy, images, bits, method, *rest, **options)

    monkeypatch.setattr(trials, "round_network", counted)
    return found


def same(one, other):
    (model, report), (again, report_again) = one, other
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    facts = [{**each.to_dict(), "trials": None, "chosen": None} for each in (report, report_again)]
    assert facts[0] == facts[1]
    figures = [[(t.cures, t.kept, t.db, t.weights_db, t.agreement) for t in each.trials] for each in
               (report, report_again)]  # fmt: skip
    assert figures[0] == figures[1]


@pytest.mark.slow
def test_formats_share_what_is_rounded_and_get_what_each_would_have_made(rounds):
    model, given, memory = chain(depth=2), images(48), Memory()
    first = quantize(model, given, **FULL, memory=memory)
    once = len(rounds)
    others = [quantize(model, given, **FLOAT_OUT, memory=memory) for _ in range(2)]
    # The strength of equalizing is chosen with the logits' rounding in view: at most that is another network.
    assert rounds[:3] == ["nearest", "data", "follow"] and len(rounds) <= once + 1
    same(first, quantize(model, given, **FULL))
    for other in others:
        same(other, quantize(model, given, **FLOAT_OUT))


@pytest.mark.slow
def test_layers_in_float_are_looked_for_from_what_is_known(rounds):
    model, given, memory = chain(depth=2), images(48), Memory()
    _, report = quantize(model, given, cures=("data", "follow"), memory=memory)
    rounds.clear()
    kept = quantize(model, given, cures=("data", "follow"), max_kept=0.3, memory=memory)
    assert rounds == [report.cures[-1]] and kept[1].kept  # with the layers in float, and no more
    same(kept, quantize(model, given, cures=("data", "follow"), max_kept=0.3))


def test_what_is_remembered_stays_whatever_is_done_with_the_model(rounds):
    model, given, memory = chain(depth=1), images(32), Memory()
    copy, _ = quantize(model, given, cures=("data",), memory=memory)
    before = copy.get_weights()
    copy.set_weights([0 * weight for weight in before])
    again, _ = quantize(model, given, cures=("data",), memory=memory)
    for a, b in zip(before, again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_other_weights_images_labels_bits_and_seeds_are_other_things(rounds):
    model, given, memory = chain(depth=1), images(32), Memory()
    options = {"cures": (), "memory": memory}
    labels = np.arange(32) % 4
    calls = [{}, {"bits": 4}, {"seed": 1}, {"identity_in_float": True}, {}, {"labels": labels}]
    counts = []
    for call in calls:
        quantize(model, given, **options, **call)
        counts.append(len(rounds))
    # The seed draws other images to measure on; the labels are another matter: all is forgotten.
    assert counts == [1, 2, 3, 4, 4, 5]
    given[0, 0, 0, 0] += 1e-3
    quantize(model, given, **options, labels=labels)
    model.get_layer("head").bias.assign_add([0, 0, 1e-3, 0])
    quantize(model, given, **options, labels=labels)
    other = chain(depth=1)
    other.set_weights(model.get_weights())
    quantize(other, given, **options, labels=labels)
    assert len(rounds) == 8
    with pytest.raises(ValueError, match=r"memory must be a `quantization\.Memory`, or None\. Received memory=\{\}"):
        quantize(model, given, memory={})


def test_arrays_are_told_apart():
    a = np.arange(6.0)
    told = [(a,), (a.reshape(2, 3),), (a.reshape(3, 2).T,), (a.astype("float32"),), (a, None), (a[:0],), (a[:3], a[3:])]
    assert len({digest(*arrays) for arrays in told}) == len(told)
    assert digest(a.reshape(2, 3).T) == digest(np.ascontiguousarray(a.reshape(2, 3).T))


def test_precisions_of_as_many_bits_follow_one_another():
    ordered = in_order(PRECISIONS)
    assert ordered[:5] == ["float32", "float16", "int8", "int8-recommended", "int8-nearest"]
    assert ordered[5:] == ["int4", "int4-recommended", "int4-nearest"]


@pytest.mark.slow
def test_artefacts_are_the_same_byte_by_byte(tmp_path):
    pytest.importorskip("tf2onnx")
    pytest.importorskip("litert_quantizer")
    from dirac_keras import export

    inputs = keras.Input((6, 6, 8))
    model = keras.Model(inputs, chain(depth=2)(inputs))
    pixels = np.random.default_rng(0).integers(0, 256, (32, 6, 6, 8)).astype("uint8")
    options = {"precision": "int8", "calibration": pixels, "input": "unit", "verify": False}
    memory = Memory()
    for format, suffix in {"litert": ".tflite", "onnx": ".onnx"}.items():
        paths = [tmp_path / f"{name}{suffix}" for name in ("with", "without")]
        for path, given in zip(paths, ({"memory": memory}, {}), strict=True):
            export(model, path, format, quantization={"cures": CURES, **given}, **options)
        assert paths[0].read_bytes() == paths[1].read_bytes()
