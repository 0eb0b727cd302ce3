"""A site of a small run, one of its requests with the real answer to it, and the filter as FLARE calls it."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable

from fakes.simulated import new_run, site_of
from mdhfl.flare.filters import ASKED, OnlyAnswers
from mdhfl.flare.places import simulated
from mdhfl.rounds.experiment import Experiment
from mdhfl.sharing.messages import Answer, Request
from mdhfl.site.left import LEFT, read_left
from mdhfl.site.settings import SiteSettings


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the first site of a run was asked first, and its answer before the border."""

    run: Path
    experiment: Experiment
    settings: SiteSettings
    request: Request
    answer: Answer

    def left(self) -> list[dict[str, Any]]:
        """Return what the site wrote down of what left."""
        path = self.settings.state / self.experiment.id / LEFT
        return read_left(path) if path.exists() else []


def ask_first(folder: Path, federation: Path, *, recipe: str = "mdhfl", **options: Any) -> Asked:
    experiment = new_run(folder, federation, recipe=recipe, **options)
    site, request = site_of(folder, "site-1"), experiment.request("warm_up", number=0)
    answer = site.answer(request)
    assert not answer.refusal
    return Asked(run=folder, experiment=experiment, settings=site.settings, request=request, answer=answer)


def as_result(data: Any, **how: Any) -> Shareable:
    return DXO(data_kind=DataKind.APP_DEFINED, data=data, **how).to_shareable()


def context(asked: Asked, *, request: Any) -> FLContext:
    """What a filter gets: who it is, where it works, and what was asked."""
    fl_ctx = FLContext()
    workspace = SimpleNamespace(get_root_dir=lambda: str(asked.run))
    engine = SimpleNamespace(get_workspace=lambda: workspace, fire_event=lambda *args: None)
    fl_ctx.set_prop(ReservedKey.ENGINE, engine, private=True, sticky=False)
    fl_ctx.set_prop(ReservedKey.IDENTITY_NAME, asked.settings.site, private=False, sticky=False)
    fl_ctx.set_prop(ASKED, request, private=True, sticky=False)
    return fl_ctx


def filtered(asked: Asked, result: Any, *, filters: int = 1, **context_: Any) -> Shareable:
    """Return what leaves of a result, after so many of our filters."""
    fl_ctx = context(asked, **{"request": asked.request, **context_})
    with simulated(asked.run):
        for _ in range(filters):
            result = OnlyAnswers().process(result, fl_ctx)
    return result


def answer_in(shareable: Shareable) -> Answer:
    return Answer.from_wire(from_shareable(shareable).data)
