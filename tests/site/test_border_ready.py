"""What the border needs to know of the site's network it looks up while the site gets ready, not within a round."""

from pathlib import Path

from fakes.simulated import new_run, site_of

from mdhfl.site.border import Border
from mdhfl.site.form import _network


def test_no_network_is_built_within_a_round(tmp_path: Path, federation: Path) -> None:
    """A bundle that takes a minute to build would miss the round's deadline by it."""
    experiment = new_run(tmp_path, federation, recipe="mdhfl")
    site = site_of(tmp_path, "site-1")
    border = Border(site.settings)
    _network.cache_clear()
    for action, built in (("open", 1), ("warm_up", 1), ("learn", 1)):
        request = experiment.request(action, number=int(action == "learn"))  # type: ignore[arg-type]
        assert not border.let_out(site.answer(request).to_wire(), request).refusal
        assert _network.cache_info().misses == built
