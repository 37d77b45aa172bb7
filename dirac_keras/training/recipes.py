"""Named settings: a recipe gives every field of a `TrainConfig` that is left None."""

# What holds where a recipe says nothing else; the first three are the network of a user who names none.
_COMMON = {
    "family": "diracnet",
    "depth": 28,
    "width": 1.0,
    "augmentation": "auto",
    "optimizer": "sgd",
    "momentum": 0.9,
    "warmup_fraction": 0.25,
    "start_fraction": 0.0,
    "end_fraction": 0.0,
    "muon_learning_rate": 0.24,
    "muon_momentum": 0.6,
    "beta_rate": 1.0,
    "lookahead_steps": 0,
    "batch_size": 128,
    "decay_epochs": (),
    "decay_factor": 1.0,
    "loss": "crossentropy",
    "focal_gamma": 2.0,
    "label_smoothing": 0.0,
    "nesterov": False,
    "momentum_rule": "keras",
    "kernel_initializer": "paper",
    "filter_scale": 0.1,
    "precision": "auto",
}
# Wide Residual Networks, arXiv:1605.07146, section 3: the rates and the decay; without its Nesterov momentum.
_WIDE_RESNET = {
    "epochs": 200,
    "learning_rate": 0.1,
    "schedule": "step",
    "decay_epochs": (60, 120, 160),
    "decay_factor": 0.2,
    "weight_decay": 5e-4,
    "momentum_rule": "pytorch",
}
# A few epochs on a CPU. In so few, these networks fit too little rather than too much: a high rate, kernels that start
# small and so turn faster, and filters that weigh more from the start (docs/deviations.md).
_QUICK = {
    "epochs": 15,
    "learning_rate": 0.3,
    "schedule": "one_cycle",
    "weight_decay": 5e-4,
    "label_smoothing": 0.05,
    "nesterov": True,
    "kernel_initializer": "he_normal",
    "filter_scale": 0.3,
}
_OWN = {
    # arXiv:1706.00388, section 3: "the same training hyperparameters as WRN". The authors' code has no Nesterov.
    "cifar": _WIDE_RESNET,
    "wide_resnet": _WIDE_RESNET | {"nesterov": True},
    "imagenet": {
        "epochs": 100,
        "batch_size": 256,
        "learning_rate": 0.1,
        "schedule": "step",
        "decay_epochs": (30, 60, 90),
        "decay_factor": 0.1,
        "weight_decay": 1e-4,
        "momentum_rule": "pytorch",
    },
    # PlainNets, section VI, before VI.A: the rate is "in the range [0.0001-0.1]"; which, and how it falls, is ours to
    # settle.
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
        "momentum_rule": "pytorch",
    },
    "van_dense": {
        "epochs": 50,
        "learning_rate": 0.001,
        "schedule": "constant",
        "weight_decay": 0.0,
        "precision": "float32",  # as for plainnet
    },
    "quick": _QUICK,
    "quick_muon": _QUICK | {"optimizer": "muon", "muon_learning_rate": 0.1},  # docs/fast.md has what it gives
    # For integers: the identity taps leave by 60 % of the epochs, of which deep networks need three times as many then
    # (docs/diracnets.md).
    "int8": _QUICK | {"epochs": 45, "identity_bound": 0.0},
    # Weights that are there, for other data: a low rate for what they know, the full one for the new head.
    "finetune": {
        "epochs": 15,
        "learning_rate": 0.1,
        "learning_rate_of": "head_dense=1,*=0.1",
        "schedule": "one_cycle",
        "warmup_fraction": 0.1,
        "weight_decay": 5e-4,
        "nesterov": True,
    },
    # Minutes on two cores: airbench94_muon of Jordan 2024 (arXiv:2404.00498 and its repository) in batches of 1,024
    # images. The loss there is a sum over a batch and here a mean, so that the rates are 1,024 times theirs; that of
    # the classifier, 0.67 with weights of 81 times the square of ours, is 0.85 (docs/fast.md).
    "fast": {
        "family": "fastnet",
        "depth": 8,
        "augmentation": "alternating",
        "epochs": 10,
        "batch_size": 1024,
        "optimizer": "muon",
        "learning_rate": 0.85,
        "schedule": "one_cycle",
        "warmup_fraction": 0.0,
        "momentum": 0.85,
        "nesterov": True,
        "weight_decay": 0.0024,
        "beta_rate": 64.0,
        "label_smoothing": 0.2,
    },
}
RECIPES = {name: _COMMON | own for name, own in _OWN.items()}

# What holds instead for a network of another family than the recipe's. The rates of `fast` are for logits divided by
# 9, which divides every gradient, and for eight layers; with them 10 dense layers diverge.
OTHER_NETWORKS = {name: {"depth": _COMMON["depth"], "width": _COMMON["width"]} for name in RECIPES}
OTHER_NETWORKS["fast"] |= {"learning_rate": 0.1, "beta_rate": 1.0, "muon_learning_rate": 0.1}

# What holds instead where another optimizer or schedule is asked for than the recipe's: rates and decays of SGD are
# none of AdamW's or Lion's (docs/training-options.md has what they give).
OTHER_OPTIMIZERS = {
    "adamw": {"learning_rate": 0.01, "weight_decay": 0.025, "beta_rate": 1.0},
    "lion": {"learning_rate": 0.003, "weight_decay": 0.15, "beta_rate": 1.0},
    "muon": {"muon_learning_rate": 0.1},
}
OTHER_SCHEDULES = {"cosine": {"warmup_fraction": 0.05}, "step": {"decay_factor": 0.1}, "plateau": {"decay_factor": 0.1}}
EXPONENTIAL_END = 0.01  # of the peak, where schedule=exponential has come to by default


def defaults_beside(recipe, optimizer, schedule, epochs):
    """Fields that an optimizer or a schedule other than the recipe's have values of their own for, as a dict.

    Args:
        recipe: dict, of `RECIPES`.
        optimizer, schedule: str, or None for the recipe's.
        epochs: int.
    """
    found = {}  # nothing has been checked yet: values may be of any type
    if isinstance(optimizer, str) and optimizer != recipe["optimizer"]:
        found |= OTHER_OPTIMIZERS.get(optimizer, {})
    if isinstance(schedule, str) and schedule != recipe["schedule"]:
        found |= OTHER_SCHEDULES.get(schedule, {})
        if schedule == "exponential" and isinstance(epochs, int) and epochs > 0:
            found |= {"decay_factor": EXPONENTIAL_END ** (1 / epochs)}
    return found
