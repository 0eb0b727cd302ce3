"""Every site alone, cross-entropy: what a federation must beat. `python jobs/local_ce.py --federation fed/`."""

from mdhfl.runs.recipe import Plan

PLAN = Plan(
    name="local",
    summary="every site alone, cross-entropy",
    method="local",
    rounds=40,
    parameters={"warm_up_epochs": 1, "local_epochs": 1, "ce_weight": 1.0, "rce_weight": 0.0},
)

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(PLAN)
