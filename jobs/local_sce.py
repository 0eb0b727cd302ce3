"""Every site alone, symmetric cross-entropy: MDH-FL's local half. `python jobs/local_sce.py --federation fed/`."""

from mdhfl.runs.recipe import Plan

PLAN = Plan(
    name="local_sce",
    summary="every site alone, symmetric cross-entropy with the paper's weights",
    method="local",
    rounds=40,
    parameters={"warm_up_epochs": 1, "local_epochs": 1, "ce_weight": 0.1, "rce_weight": 1.0},
)

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(PLAN)
