"""What may leave a site in a blind sum: numbers and shares of exactly the size that was asked for, for that very sum.

Masked numbers look random, so nobody can tell from them what they hold: that they are masked is for the site's own code
to see to, and plain knowledge has another form, which does not pass here.
"""

from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.masked import Masked, Opened, Opening
from mdhfl.sharing.pledges import BlindRoll, Pledge
from mdhfl.sharing.records import Shared
from mdhfl.site.form import Form


def checked_pledge(pledge: Pledge, form: Form) -> Pledge:
    """Return a pledge of this site for the round that was asked for. Raises MessageError."""
    if (pledge.site, pledge.round) != (form.settings.site, form.request.round):
        raise MessageError("pledge: expected the site's own for this round, got another")
    pledge.check(experiment=form.request.experiment, subject=form.subject)
    return pledge


def checked_part(shared: Shared | None, form: Form) -> Shared:
    """Return what a site says in a blind sum between two rounds.

    Raises:
        MessageError: it is not what was asked for: another kind, sum, size, or another site's pledge.
    """
    lesson, site = form.request.lesson, form.settings.site
    roll = lesson.roll if isinstance(lesson, Opening) else lesson
    if not isinstance(roll, BlindRoll) or site not in roll.pledges:
        raise MessageError("expected a blind sum with this site in it, got something else")
    digest = roll.digest(experiment=form.request.experiment, subject=form.subject)
    if isinstance(lesson, BlindRoll) and isinstance(shared, Masked):
        shared.check(pledge=roll.pledges[site], roll=digest, members=len(roll.pledges), shape=form.summands)
    elif isinstance(lesson, Opening) and isinstance(shared, Opened):
        shared.check(roll=digest, sites=len(lesson.sites), absent=len(lesson.absent))
    else:
        raise MessageError(f"expected masked numbers or shares, as asked for, got {getattr(shared, 'kind', 'nothing')}")
    return shared
