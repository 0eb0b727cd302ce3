"""One short recipe per experiment: a method with its hyper-parameters. Defaults live here and nowhere else."""

from mdhfl.jobs import local_ce, local_sce, mdh_fl
from mdhfl.plan import Plan

PLANS: dict[str, Plan] = {module.PLAN.name: module.PLAN for module in (mdh_fl, local_ce, local_sce)}
