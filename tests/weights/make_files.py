"""Writes `files/`: what PyTorch itself wrote, for `test_reading`. Run by a Python that has torch (1.13.1 then):

python3 tests/weights/make_files.py
"""

import pathlib

import numpy as np
import torch
from torch import nn

FOLDER = pathlib.Path(__file__).parent / "files"

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
model(torch.randn(2, 3, 4, 4)).sum().backward()
optimizer.step()
state = model.state_dict()
kernel = state["0.weight"]
odd = {
    "half": kernel.half(),
    "bfloat16": kernel.bfloat16(),
    "double": kernel.double(),
    "turned": kernel.permute(2, 3, 1, 0),  # a view with other strides
    "part": kernel[1:3, 1],  # a view that begins inside
    "twice": kernel,
    "parameter": nn.Parameter(kernel),
    "empty": torch.zeros(0, 3),
    "number": torch.tensor(2.5),
}
checkpoint = {"epoch": 3, "arch": "tiny", "state_dict": state, "optimizer": optimizer.state_dict()}
parallel = {"state_dict": {f"module.{name}": value for name, value in state.items()}}
for name, value in {"plain": state, "odd": odd, "checkpoint": checkpoint, "parallel": parallel}.items():
    torch.save(value, FOLDER / f"{name}.pth")
    torch.save(value, FOLDER / f"{name}-legacy.pth", _use_new_zipfile_serialization=False)
numbers = {**state, **{f"odd:{name}": value.detach().float() for name, value in odd.items()}}
np.savez(FOLDER / "expected.npz", **{name: value.numpy() for name, value in numbers.items()})
torch.jit.save(torch.jit.script(nn.Linear(2, 1)), str(FOLDER / "script.pt"))
