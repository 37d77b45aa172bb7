"""Named settings: a recipe gives every field of a `TrainConfig` that is left None."""

# What holds where a recipe says nothing else.
_COMMON = {
    "batch_size": 128,
    "decay_epochs": (),
    "decay_factor": 1.0,
    "label_smoothing": 0.0,
    "nesterov": False,
    "kernel_initializer": "paper",
    "filter_scale": 0.1,
    "precision": "auto",
}
_OWN = {
    # arXiv:1706.00388, section 3; Wide ResNet's settings.
    "cifar": {
        "epochs": 200,
        "learning_rate": 0.1,
        "schedule": "step",
        "decay_epochs": (60, 120, 160),
        "decay_factor": 0.2,
        "weight_decay": 5e-4,
    },
    "imagenet": {
        "epochs": 100,
        "batch_size": 256,
        "learning_rate": 0.1,
        "schedule": "step",
        "decay_epochs": (30, 60, 90),
        "decay_factor": 0.1,
        "weight_decay": 1e-4,
    },
    # PlainNets, section V.A: the rate is "in the range [0.0001-0.1]"; which, and how it falls, is ours to settle.
    "plainnet": {
        "epochs": 300,
        "learning_rate": 0.01,
        "schedule": "one_cycle",
        "weight_decay": 1e-4,
        "precision": "float32",  # small matrix products are slower in bfloat16 on a CPU without AMX
    },
    # VANs, section 4.2 and 4.1. Weight decay is not stated; that of He et al. 2016, whose training 4.2 follows.
    "van": {
        "epochs": 165,
        "learning_rate": 0.1,
        "schedule": "step",
        "decay_epochs": (82, 125),
        "decay_factor": 0.1,
        "weight_decay": 1e-4,
    },
    "van_dense": {
        "epochs": 50,
        "learning_rate": 0.001,
        "schedule": "constant",
        "weight_decay": 0.0,
        "precision": "float32",  # as for plainnet
    },
    # A few epochs on a CPU. In so few, these networks fit too little rather than too much: a high rate, kernels that
    # start small and so turn faster, and filters that weigh more from the start (docs/deviations.md).
    "quick": {
        "epochs": 15,
        "learning_rate": 0.3,
        "schedule": "one_cycle",
        "weight_decay": 5e-4,
        "label_smoothing": 0.05,
        "nesterov": True,
        "kernel_initializer": "he_normal",
        "filter_scale": 0.3,
    },
}
RECIPES = {name: _COMMON | own for name, own in _OWN.items()}
