import subprocess
import sys

import dirac_keras


def test_public_names():
    assert sorted(dirac_keras.__all__) == [
        "SkipPhaseOut",
        "TrainConfig",
        "assert_plain",
        "diracify",
        "explain",
        "export",
        "features",
        "fold",
        "from_preset",
        "from_pretrained",
        "layers",
        "load_model",
        "models",
        "plainify",
        "undiracify",
    ]
    assert callable(dirac_keras.fold) and callable(dirac_keras.export)
    assert sorted(dirac_keras.layers.__all__) == [
        "BatchNormalization",
        "DiracConv1D",
        "DiracConv2D",
        "DiracConv3D",
        "DiracDense",
        "Gelu",
        "VariableSkip",
        "WhitenedConv2D",
        "add_variable_skip",
    ]


def test_package_imports_without_tensorflow():
    code = """
import sys
sys.modules["tensorflow"] = None  # an import of it raises ImportError
import dirac_keras, dirac_keras.layers, dirac_keras.training, dirac_keras.graph.costs
import keras
model = keras.Sequential([keras.Input((6,)), dirac_keras.layers.DiracDense(6), dirac_keras.layers.BatchNormalization()])
folded, report = dirac_keras.fold(model, verify=False)
print(type(folded).__name__)
"""
    process = subprocess.run(
        [sys.executable, "-c", code], env={"KERAS_BACKEND": "jax", "PATH": ""}, capture_output=True, text=True
    )
    assert process.stdout.strip() == "Sequential", process.stderr
