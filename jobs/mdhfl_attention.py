"""MDH-FL, teachers weighted image by image: `python jobs/mdhfl_attention.py --federation fed/`.

The values are those of MDH-FL; the temperature of the attention is ours.
"""

from mdhfl.methods.mdhfl_attention import MdhflAttention
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=MdhflAttention())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
