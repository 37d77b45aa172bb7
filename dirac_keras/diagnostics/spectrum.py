"""How independent the units' responses are: singular values, ranks, condition number, collinear pairs."""

from dataclasses import dataclass, field

import numpy as np

# Rounding to a precision `e` changes the responses by noise whose largest singular value is about
# `e rms(H) (sqrt(units) + sqrt(samples))`. On float32 products of rank 3 to 100 and 16 to 2,000 summands the floor
# was 0.4 to 2.4 times that, so 10 times leaves a margin of four.
NOISE_MARGIN = 10.0
COLLINEAR = 0.99  # absolute cosine
MAX_UNITS = 512  # a layer of 512 units holds 4 MiB while it is measured and grows with the square


@dataclass(frozen=True)
class Spectrum:
    """Singular values of the responses `H`, `(units, samples)`, and what follows from them.

    | field | what it is |
    |---|---|
    | `units`, `samples` | of `H`; a convolution's positions are samples |
    | `units_sampled` | whether `H` holds a random part of the layer's units, as there are more than `max_units` |
    | `positions_sampled` | whether `H` holds a random part of the positions of each image |
    | `rank` | singular values above `tolerance` |
    | `effective_rank` | exp of the entropy of the singular values divided by their sum |
    | `condition_number` | largest by smallest singular value; inf if the units are dependent, None if samples < units |
    | `leading_share` | of the sum of the squares, that of the largest singular value; None if all are 0 |
    | `collinear_pairs` | share of pairs of units with abs(cosine) above 0.99, among units that ever respond |
    | `zero_units` | share of units whose response is 0 for all data; they have no direction and are in no pair |
    | `tolerance` | below it a singular value is rounding: `10 e norm(H) (1 / sqrt(units) + 1 / sqrt(samples))` |
    | `singular_values` | falling; not part of `to_dict` |

    `e` is the epsilon of the precision the layer computes in, float32 or bfloat16; `norm` is Frobenius's. The cosine
    is that of linear dependence, without subtracting means.

    Source: Oyedotun et al., section V.B, definition 1 (condition number) and singularity. Roy & Vetterli 2007, "The
    effective rank", EUSIPCO, definition 1. The tolerance: Weyl's inequality, and the norm of a random matrix.
    """

    units: int
    samples: int
    units_sampled: bool
    positions_sampled: bool
    rank: int
    effective_rank: float
    condition_number: float | None
    leading_share: float | None
    collinear_pairs: float | None
    zero_units: float
    tolerance: float
    singular_values: tuple = field(repr=False, metadata={"in_dict": False})


class StreamedSpectrum:
    """Collects `Spectrum` from blocks of responses, with an upper triangular matrix a layer and some rows in store.

    The triangle `R` of `QR = H^T` has the singular values of `H`, and `R` of `[R; more rows]` is `R` of all rows.
    Unlike the Gram matrix `H H^T`, whose eigenvalues are squares and end at 1e-8 of the largest singular value, it
    keeps float64 to the last digit.

    Args:
        units: int, of the layer.
        positions_per_sample: int; of more positions a fixed random part is taken, the same for every image.
        max_units: int; of more units a fixed random part is taken.
        seed: of both parts.
        epsilon: of the precision the responses were computed in; float32's by default.

    Source: Golub & Van Loan, Matrix Computations, section 6.5 (QR with rows appended).
    """

    def __init__(self, units, positions_per_sample=64, max_units=MAX_UNITS, seed=0, epsilon=2.0**-23):
        self.epsilon = epsilon
        self.samples = 0
        self.peak_rows = 0
        self.positions_sampled = False
        self._positions_per_sample = positions_per_sample
        self._random = np.random.default_rng(seed)
        self._positions = {}
        self._units = _some(self._random, units, max_units)
        taken = units if self._units is None else max_units
        self._triangle = np.zeros((0, taken))
        self._rows_at_once = max(256, 2 * taken)  # a block of twice the units costs 1.5 times one block of all
        self._store, self._stored = [], 0

    def update(self, responses):
        """Takes a block `(samples, positions, units)` of finite numbers."""
        positions = responses.shape[1]
        if positions not in self._positions:
            self._positions[positions] = _some(self._random, positions, self._positions_per_sample)
        chosen = self._positions[positions]
        if chosen is not None:
            self.positions_sampled = True
            responses = responses[:, chosen]
        if self._units is not None:
            responses = responses[:, :, self._units]
        rows = responses.reshape(-1, responses.shape[-1])
        self.samples += len(rows)
        while len(rows):
            room = self._rows_at_once - self._stored
            self._store.append(np.array(rows[:room]))  # a view would keep the whole batch
            self._stored += len(rows[:room])
            self.peak_rows = max(self.peak_rows, self._stored)
            rows = rows[room:]
            if self._stored == self._rows_at_once:
                self._reduce()

    def _reduce(self):
        stacked = np.concatenate([self._triangle, *self._store], dtype="float64")
        self._triangle = np.linalg.qr(stacked, mode="r")
        self._store, self._stored = [], 0

    def result(self):
        """`Spectrum` of everything taken so far."""
        self._reduce()
        triangle, units, samples = self._triangle, self._triangle.shape[1], self.samples
        singular_values = np.linalg.svd(triangle, compute_uv=False)[: min(units, samples)]
        norm = float(np.linalg.norm(singular_values))
        tolerance = NOISE_MARGIN * float(self.epsilon) * norm * (1 / np.sqrt(units) + 1 / np.sqrt(samples))
        rank = int(np.count_nonzero(singular_values > tolerance))
        collinear_pairs, zero_units = _collinearity(triangle)
        return Spectrum(
            units=units,
            samples=samples,
            units_sampled=self._units is not None,
            positions_sampled=self.positions_sampled,
            rank=rank,
            effective_rank=effective_rank(singular_values),
            condition_number=_condition_number(singular_values, rank, units, samples),
            leading_share=leading_share(singular_values),
            collinear_pairs=collinear_pairs,
            zero_units=zero_units,
            tolerance=tolerance,
            singular_values=tuple(singular_values.tolist()),
        )


def effective_rank(singular_values):
    """`exp(-sum p log p)` with `p` the singular values divided by their sum; 0 if all are 0 (Roy & Vetterli 2007)."""
    total = np.sum(singular_values)
    if total == 0:
        return 0.0
    shares = np.asarray(singular_values) / total
    shares = shares[shares > 0]
    return float(np.exp(-np.sum(shares * np.log(shares))))


def leading_share(singular_values):
    """Of the sum of squares, that of the largest; 1 where all responses are multiples of one, None if all are 0."""
    squares = np.square(np.asarray(singular_values, "float64"))
    total = squares.sum()
    return float(squares.max() / total) if total else None


def _condition_number(singular_values, rank, units, samples):
    if samples < units:
        return None  # then the units are dependent whatever they are
    return float(singular_values[0] / singular_values[-1]) if rank == units else float("inf")


def _collinearity(triangle):
    """From `R^T R = H H^T`, whose accuracy is ample for a cosine."""
    norms = np.linalg.norm(triangle, axis=0)
    live = norms > 0
    zero_units = float(np.mean(~live))
    if np.count_nonzero(live) < 2:
        return None, zero_units
    directions = triangle[:, live] / norms[live]
    cosines = np.abs(directions.T @ directions)
    return float(np.mean(cosines[np.triu_indices(len(cosines), 1)] > COLLINEAR)), zero_units


def _some(random, count, limit):
    return None if count <= limit else np.sort(random.choice(count, limit, replace=False))
