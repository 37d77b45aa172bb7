"""When a field of `TrainConfig` decides something, and when another one's value leaves it without effect."""

from dirac_keras.errors import UserError

TABLES = ("csv:", "parquet:", "hf:")  # `pipelines.readers.tables.reading.PREFIXES`


def is_of_image_files(data):
    """Whether the images of a data set are files, by its name."""
    return isinstance(data, str) and (data == "imagenet2012" or data.startswith(("folder:", *TABLES)))


WARMING = ("one_cycle", "cosine")  # schedules that rise first
WITH_MOMENTUM = ("sgd", "muon")

# Field -> (whether it decides something for a config, when it does: the end of "has an effect only ...").
# A family's own fields are checked by `TrainConfig` itself.
EFFECTS = {
    "decay_epochs": (lambda c: c.schedule == "step", 'with `schedule="step"`'),
    "decay_factor": (
        lambda c: c.schedule in ("step", "exponential", "plateau"),
        'with `schedule="step"`, `schedule="exponential"` or `schedule="plateau"`',
    ),
    "plateau_patience": (lambda c: c.schedule == "plateau", 'with `schedule="plateau"`'),
    **dict.fromkeys(
        ("warmup_fraction", "start_fraction", "end_fraction"),
        (lambda c: c.schedule in WARMING, 'with `schedule="one_cycle"` or `schedule="cosine"`'),
    ),
    "betas": (lambda c: c.optimizer not in WITH_MOMENTUM, 'with `optimizer="adamw"` or `optimizer="lion"`'),
    **dict.fromkeys(
        ("momentum", "beta_rate", "lookahead_steps"),
        (lambda c: c.optimizer in WITH_MOMENTUM, 'with `optimizer="sgd"` or `optimizer="muon"`'),
    ),
    "focal_gamma": (lambda c: c.loss == "focal", 'with `loss="focal"`'),
    "monitor": (
        lambda c: c.keep_best or c.early_stopping or c.schedule == "plateau",
        'with `early_stopping`, `keep_best` or `schedule="plateau"`',
    ),
    **dict.fromkeys(
        ("muon_learning_rate", "muon_momentum"), (lambda c: c.optimizer == "muon", 'with `optimizer="muon"`')
    ),
    "unfreeze_epoch": (lambda c: c.freeze is not None, "with layers that are frozen, `freeze`"),
    "base_batch_size": (lambda c: c.learning_rate_scaling != "none", 'with `learning_rate_scaling="linear"`'),
    "nesterov": (
        lambda c: c.optimizer in WITH_MOMENTUM and (c.momentum > 0 or not c.nesterov),
        "with a `momentum` above 0 of sgd or muon",
    ),
    "momentum_rule": (
        lambda c: c.optimizer in WITH_MOMENTUM and c.momentum > 0,
        "with a `momentum` above 0 of sgd or muon",
    ),
    "kernel_initializer": (
        lambda c: c.sigma is None or c.kernel_initializer == "orthogonal",
        "without `sigma`, which starts the kernels, or as orthogonal",
    ),
    "filter_scale": (lambda c: c.parameterization == "dirac", 'with `parameterization="dirac"`'),
    "gate_bias": (lambda c: c.skips, "with the gates of skip connections, `skips=True`"),
    "phase_out_fraction": (lambda c: c.skip_constraint, "with `skip_constraint=True`"),
    "phase_out_start": (lambda c: c.skip_constraint, "with `skip_constraint=True`"),
    "phase_out_end": (lambda c: c.skip_constraint, "with `skip_constraint=True`"),
    **dict.fromkeys(
        ("kurtosis_penalty", "peak_penalty"), (lambda c: c.dissolve_epoch is not None, "with a `dissolve_epoch`")
    ),
    **dict.fromkeys(
        ("identity_phase_out_start", "identity_multiplier"),
        (lambda c: c.identity_phase_out is not None, "with an `identity_phase_out`"),
    ),
    **dict.fromkeys(
        ("identity_bound_start", "identity_bound_end"),
        (lambda c: c.identity_bound is not None, "with an `identity_bound`"),
    ),
    **dict.fromkeys(
        ("on_broken", "exif_orientation", "max_pixels"),
        (lambda c: is_of_image_files(c.data), 'on image files, `data="folder:PATH"`, tables, or `data="imagenet2012"`'),
    ),
    **dict.fromkeys(
        ("columns", "task"),
        (
            lambda c: c.data.startswith(TABLES),
            'on tables, `data="csv:FILE"`, `data="parquet:FILE"` or `data="hf:NAME"`',
        ),
    ),
    "data_dir": (
        lambda c: c.data != "digits" and not c.data.startswith(("folder:", *TABLES)),
        "on data sets that are kept there, not on digits, a folder or a table",
    ),
}


def refuse_without_effect(config, given):
    """Raise UserError for a field that was given, but decides nothing beside the others.

    Args:
        config: `TrainConfig`.
        given: names of the fields that the user has set; others have a recipe's or a default's value.
    """
    for name in given:
        if name in EFFECTS:
            decides, when = EFFECTS[name]
            if not decides(config):
                raise UserError(
                    f"`{name}` has an effect only {when}. Received {name}={getattr(config, name)!r}: leave it out."
                )
