"""When the identities of Dirac kernels may be bounded, dissolved or phased out (docs/diracnets.md)."""

from dirac_keras.errors import UserError
from dirac_keras.models.family import families_with

WITH_IDENTITY_SCALE = ("dirac", "dirac_unnormalized")  # values of parameterization


def check_identities(config):
    """Raise UserError if what takes identities away does not fit the other fields of a `TrainConfig`.

    Args:
        config: `TrainConfig`, its fields filled and checked each for itself.
    """
    for name in ("identity_bound", "dissolve_epoch", "identity_phase_out"):
        if getattr(config, name, None) is not None and config.lookahead_steps:
            raise UserError(
                f"lookahead_steps must be 0 beside {name}: the average still has what is to go. "
                f"Received lookahead_steps={config.lookahead_steps!r}."
            )
    if config.identity_decay:
        _require_identity_scale(config, "identity_decay")
    if config.identity_bound is not None:
        _check_identity_bound(config)
    if config.dissolve_epoch is not None:
        _check_dissolving(config)
    if config.identity_phase_out is not None:
        _check_identity_phase_out(config)


def check_for_integers(config, family):
    """Raise UserError unless the network has identities that its recipe for integers takes away."""
    has_identities = config.parameterization in WITH_IDENTITY_SCALE
    if not family.has_field("identity_bound") or not has_identities:
        raise UserError(
            f"recipe={config.recipe} takes the identities out of Dirac kernels, of family="
            f"{', '.join(families_with('identity_bound'))} with parameterization=dirac or dirac_unnormalized. "
            f"Received family={config.family}, parameterization={config.parameterization}: without identity taps "
            "integers are easy, and recipe=quick does."
        )


def _require_identity_scale(config, name):
    if config.parameterization not in WITH_IDENTITY_SCALE:
        raise UserError(
            f"{name} needs kernels with a scale a of the identity, parameterization=dirac or "
            f"dirac_unnormalized. Received parameterization={config.parameterization}."
        )


def _check_identity_bound(config):
    _require_identity_scale(config, "identity_bound")
    if config.ema_momentum:
        raise UserError(
            "ema_momentum must be 0 beside identity_bound: an average of scales that fall is above their bound. "
            f"Received ema_momentum={config.ema_momentum!r}."
        )
    start, end = config.identity_bound_start, config.identity_bound_end
    if start >= config.epochs or not start <= end <= config.epochs:
        raise UserError(
            "The bound must begin to fall before the training ends, and have fallen by then. Received "
            f"identity_bound_start={start}, identity_bound_end={end} and epochs={config.epochs}."
        )


def _check_dissolving(config):
    if config.parameterization != "dirac":
        raise UserError(
            "dissolve_epoch needs kernels whose W is normalised, parameterization=dirac. "
            f"Received parameterization={config.parameterization}."
        )
    if config.identity_bound is not None:
        raise UserError(
            "dissolve_epoch and identity_bound exclude each other: either a is gone, or it is bounded. "
            f"Received dissolve_epoch={config.dissolve_epoch} and identity_bound={config.identity_bound!r}."
        )
    if config.ema_momentum:
        raise UserError(
            "ema_momentum must be 0 beside dissolve_epoch: the weights before are of other kernels. "
            f"Received ema_momentum={config.ema_momentum!r}."
        )
    if not 0 <= config.dissolve_epoch < config.epochs:
        raise UserError(
            "dissolve_epoch must be 0 or more and below epochs. "
            f"Received dissolve_epoch={config.dissolve_epoch} and epochs={config.epochs}."
        )


def _check_identity_phase_out(config):
    _require_identity_scale(config, "identity_phase_out")
    for name in ("identity_bound", "dissolve_epoch"):
        if getattr(config, name) is not None:
            raise UserError(
                f"identity_phase_out and {name} exclude each other. "
                f"Received identity_phase_out={config.identity_phase_out} and {name}={getattr(config, name)!r}."
            )
    if config.ema_momentum:
        raise UserError(
            "ema_momentum must be 0 beside identity_phase_out: an average of scales that fall is never 0. "
            f"Received ema_momentum={config.ema_momentum!r}."
        )
    if config.identity_phase_out_start >= config.epochs:
        raise UserError(
            "The phase-out must begin before the training ends. Received "
            f"identity_phase_out_start={config.identity_phase_out_start} and epochs={config.epochs}."
        )
