"""The doctor for integers: layers are named by what they add to the noise, with the reason that their weights show."""

import dataclasses
import math

import keras
import numpy as np
import pytest

from dirac_keras.deployment.quantization import QuantizationAudit, audit
from dirac_keras.deployment.quantization.auditing import LayerAudit, TensorAudit
from dirac_keras.diagnostics import judge_quantization, write_quantization_page
from tests.deployment.quantized_networks import CHANNELS, chain, images
from tests.pages.browser import look

EVIL = "<img src=x onerror=alert(1)>"

LAYER = LayerAudit(
    **{"path": "conv", "kind": "Conv2D", "parameters": 100, "low": -1.0, "high": 1.0, "max_over_rms": 3.0},
    **{"max_over_rms_most": 4.0, "outlier_filters": 0, "kurtosis": 3.0, "identity_ratio": 1.0, "filters": 8},
    **{"zero_filters": 0, "weight_db": 45.0, "layer_db": 45.0, "accumulated_db": 45.0, "alone_db": 60.0},
    noise_share=0.5,
)
TENSOR = TensorAudit("relu", 0.0, 4.0, 8.0, 1.5, 0, 8, 45.0, 60.0)


def network(layers, tensors=(TENSOR,), db=30.0, left=None, bits=8):
    layers = [dataclasses.replace(LAYER, **changes) for changes in layers]
    return QuantizationAudit("net", bits, 8, 64, 64, tuple(layers), tuple(tensors), left or {}, db, 50.0, db)


def found(verdict):
    return {finding.name: finding.layers for finding in verdict.findings}


def test_a_network_that_keeps_its_outputs_has_no_finding():
    verdict = judge_quantization(network([{}], db=36.0))
    assert verdict.survives and not verdict.findings and not verdict.layers
    assert verdict.summary == "int8: the network survives: 36.0 dB at its outputs without any cure (35 are asked)."


def test_a_layer_fails_that_takes_more_than_its_share_of_the_noise():
    # 35 dB shared by ten layers: 45 dB each.
    layers = [{"path": f"conv{k}", "alone_db": 44.9 if k == 3 else 45.1} for k in range(10)]
    verdict = judge_quantization(network(layers))
    assert verdict.layers == ("conv3",)
    assert "1 of 10 layers will not survive: 30.0 dB at the outputs, 35 are asked" in verdict.summary


def test_reasons_are_told_apart_by_the_weights():
    layers = [
        {"path": "identity", "alone_db": 30.0, "identity_ratio": 30.0, "outlier_filters": 8},
        {"path": "outlier", "alone_db": 31.0, "outlier_filters": 2, "max_over_rms_most": 20.0},
        {"path": "coarse", "alone_db": 32.0, "identity_ratio": None},
        {"path": "sound"},
    ]
    verdict = judge_quantization(network(layers))
    assert found(verdict) == {
        "identity tap": ("identity",),
        "outlier filters": ("outlier",),
        "coarse weights": ("coarse",),
    }
    assert verdict.layers == ("identity", "outlier", "coarse")
    # 127 steps for the identity tap, so 127 / 30 for the rms of the others.
    assert "30 times the rms of the learned taps beside it. It becomes the integer 127" in verdict.lines()[1]
    assert "leaves the learned ones 4.2 steps of rms" in verdict.lines()[1]
    assert "2 of 8 filters have a weight of 20 times their rms" in verdict.lines()[3]


@pytest.mark.parametrize(("bits", "said"), [(4, True), (8, False)])
def test_where_int4_keeps_the_identity_in_float_is_said(bits, said):
    layers = [{"alone_db": 3.0, "identity_ratio": 30.0}]
    text = " ".join(judge_quantization(network(layers, db=2.0, bits=bits)).lines())
    assert ("Export to ONNX or OpenVINO, whose int4 keeps it in float at no cost" in text) is said


