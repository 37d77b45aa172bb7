"""Weights & Biases: `wandb`, online, or offline into `./wandb`."""

import logging

from dirac_keras.callbacks.trackers.tracker import FINISHED, PROJECT, Tracker, setting
from dirac_keras.errors import UserError, missing_extra

OFFLINE = ("offline", "dryrun", "disabled")
CONNECT_SECONDS = 30


class WandbTracker(Tracker):
    """A run of Weights & Biases, in the project of `$WANDB_PROJECT`, with the identifier of ours.

    Online, a resumed run goes on in the same run. Offline each part is a folder of its own with the same identifier,
    and `wandb sync` joins them.
    """

    name = "wandb"
    way_out = (
        "Set WANDB_MODE=offline to write to the folder wandb here and send it later with `wandb sync`, or leave "
        "`tracker` out."
    )

    def check(self):
        try:
            import wandb
        except ImportError as error:
            raise missing_extra("tracker wandb", "wandb", "wandb") from error
        logging.getLogger("wandb").propagate = False  # it tells of each of its steps
        self._wandb, self._is_offline = wandb, setting("WANDB_MODE", "online").lower() in OFFLINE
        if not self._is_offline and not self._is_logged_in():
            raise UserError(
                "tracker: wandb is not logged in on this machine. Run `wandb login` once, or set WANDB_API_KEY. "
                f"{self.way_out}"
            )

    def _is_logged_in(self):
        """Whether a key is there; neither asked for nor sent."""
        try:
            return bool(self._wandb.login(prompt=False, verify=False))
        except self._wandb.Error as error:
            raise UserError(f"tracker: wandb: {error}. {self.way_out}") from error

    def start(self, run):
        settings = self._wandb.Settings(
            console="off", silent=True, init_timeout=CONNECT_SECONDS, finish_timeout=CONNECT_SECONDS,
            disable_code=True, disable_git=True,
        )  # fmt: skip
        self._run = self._wandb.init(
            project=setting("WANDB_PROJECT", PROJECT), id=run.identity, name=run.name, config=run.config,
            resume=None if self._is_offline else "allow", settings=settings,
        )  # fmt: skip
        if self._is_offline:
            return f"offline, in {self._run.settings.sync_dir}; wandb sync sends it"
        return self._run.url

    def log(self, epoch, figures):
        self._run.log({"epoch": epoch, **figures}, step=epoch, commit=True)

    def finish(self, epoch, summary, status):
        self._run.summary.update({**summary, "status": status})
        self._run.finish(exit_code=0 if status == FINISHED else 1)


def make():
    return WandbTracker()
