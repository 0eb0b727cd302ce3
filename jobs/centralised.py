"""Training on the pooled images of all sites, in one process only: `mdhfl run centralised`.

No federation: `--export` refuses. Use `mdhfl run centralised --engine inprocess`.
"""

from mdhfl.runs.recipe import Plan

PLAN = Plan(
    name="centralised",
    summary="upper bound: every architecture on all sites' images, cross-entropy",
    method="centralised",
    rounds=40,
    parameters={
        "warm_up_epochs": 1,
        "local_epochs": 1,
        "ce_weight": 1.0,
        "rce_weight": 0.0,
    },
)

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(PLAN)