def test_tensors_of_activations_are_told_apart_too():
    tensors = [
        dataclasses.replace(TENSOR, path="outlier", alone_db=30.0, max_over_rms=40.0),
        dataclasses.replace(TENSOR, path="uneven", alone_db=30.0, channel_spread=9.0),
        dataclasses.replace(TENSOR, path="other", alone_db=30.0),
        dataclasses.replace(TENSOR, path="dead", dead_channels=3),
    ]
    verdict = judge_quantization(network([{}], tensors, left={"bn": "BatchNormalization: fold the model first"}))
    assert found(verdict) == {
        "activation outliers": ("outlier",),
        "uneven channels": ("uneven",),
        "activation range": ("other",),
        "dead channels": ("dead",),
        "not quantized": ("bn",),
    }


def test_the_target_is_lower_in_four_bits_and_can_be_given():
    assert judge_quantization(network([{}], db=25.0, bits=4)).survives
    assert not judge_quantization(network([{}], db=25.0, bits=4), target=26.0).survives


# The audit ------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def measured():
    model = chain(depth=3)
    kernel, bias = model.get_layer("conv1").get_weights()
    kernel[..., 2] = 0  # a filter without weights
    bias[2] = -1.0  # whose ReLU never opens
    model.get_layer("conv1").set_weights([kernel, bias])
    before = model.get_weights()
    result = audit(model, images(48))
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    return model, result


def test_figures_of_a_kernel(measured):
    model, result = measured
    layer = result.layers[0]
    kernel = keras.ops.convert_to_numpy(model.get_layer("conv0").kernel)
    filters = kernel.reshape(-1, CHANNELS).T
    ratio = np.abs(filters).max(axis=1) / np.sqrt((filters**2).mean(axis=1))
    assert layer.max_over_rms == pytest.approx(np.median(ratio), rel=1e-5)
    assert layer.max_over_rms_most == pytest.approx(ratio.max(), rel=1e-5)
    # Learned taps of norm 0.3 or so beside an identity of 1: sqrt(72) / 0.3.
    assert layer.identity_ratio == pytest.approx(math.sqrt(72) / 0.3, rel=0.3)
    assert layer.kurtosis > 20 and layer.outlier_filters == 0  # what stands out is the identity
    assert (layer.low, layer.high) == (kernel.min(), kernel.max())


def test_noise_adds_up_along_the_chain_and_to_the_whole(measured):
    _, result = measured
    convolutions = result.layers[:3]
    assert convolutions[0].accumulated_db == convolutions[0].layer_db  # nothing stands below it
    assert convolutions[2].accumulated_db < convolutions[2].layer_db
    assert sum(layer.noise_share for layer in result.layers) == pytest.approx(1.0)
    assert result.weights_db < min(layer.alone_db for layer in result.layers)
    assert result.db < min(result.weights_db, result.activations_db) + 1


def test_dead_channels_and_filters_are_counted(measured):
    _, result = measured
    assert [layer.zero_filters for layer in result.layers] == [0, 1, 0, 0]
    dead = {tensor.path: tensor.dead_channels for tensor in result.tensors}
    assert dead["conv1"] == 1 and dead["conv0"] == 0


def test_the_doctor_finds_the_identity_taps(measured):
    _, result = measured
    verdict = judge_quantization(result, target=45.0)
    assert set(found(verdict)["identity tap"]) == {"conv0", "conv1", "conv2"}
    assert found(verdict)["dead channels"] == ("conv1",)
    assert "conv0" in str(result)


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1600])
def test_page_shows_each_verdict_and_marks_the_layers_it_names(tmp_path, width):
    layers = [{"path": f"conv{k}", "alone_db": 44.9 if k == 3 else math.inf if k == 5 else 60.0} for k in range(10)]
    audits = [network(layers), network([{"path": "<b>conv"}], db=36.0, bits=4)]
    verdicts = [judge_quantization(one) for one in audits]
    write_quantization_page(verdicts, audits, tmp_path / "page.html", EVIL, [EVIL])
    seen = look(tmp_path / "page.html", width, find=["figure", "td.bad", ".verdict.bad", ".verdict.good"])
    assert not seen.faults and seen.text.count(EVIL) == 2 and "<b>conv" in seen.text
    assert len(seen.found["figure"]) == 4 and "Here: 1 of 10 below." in seen.text
    assert [text.split()[0] for text in seen.found["td.bad"]] == ["conv3"]
    assert "1 of 10 layers will not survive" in seen.found[".verdict.bad"][0]
    assert "the network survives" in seen.found[".verdict.good"][0]
