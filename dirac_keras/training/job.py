"""What a training is made of, from its config to the folder it writes."""

import dataclasses
import json

import keras

from dirac_keras.callbacks.trackers import Tracking
from dirac_keras.distribution import Placement
from dirac_keras.files.atomic import write_text
from dirac_keras.models.family import is_of_file
from dirac_keras.training.building import untrained_model
from dirac_keras.training.folder import tables as run_tables
from dirac_keras.training.folder.directory import WHERE_ONLY, RunDirectory
from dirac_keras.training.folder.origin import origin_of
from dirac_keras.training.given import network_text, read_network
from dirac_keras.training.start.beginning import check_same_start, start_record
from dirac_keras.training.stepping.execution import Execution
from dirac_keras.version import __version__


@dataclasses.dataclass(frozen=True)
class Job:
    """What a training is made of.

    Attributes:
        config: `TrainConfig`.
        splits: data, see `train`.
        run: `RunDirectory`.
        place: `Placement`.
        policy: name of Keras' dtype policy.
        callbacks: tuple of the caller's Keras callbacks.
        console: of `rich`, or None.
        traced_steps: `(first, last)` step to trace, or None.
        execution: `Execution`.
        evaluate_train: see `train`.
        class_weights: see `class_weights.weights_of`.
        tracking: `Tracking`, empty on workers but the first.
        network: text of a network that is of no family, see `given`; None of others.
    """

    config: object
    splits: object
    run: RunDirectory
    place: Placement
    policy: str
    callbacks: tuple = ()
    console: object = None
    traced_steps: tuple | None = None
    execution: Execution = dataclasses.field(default_factory=Execution)
    evaluate_train: str | int | None = None
    class_weights: list | None = None
    tracking: Tracking = dataclasses.field(default_factory=Tracking)
    network: str | None = None

    def untrained_model(self):
        """The model before its first step, see `building.untrained_model`."""
        return untrained_model(self.config, self.splits.spec, self.policy, self.network)

    def with_network(self):
        """The same, with the network that the run keeps, or that of the file where it begins; as it is of a family."""
        if not is_of_file(self.config):
            return self
        text = read_network(self.run.network) if self.run.config.exists() else None
        return dataclasses.replace(self, network=text or network_text(self.config, self.splits.spec, self.policy))

    def is_finished(self):
        """Whether the folder holds this run, finished. Raises: UserError: if it holds another one."""
        self.run.check(self.config, self.splits.spec.to_dict(), self.policy, origin_of(self.splits))
        if self.run.is_finished():
            return True
        if self.run.config.exists():
            check_same_start(self.run.path, self.config, self.run.record().start_sha256)
        return False

    def create_run(self, position):
        """Make the folder this run's; not before its model is known to be possible."""
        self.run.restore_threads()
        provenance = origin_of(self.splits)
        if not self.run.config.exists():
            provenance |= start_record(self.config)
        self.run.create(self.config, self.splits.spec.to_dict(), self.policy, provenance)
        if self.network is not None and not self.run.network.exists():
            write_text(self.run.network, self.network)
        self.run.remove_leftovers()
        run_tables.restore(self.run.path, position)

    def shared_text(self):
        """What must be the same on all workers, as text; where a machine keeps its data may differ."""
        apart = (*WHERE_ONLY, "data", "start")
        fields = {name: value for name, value in self.config.to_dict().items() if name not in apart}
        spec = {name: value for name, value in self.splits.spec.to_dict().items() if name != "name"}
        return json.dumps([fields, spec, self.policy, origin_of(self.splits), __version__, keras.__version__])
