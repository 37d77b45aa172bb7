"""Which options of a training cannot stand side by side, and why (docs/training-options.md)."""

from dirac_keras.errors import UserError


def check_combination(config, phases_out):
    """Raise UserError if two fields of a `TrainConfig` exclude each other.

    Args:
        config: `TrainConfig`, its fields filled and checked each for itself.
        phases_out: bool, whether skip connections are phased out by multipliers.
    """
    if config.optimizer in ("adamw", "lion"):
        _check_of_sgd(config)
    if config.schedule == "exponential" and not config.decay_factor:
        raise UserError("decay_factor must be above 0 with schedule=exponential. Received decay_factor=0.")
    spanning = _spanning(config, phases_out)
    if config.accumulate_steps > 1:
        _check_accumulation(config, spanning)
    judging = next((name for name in ("early_stopping", "keep_best") if getattr(config, name)), None)
    if config.schedule == "plateau":
        _check_plateau(config, spanning)
        judging = judging or "schedule"
    if judging and config.validation_freq > 1:
        raise UserError(
            f"{judging} and validation_freq exclude each other: an epoch that is not validated cannot be judged. "
            f"Received {judging}={getattr(config, judging)!r} and validation_freq={config.validation_freq}."
        )
    if judging and judging != "schedule" and spanning:
        name = spanning[0]
        raise UserError(
            f"{judging} and {name} exclude each other: the weights of an earlier epoch are not yet what {name} makes "
            f"of them by the end. Received {judging}={getattr(config, judging)!r} and {name}={getattr(config, name)!r}."
        )


def _check_plateau(config, spanning):
    if not 0 < config.decay_factor < 1:
        raise UserError(
            "decay_factor must be above 0 and below 1 with schedule=plateau. Received "
            f"decay_factor={config.decay_factor:g}: give one such as 0.1."
        )
    if spanning:
        name = spanning[0]
        raise UserError(
            f"schedule=plateau and {name} exclude each other: what {name} moves follows a rate that is known "
            f"beforehand. Received {name}={getattr(config, name)!r}: give another `schedule`."
        )


def _check_of_sgd(config):
    for name, without in (("lookahead_steps", 0), ("beta_rate", 1.0)):
        if getattr(config, name) != without:
            raise UserError(
                f"{name} is of optimizer=sgd or muon. Received {name}={getattr(config, name)!r} with "
                f"optimizer={config.optimizer}: leave it out."
            )


def _spanning(config, phases_out):
    """Names of the fields by which a network becomes another one in the course of the training."""
    names = [
        name
        for name in ("identity_bound", "dissolve_epoch", "identity_phase_out")
        if getattr(config, name, None) is not None
    ]
    return [*names, "skip_constraint"] if phases_out else names


def _check_accumulation(config, spanning):
    for name, value, why in (
        ("ema_momentum", config.ema_momentum, "the average takes in the weights after every batch, moved or not"),
        ("lookahead_steps", config.lookahead_steps, "it counts batches, of which only the last of an update counts"),
        *((name, getattr(config, name), "it moves after every batch") for name in spanning),
    ):
        if value or name in spanning:
            raise UserError(
                f"accumulate_steps and {name} exclude each other: {why}. Received "
                f"accumulate_steps={config.accumulate_steps} and {name}={value!r}. Give a larger `batch_size`."
            )
