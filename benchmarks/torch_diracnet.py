"""DiracNet in PyTorch, written from the paper's formulas: what its authors' code computes, timed beside ours.

Source: Zagoruyko & Komodakis 2017, arXiv:1706.00388, eq. 5 and table 1.
"""

import statistics
import time

WARMUP = 20
ROUNDS = 5


def build(depth, width=1.0, num_classes=10):
    """The network as a `torch.nn.Module`: stem, three groups of Dirac convolutions, pooling, classifier.

    Args:
        depth: int, `6 N + 4`.
        width: factor on the channels 16, 32, 64.
        num_classes: int.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    class DiracConv(nn.Module):
        """Kernel `diag(a) I + diag(b) W_norm`."""

        def __init__(self, inputs, outputs):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
            self.identity_scale = nn.Parameter(torch.ones(outputs))
            self.filter_scale = nn.Parameter(torch.full((outputs,), 0.1))
            self.register_buffer("identity", nn.init.dirac_(torch.empty(outputs, inputs, 3, 3)))

        def forward(self, x):
            normalized = functional.normalize(self.weight.flatten(1), dim=1).view_as(self.weight)
            a, b = self.identity_scale.view(-1, 1, 1, 1), self.filter_scale.view(-1, 1, 1, 1)
            return functional.conv2d(x, a * self.identity + b * normalized, padding=1)

    channels = [round(count * width) for count in (16, 32, 64)]
    layers = [nn.Conv2d(3, channels[0], 3, padding=1, bias=False), nn.BatchNorm2d(channels[0])]
    before = channels[0]
    for group, count in enumerate(channels):
        if group:
            layers.append(nn.MaxPool2d(2))
        for _ in range((depth - 4) // 3):
            layers += [nn.ReLU(), DiracConv(before, count), nn.BatchNorm2d(count)]
            before = count
    layers += [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, num_classes)]
    return nn.Sequential(*layers)


def time_steps(part, is_compiled):
    """Median of a training step: SGD with momentum on a batch that lies on the device; bfloat16 by autocast on a GPU.

    Args:
        part: `accelerator_parts.Part`.
        is_compiled: whether under `torch.compile`.
    """
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    model = build(part.depth, part.width).to(device, memory_format=torch.channels_last)
    fused = {"fused": True} if device.type == "cuda" else {}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, **fused)
    images = torch.randn(part.batch_size, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (part.batch_size,), device=device)
    is_mixed = part.precision == "bfloat16" or (part.precision == "auto" and device.type == "cuda")

    def loss_of(x, y):
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_mixed):
            return torch.nn.functional.cross_entropy(model(x), y)

    compute = torch.compile(loss_of) if is_compiled else loss_of

    def step():
        optimizer.zero_grad(set_to_none=True)
        compute(images, labels).backward()
        optimizer.step()

    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize()

    start = time.perf_counter()
    step()
    wait()
    first = time.perf_counter() - start
    for _ in range(min(WARMUP, part.steps)):
        step()
    wait()
    seconds = []
    per_round = max(1, part.steps // ROUNDS)
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(per_round):
            step()
        wait()
        seconds.append((time.perf_counter() - start) / per_round)
    step_s = statistics.median(seconds)
    memory = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None
    return {
        "step_ms": 1e3 * step_s,
        "compile_s": max(0.0, first - step_s),
        "device_mib": memory,
        "versions": {"torch": torch.__version__},
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
    }
