"""trackio: files on this machine, or a Space of Hugging Face."""

from dirac_keras.callbacks.trackers.tracker import PROJECT, Tracker, numbers_of, setting
from dirac_keras.errors import UserError, missing_extra

FINAL = "final"  # trackio has no summary: the last figures are curves of one point


class TrackioTracker(Tracker):
    """A run of trackio in the project of `$TRACKIO_PROJECT`, in `$TRACKIO_DIR` or the Space of `$TRACKIO_SPACE_ID`."""

    name = "trackio"
    way_out = "Unset TRACKIO_SPACE_ID and TRACKIO_SERVER_URL to write to this machine alone, or leave `tracker` out."

    def check(self):
        try:
            import trackio
        except ImportError as error:
            raise missing_extra("tracker trackio", "trackio", "trackio") from error
        self._trackio = trackio
        space = setting("TRACKIO_SPACE_ID")
        if space and not _has_token():
            raise UserError(
                f"tracker: trackio is to write to the Space {space}, and nobody is logged in on this machine. Run "
                f"`hf auth login` once, or set HF_TOKEN. {self.way_out}"
            )
        server = setting("TRACKIO_SERVER_URL")
        if server and "write_token" not in server and not setting("TRACKIO_WRITE_TOKEN"):
            raise UserError(
                f"tracker: trackio is to write to {server}, which needs TRACKIO_WRITE_TOKEN. Set it. {self.way_out}"
            )

    def start(self, run):
        project = setting("TRACKIO_PROJECT", PROJECT)
        name = f"{run.name}-{run.identity[:8]}"  # by which trackio finds a run again
        self._run = self._trackio.init(
            project=project, name=name, config=run.config, resume="allow", embed=False, auto_log_gpu=False,
            auto_log_cpu=False,
        )  # fmt: skip
        return f"run {name} of the project {project}; trackio show --project {project}"

    def log(self, epoch, figures):
        self._run.log(figures, step=epoch)

    def finish(self, epoch, summary, status):
        if summary:
            self._run.log({f"{FINAL}/{name}": value for name, value in numbers_of(summary).items()}, step=epoch)
        self._run.finish()


def _has_token():
    from huggingface_hub import get_token

    return get_token() is not None


def make():
    return TrackioTracker()
