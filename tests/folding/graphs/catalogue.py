"""The parts that a graph is made of, and where each fits."""

from dataclasses import dataclass

from tests.folding.graphs.site import is_float, is_known

PARTS = []


@dataclass(frozen=True)
class Part:
    """A function `(site, x) -> tensor or list of tensors` and where it may be used."""

    function: object
    weight: int
    ranks: tuple
    takes_integers: bool
    needs_known: bool
    smallest: int
    fits: object

    @property
    def name(self):
        return self.function.__name__

    def can_follow(self, site, x):
        return (
            len(x.shape) in self.ranks
            and (is_float(x) or self.takes_integers)
            and x.dtype != "string"
            and site.channels(x) is not None
            and (is_known(x) or not self.needs_known)
            and (len(x.shape) == 2 or site.smallest(x) >= self.smallest)
            and (self.fits is None or self.fits(site, x))
        )


def part(weight=2, ranks=(2, 3, 4, 5), takes_integers=False, needs_known=False, smallest=1, fits=None):
    """Registers a part. Of `fits`, a function `(site, x)`, depends whether it may be used."""

    def register(function):
        PARTS.append(Part(function, weight, ranks, takes_integers, needs_known, smallest, fits))
        return function

    return register
