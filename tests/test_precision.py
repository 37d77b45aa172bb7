import keras
import pytest

from dirac_keras import precision


@pytest.mark.parametrize(
    ("flags", "policy"),
    [({"avx2"}, "float32"), ({"avx2", "amx_bf16"}, "mixed_bfloat16"), ({"avx512_bf16"}, "mixed_bfloat16")],
)
def test_auto_takes_bfloat16_where_the_processor_has_it(flags, policy, monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0"])
    monkeypatch.setattr(precision, "cpu_flags", lambda: flags)
    assert precision.resolve_precision("auto")[0] == policy


def test_auto_takes_bfloat16_on_an_accelerator(monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0"])
    monkeypatch.setattr(precision, "cpu_flags", set)
    assert precision.resolve_precision("auto")[0] == "mixed_bfloat16"


def test_flags_are_read_from_the_systems_file(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor : 0\nflags\t\t: fpu avx2 amx_bf16\n")
    assert precision.cpu_flags(path) == {"fpu", "avx2", "amx_bf16"}
    assert precision.cpu_flags(tmp_path / "absent") == set()


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match=r"precision must be one of auto, float32.*Received precision='double'"):
        precision.resolve_precision("double")


def test_float64_is_refused_where_keras_computes_in_float32(monkeypatch):
    assert precision.resolve_precision("float64") == ("float64", "as asked")
    monkeypatch.setattr(keras.backend, "result_type", lambda *dtypes: "float32")  # as on JAX
    with pytest.raises(ValueError, match=r"computes in float32 what is asked in float64.*KERAS_BACKEND=tensorflow"):
        precision.resolve_precision("float64")


def test_former_policy_returns_after_an_error():
    with pytest.raises(KeyError), precision.dtype_policy("mixed_bfloat16"):
        raise KeyError
    assert keras.config.dtype_policy().name == "float32"
