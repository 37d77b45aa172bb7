"""What of a layer is for its training alone and is not in the folded model."""

import keras

_ENDINGS = ("_constraint", "_regularizer")


def dropped_parts(layer, copy):
    """What a layer has and its copy in a folded model has not, as texts such as `"MaxNorm, its kernel_constraint"`.

    They were about weights that are no more: a constraint or a regularizer of a kernel that has absorbed
    BatchNormalization or an identity, or LoRA, whose matrices are now in the kernel.
    """
    if copy is layer or not isinstance(copy, keras.layers.Layer):
        return []
    found = [
        f"{type(value).__name__}, its {name}"
        for name, value in sorted(vars(layer).items())
        if name.endswith(_ENDINGS) and value is not None and getattr(copy, name, None) is None
    ]
    had_lora = getattr(layer, "lora_enabled", False) and not getattr(copy, "lora_enabled", False)
    return [*found, *(["LoRA, which is in its kernel now"] if had_lora else [])]
