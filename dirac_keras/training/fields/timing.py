"""When skip connections may fade and frozen layers be unfrozen in a training."""

from dirac_keras.errors import UserError


def check_phase_out(config):
    """Raise UserError unless the phase-out of a `TrainConfig` fits into its training."""
    if config.ema_momentum:
        raise UserError(
            f"ema_momentum must be 0 for family={config.family}: an average of skips that fade is never without "
            f"them. Received ema_momentum={config.ema_momentum!r}."
        )
    start, end = config.phase_out_start, config.phase_out_end
    if start >= (config.epochs if end is None else end) or (end is not None and end > config.epochs):
        raise UserError(
            "The phase-out must fit into the training and begin before it ends. "
            f"Received phase_out_start={start}, phase_out_end={end} and epochs={config.epochs}."
        )


def check_unfreezing(config, phases_out):
    """Raise UserError unless the frozen layers of a `TrainConfig` can be unfrozen at its `unfreeze_epoch`.

    Args:
        config: `TrainConfig`, its fields filled and checked each for itself.
        phases_out: bool, whether skip connections are phased out by multipliers.
    """
    if config.freeze is None:
        raise UserError(
            f"unfreeze_epoch needs `freeze`, the layers that are frozen until then. Received "
            f"unfreeze_epoch={config.unfreeze_epoch}."
        )
    if config.unfreeze_epoch >= config.epochs:
        raise UserError(
            "unfreeze_epoch must be below epochs. "
            f"Received unfreeze_epoch={config.unfreeze_epoch} and epochs={config.epochs}."
        )
    # What spans a training: an average, or a constraint that tightens over its epochs.
    spanning = [name for name in ("ema_momentum", "lookahead_steps") if getattr(config, name)]
    timed = ("identity_bound", "dissolve_epoch", "identity_phase_out")
    spanning += [name for name in timed if getattr(config, name) is not None]
    if phases_out:
        spanning.append("skip_constraint")
    if spanning:
        raise UserError(
            f"unfreeze_epoch and {spanning[0]} exclude each other: it would begin anew with the layers that are "
            f"unfrozen. Received unfreeze_epoch={config.unfreeze_epoch} and "
            f"{spanning[0]}={getattr(config, spanning[0])!r}."
        )
