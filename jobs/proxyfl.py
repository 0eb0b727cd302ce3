"""ProxyFL: `python jobs/proxyfl.py --federation fed/`."""

from mdhfl.methods.proxyfl import ProxyFl
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=ProxyFl())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
