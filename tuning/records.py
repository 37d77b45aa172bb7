"""What the files of a search hold: one schema a kind, checked where it is read or received."""

import math
import statistics
import typing

import msgspec

from dirac_keras.files.records import parse_record

Scalar = str | int | float | bool
Count = typing.Annotated[int, msgspec.Meta(ge=0)]
Natural = typing.Annotated[int, msgspec.Meta(ge=1)]
Share = typing.Annotated[float, msgspec.Meta(ge=0, le=1)]
NotNegative = typing.Annotated[float, msgspec.Meta(ge=0)]
Positive = typing.Annotated[float, msgspec.Meta(gt=0)]
COMPLETED, FAILED = "COMPLETED", "FAILED"


class SpaceRecord(msgspec.Struct):
    """A `SearchSpace`: values of fixed fields, and the text of each dimension, of a family or of all."""

    fixed: dict[str, Scalar | list[Scalar] | None]
    families: typing.Annotated[dict[str, dict[str, str]], msgspec.Meta(min_length=1)]
    shared: dict[str, str]


class BudgetRecord(msgspec.Struct, forbid_unknown_fields=True):
    """A `Budget`."""

    max_params: Positive | None = None
    max_macs: Positive | None = None
    max_latency_ms: Positive | None = None
    latency_batch: Natural = 1


class SearchRecord(msgspec.Struct, forbid_unknown_fields=True):
    """The `Settings` of a search: `search.json`, where `search` is its identifier, empty of one begun by 0.1.0 or
    before; and what a chief sends its workers.
    """

    space: SpaceRecord
    tuner: str
    max_epochs: Natural
    executions: Natural
    seed: Count
    budget: BudgetRecord
    strategy: str
    is_endless: bool
    logical_devices: Natural | None = None
    search: str = ""
    max_gigabytes: Positive | None = None
    backend: str | None = None


class CostRecord(msgspec.Struct, forbid_unknown_fields=True):
    """A `Cost`."""

    parameters: Count
    macs: Count
    latency_ms: NotNegative | None = None


class TrialRecord(msgspec.Struct):
    """What `run_trial` gives of a trial that has finished."""

    score: Share
    epochs: Natural
    parameters: Count
    macs: Count
    latency_ms: NotNegative | None
    scores: typing.Annotated[list[Share], msgspec.Meta(min_length=1)]
    seeds: list[Count]
    test_accuracy: Share
    spread: NotNegative | None
    folded_difference: NotNegative | None
    argmax_agreement: Share | None
    seconds: NotNegative
    overhead_seconds: NotNegative

    def __post_init__(self):
        if not math.isclose(self.score, statistics.fmean(self.scores), abs_tol=1e-9):
            raise ValueError(f"score {self.score} is not the mean of the scores {self.scores}")
        if len(self.seeds) != len(self.scores):
            raise ValueError(f"{len(self.scores)} scores have {len(self.seeds)} seeds")


class FailureRecord(msgspec.Struct):
    """Why a trial has no result."""

    reason: str
    seconds: NotNegative = 0
    epochs: Natural = 1


class ReleaseRecord(msgspec.Struct, forbid_unknown_fields=True):
    """A worker's word that it cannot train its trial, which is not the trial's fault."""

    released: str


class _Event(msgspec.Struct, tag_field="event", forbid_unknown_fields=True):
    pass


class CostEvent(_Event, tag="cost"):
    """A structure was measured for the budget."""

    network: str
    cost: CostRecord


class CreateEvent(_Event, tag="create"):
    """A trial was given out."""

    worker: str
    trial: Count
    values: dict[str, Scalar]


class EndEvent(_Event, tag="end"):
    """A trial has ended; `record` is a `TrialRecord` or a `FailureRecord`, by `status`."""

    trial: Count
    status: typing.Literal["COMPLETED", "FAILED"]
    record: msgspec.Raw

    def __post_init__(self):
        msgspec.json.decode(self.record, type=TrialRecord if self.status == COMPLETED else FailureRecord)


class LatencyEvent(_Event, tag="latency"):
    """The latency of a finished trial was measured."""

    trial: Count
    latency_ms: NotNegative


class MoveEvent(_Event, tag="move"):
    """A trial went from one worker to another; `death` if the first had died in it."""

    trial: Count
    source: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")
    death: bool = False


Event = CostEvent | CreateEvent | EndEvent | LatencyEvent | MoveEvent


def parse_result(text, source):
    """What a worker says of its trial: the result that `run_trial` gives, why there is none, or a release.

    Args:
        text: JSON.
        source: text that begins an error message, such as `"trial 3"`.

    Returns: dict.
    Raises: UserError: if it is none of these.
    """
    kind = parse_record(text, dict, source, "the result of a trial", "Are chief and workers of one version?")
    schema = ReleaseRecord if "released" in kind else TrialRecord if "score" in kind else FailureRecord
    parse_record(text, schema, source, "the result of a trial", "Are chief and workers of one version?")
    return kind
