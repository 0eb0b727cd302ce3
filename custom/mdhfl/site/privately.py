"""A site's training under its privacy budget: what is refused before it begins, and how a phase of it is done.

With differential privacy all that labels or images of training decide must come out of DP-SGD. What else does is
refused (`allowed.py`), or left out where a round asks for it (`round.py`, `training.py`): competences, class counts,
the site's own stain, the loss of training, the choice of the best round. What is trained on public images and others'
messages afterwards costs nothing: it is post-processing.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mdhfl.learning.images import Part, classes_of, digest_of_private_set, image_size_of, read_listed
from mdhfl.learning.model import Model, ShouldStop
from mdhfl.methods import Method
from mdhfl.methods.local import Local
from mdhfl.methods.parties import Loss
from mdhfl.sharing.messages import Request
from mdhfl.sharing.reasons import Refusal
from mdhfl.site.budget import Account, Plan, require_packages
from mdhfl.site.settings import SiteSettings
from mdhfl.site.state import lesson_digest

if TYPE_CHECKING:
    from torch import Tensor

    from mdhfl.learning.training import Companion


def begin_privately(
    settings: SiteSettings, request: Request, method: Method, *, model: Model, images: int
) -> Plan | None:
    """Check that a network can be trained so, and plan what the experiment spends; None without a privacy budget.

    Args:
        settings: the site's.
        request: of the experiment.
        method: the request's.
        model: the site's, not trained yet.
        images: number of training images.

    Raises:
        Refusal: the network has layers that look at several images at once, the packages are missing, or the budget
            cannot be met.
        StateError: the account cannot be read or written.
    """
    if settings.privacy is None:
        return None
    _check_network(settings, model)
    return _planned(Account(settings), method, experiment=request.experiment, model=model, images=images)


def plan_of(settings: SiteSettings, method: Method, *, images: int) -> Plan:
    """Return what an experiment that has not begun would spend at a site; nothing is written.

    Args:
        settings: of a site with a privacy budget.
        method: of the experiment.
        images: number of training images.

    Raises:
        BundleError: the bundle cannot be built.
        Refusal, StateError: as `begin_privately`.
    """
    import torch

    account = Account(settings, writes=False)
    with torch.random.fork_rng(devices=[]):
        classes, size = len(classes_of(settings.data)), image_size_of(settings.data)
        model = Model.open(settings.bundle, num_classes=classes, image_size=size, changes=settings.bundle_changes)
    _check_network(settings, model)
    return _planned(account, method, experiment="", model=model, images=images)


def check_budget(settings: SiteSettings) -> None:
    """Refuse a budget that no experiment of one epoch a round could meet, or a network that cannot be trained so.

    Raises:
        Refusal, StateError, BundleError: as `plan_of`.
    """
    images = len(read_listed(settings.data / "datalist.json")["training"])
    plan_of(settings, Local(warm_up_epochs=1, local_epochs=1), images=images)


def _planned(account: Account, method: Method, *, experiment: str, model: Model, images: int) -> Plan:
    return account.plan(
        experiment,
        images=images,
        batch_size=model.bundle.batch_size,
        warm_up_epochs=method.warm_up_epochs,
        local_epochs=method.local_epochs,
    )


def _check_network(settings: SiteSettings, model: Model) -> None:
    """Refuse a network with layers that look at several images at once, or that Opacus cannot follow."""
    require_packages(settings.site)
    from mdhfl.learning.private_training import why_not_private

    if why := why_not_private(model):
        raise Refusal(
            "private_network",
            f"site {settings.site!r}: privacy in its site.json asks for gradients of single images, which bundle "
            f"{model.bundle.name} does not give: {why}. Give the site a bundle with group normalisation, such as "
            "mobilenet_v2_group",
        )


def train_privately(
    model: Model,
    training: Part,
    *,
    plan: Plan,
    settings: SiteSettings,
    request: Request,
    loss: Loss,
    epochs: int,
    phase: str,
    rate: float,
    penalty: "Callable[[], Tensor] | None",
    companion: "Companion | None",
    should_stop: ShouldStop,
) -> None:
    """Enter a phase of training into the site's account, then do it.

    Args:
        model: as it stands before the phase.
        training: the site's own images and labels.
        plan: of the experiment.
        settings: the site's.
        request: that is answered.
        loss: of the method, without class shares of the site.
        epochs: passes over the images; with 0 nothing happens and nothing is spent.
        phase: "warm_up" or "train".
        rate: of the learning rate.
        penalty: of the method.
        companion: public images that join the steps.
        should_stop: asked before every step.

    Raises:
        Refusal: the budget is spent.
        TrainingDiverged, Aborted: as `fit_privately`.
    """
    from mdhfl.learning.private_training import PrivateSteps, fit_privately, steps_per_epoch

    assert settings.privacy is not None
    if not epochs:
        return
    count = epochs * steps_per_epoch(len(training.labels), batch_size=model.bundle.batch_size)
    seed = Account(settings).charge(
        request.experiment,
        phase=f"round {request.round}: {phase}",
        steps=count,
        outcome=_outcome(model, settings=settings, request=request, rate=rate),
    )
    fit_privately(
        model,
        training.images,
        training.labels,
        loss=loss,
        steps=PrivateSteps(noise=plan.noise, clipping=settings.privacy.clipping, rate=plan.rate, count=count),
        seed=seed,
        penalty=penalty,
        companion=companion,
        rate=rate,
        should_stop=should_stop,
    )


def _outcome(model: Model, *, settings: SiteSettings, request: Request, rate: float) -> dict[str, Any]:
    """Return all that decides what a phase makes of the images; on a GPU never twice the same."""
    import torch

    assert settings.privacy is not None
    return {
        "begins at": state_digest(model.state()),
        "lesson": lesson_digest(request.lesson),
        "action": request.action,
        "method": request.method,
        "parameters": dict(request.parameters),
        "rate of learning": rate,
        "clipping": settings.privacy.clipping,
        "data": digest_of_private_set(settings.data),
        "changes": dict(settings.bundle_changes),
        "threads": settings.threads,
        "torch": torch.__version__,
        **({} if settings.device == "cpu" else {"once": secrets.token_hex(16)}),
    }


def state_digest(state: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a model's state: of each tensor's name and numbers, and of the plain values."""
    digest = hashlib.sha256()

    def add(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key in sorted(value, key=str):
                add(f"{name}/{key}", value[key])
        elif isinstance(value, list | tuple):
            add(name, dict(enumerate(value)))
        else:
            plain = value.detach().cpu().contiguous().numpy().tobytes() if hasattr(value, "detach") else repr(value)
            digest.update(f"{name}\n".encode() + (plain if isinstance(plain, bytes) else plain.encode()))

    add("", state)
    return digest.hexdigest()
