"""MDH-FL, teachers weighted image by image: `python jobs/mdhfl_attention.py --federation fed/`.

The values are those of MDH-FL; the temperature of the attention is ours.
"""

from mdhfl.jobs.mdh_fl import PLAN as MDH_FL
from mdhfl.runs.recipe import Plan

PLAN = Plan(
    name="mdhfl_attention",
    summary="MDH-FL with those weighing more who answer alike",
    method="mdhfl_attention",
    rounds=40,
    parameters={**MDH_FL.parameters, "attention_temperature": 0.1},
)

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(PLAN)
