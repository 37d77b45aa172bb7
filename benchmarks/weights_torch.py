"""State dicts and outputs of PyTorch's networks, for `benchmarks.weights`: run by a Python that has torch.

```
python3 benchmarks/weights_torch.py FOLDER            # the networks whose library is installed there
python3 benchmarks/weights_torch.py FOLDER --only resnet18 --side 64
```

Weights, gammas, betas and statistics are random: fresh BatchNormalization is nearly the identity, and a wrong epsilon
or a mean in the place of a variance would not show. This file imports nothing of this package.
"""

import argparse
import json
import pathlib

import numpy as np
import torch
from torch import nn

# Network of the importer -> library, how it makes the network, pixels on a side.
SOURCES = {
    "resnet18": ("torchvision", "torchvision.models", "resnet18", 64),
    "resnet50": ("torchvision", "torchvision.models", "resnet50", 64),
    "resnext50_32x4d": ("torchvision", "torchvision.models", "resnext50_32x4d", 64),
    "wide_resnet50_2": ("torchvision", "torchvision.models", "wide_resnet50_2", 64),
    "vgg11": ("torchvision", "torchvision.models", "vgg11", 224),
    "vgg16_bn": ("torchvision", "torchvision.models", "vgg16_bn", 224),
    "timm:resnet34": ("timm", "timm", "resnet34", 65),
    "timm:vgg11_bn": ("timm", "timm", "vgg11_bn", 224),
    "timm:repvgg_a2": ("timm", "timm", "repvgg_a2", 64),
    "timm:repvgg_b1g4": ("timm", "timm", "repvgg_b1g4", 64),
    "authors:diracnet18": ("the authors", "diracnet", "diracnet18", 224),
    "authors:diracnet34": ("the authors", "diracnet", "diracnet34", 224),
    "pytorchcv:diracnet18": ("pytorchcv", "pytorchcv.models.diracnetv2", "diracnet18v2", 224),
    "pytorchcv:wide_resnet_16_10_cifar": ("pytorchcv", "pytorchcv.models.wrn_cifar", "wrn16_10_cifar10", 32),
    "efficientnet_lite0": ("efficientnet-lite-pytorch", "efficientnet_lite_pytorch", "efficientnet-lite0", 224),
}
FUNCTIONAL = {  # of the authors' code: functions of a dict of tensors
    "authors:diracnet18/unfolded": ("diracnet", "define_diracnet", (18, 1, "ImageNet"), 64, 1000),
    "authors:diracnet_16_2_cifar": ("diracnet", "define_diracnet", (16, 2, "CIFAR10"), 32, 10),
    "authors:wide_resnet_16_2_cifar": ("resnet", "resnet", (16, 2, 10), 32, 10),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--only", action="append")
    parser.add_argument("--side", type=int)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.only or [*SOURCES, *FUNCTIONAL]:
        torch.manual_seed(0)
        try:
            source, state, run, side = make(name)
        except ImportError as error:
            print(f"{name}: left out, {error}")
            continue
        side = options.side or side
        images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            outputs = run(images)
        place = options.folder / name.replace(":", "-").replace("/", "-")
        legacy = name.startswith("authors")  # as in 2018
        torch.save(state, f"{place}.pth", _use_new_zipfile_serialization=not legacy)
        np.savez(f"{place}.npz", images=images.permute(0, 2, 3, 1).numpy(), outputs=outputs.numpy())
        record = {"as": name.split(":")[-1].split("/")[0], "source": source, "side": side, "torch": torch.__version__}
        pathlib.Path(f"{place}.json").write_text(json.dumps(record))
        print(f"{name}: written, largest output {float(outputs.abs().max()):.3g}", flush=True)


def make(name):
    """`(source, what to save, function of images, side)` of a network with random weights."""
    if name in FUNCTIONAL:
        module, function, arguments, side, classes = FUNCTIONAL[name]
        run, params = getattr(__import__(module), function)(*arguments)
        params = {key: value.detach() for key, value in params.items()}
        params["fc.weight"] = torch.randn(classes, params["fc.weight"].shape[1]) * 0.1
        params["fc.bias"] = torch.randn(classes)
        randomize({key: value for key, value in params.items() if not key.startswith("eye")})
        state = {"params": params, "epoch": 3, "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}}}
        return f"{module}.py of the authors", state, lambda images: run(images, params, False), side
    source, module, function, side = SOURCES[name]
    module = __import__(module, fromlist=["_"])
    if source == "timm":
        model = module.create_model(function)
    else:
        is_lite = function == "efficientnet-lite0"
        model = module.EfficientNet.from_name(function) if is_lite else getattr(module, function)()
    model.eval()
    randomize(dict(model.named_parameters()) | dict(model.named_buffers()))
    return source, model.state_dict(), model, side


def randomize(tensors):
    """Gammas, betas and statistics that matter, and biases; kernels stay as they were drawn."""
    norms = {name.rsplit(".", 1)[0] for name in tensors if name.endswith("running_var")}
    with torch.no_grad():
        for name, value in tensors.items():
            owner, _, kind = name.rpartition(".")
            if kind == "running_var" or (owner in norms and kind == "weight"):
                value.uniform_(0.5, 1.5)
            elif kind == "running_mean" or kind == "bias":
                value.normal_(0, 0.2)
            elif kind in ("alpha", "beta"):
                value.uniform_(0.2, 0.8)


def _add_module(module, name, child):
    """As PyTorch did before it refused a dot in a name, which the DiracNet authors' code has."""
    module._modules[name] = child


if __name__ == "__main__":
    nn.Module.add_module = _add_module
    main()
