"""What `bench_2d` measures of trained systems, as rows of results and as figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from vnp_core.bench.families import Family
from vnp_core.bench.one_dimension import Extent, Measurements
from vnp_core.bench.study import Entry


@dataclass(frozen=True)
class PictureExtent(Extent):
    """How much is measured besides the systems' own tests."""

    contexts: tuple[int, ...] = (10, 50, 200)

    @classmethod
    def quick(cls) -> "PictureExtent":
        """What a minute allows."""
        return cls()


@dataclass
class PictureMeasurements(Measurements):
    """Rows so far, and where figures go."""

    def measure(self, family: Family, entries: Sequence[Entry]) -> None:
        """All that is measured of one family's systems."""
        self.training(family, entries)
        self.tests(family, entries)
