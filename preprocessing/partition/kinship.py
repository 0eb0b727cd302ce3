"""Units that grow: groups, joined with what turned out to belong together."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from mdhfl.preprocessing.partition.groups import units_of

Pairs = NDArray[np.int64]  # (m, 2)


class Kinship:
    """Which images belong together.

    Attributes:
        unit: (n,) number of each image's unit; images of one unit must lie on one side.
    """

    def __init__(self, groups: Sequence[Hashable | None]) -> None:
        self.unit = np.empty(len(groups), dtype=np.int64)
        for number, members in enumerate(units_of(groups)):
            self.unit[members] = number

    def join(self, pairs: Pairs) -> None:
        """Make the units of both images of each pair one."""
        lead = list(range(int(self.unit.max(initial=-1)) + 1))

        def leader(unit: int) -> int:
            while lead[unit] != unit:
                lead[unit] = lead[lead[unit]]
                unit = lead[unit]
            return unit

        for one, other in self.unit[pairs].tolist():
            first, second = sorted((leader(one), leader(other)))
            lead[second] = first
        leaders = np.array([leader(unit) for unit in range(len(lead))], dtype=np.int64)
        self.unit = np.unique(leaders, return_inverse=True)[1][self.unit].astype(np.int64)
