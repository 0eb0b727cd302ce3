"""One short recipe per experiment: a method with its hyper-parameters. Defaults live here and nowhere else."""

from mdhfl.jobs import (
    centralised,
    fedavg,
    feddf,
    fedmd,
    fedprox,
    local_ce,
    local_sce,
    mdh_fl,
    mdhfl_attention,
    mdhfl_geometric,
    rhfl,
    sl_fedl,
    swarm_fhe,
)
from mdhfl.runs.recipe import Plan

_RECIPES = (
    mdh_fl,
    mdhfl_geometric,
    mdhfl_attention,
    rhfl,
    fedmd,
    feddf,
    fedavg,
    fedprox,
    sl_fedl,
    swarm_fhe,
    local_ce,
    local_sce,
    centralised,
)
PLANS: dict[str, Plan] = {module.PLAN.name: module.PLAN for module in _RECIPES}
