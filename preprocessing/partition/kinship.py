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
        from scipy.sparse import coo_array  # takes a while, and `--help` needs none of it
        from scipy.sparse.csgraph import connected_components

        rows, columns = self.unit[pairs].T
        count = int(self.unit.max(initial=-1)) + 1
        graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(count, count))
        _, joined = connected_components(graph, directed=False)
        self.unit = joined[self.unit].astype(np.int64)
