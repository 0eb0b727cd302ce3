"""A site's part in the draw of a leader: it commits to a secret number, and reveals it when all have committed."""

from dataclasses import replace
from hashlib import sha256

from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.lots import Lot
from mdhfl.sharing.messages import Request
from mdhfl.sharing.turns import Commitment, MergeTurn, Roll
from mdhfl.sharing.weights import Weights
from mdhfl.swarm import openings
from mdhfl.swarm.membership import Membership
from mdhfl.swarm.peers import PeerError

UNSIGNED = "0" * 128


def commit(swarm: Membership, request: Request, own: Weights) -> Commitment:
    """Return what a site commits to, for a roll that the server calls.

    Raises:
        ValueError: too few are called, this site is not among them, or one that is left out is there.
    """
    roll = request.lesson
    if not isinstance(roll, Roll):
        raise ValueError(f"site {swarm.site!r}: expected a roll to commit to, got {getattr(roll, 'kind', 'nothing')}")
    check_roll(swarm, roll, own)
    for site in roll.absent:
        if _is_there(swarm, site, request):
            raise ValueError(
                f"site {swarm.site!r}: the server leaves out {site!r}, which has finished round {roll.round} and can "
                "be reached: a server must not choose the members"
            )
    return commitment_of(swarm, roll, own)


def reveal(swarm: Membership, request: Request, own: Weights) -> Lot:
    """Return a site's secret number, now that all have committed.

    Raises:
        ValueError: a commitment is wrong, or this site has revealed its number in another draw.
    """
    turn = request.lesson
    if not isinstance(turn, MergeTurn):
        raise ValueError(f"site {swarm.site!r}: expected a draw, got {getattr(turn, 'kind', 'nothing')}")
    check_roll(swarm, turn.roll, own)
    if strangers := swarm.ledger(own).strangers(turn):
        swarm.refused |= set(strangers)
        return Lot(against=tuple(strangers), site=swarm.site, round=turn.round)
    if unsigned := turn.unsigned(experiment=swarm.experiment):
        raise MessageError(f"site {swarm.site!r}: the commitment of {unsigned[0]!r} is not signed with its key")
    if turn.commitments[swarm.site] != commitment_of(swarm, turn.roll, own):
        raise ValueError(f"site {swarm.site!r}: the draw has another commitment of this site than its own")
    openings.allow(turn, path=swarm.openings_path)
    nonce = swarm.key.nonce(turn.roll, experiment=swarm.experiment)
    return Lot(nonce=nonce, site=swarm.site, round=turn.round)


def check_roll(swarm: Membership, roll: Roll, own: Weights) -> None:
    """Refuse a roll that this site must not take part in. Raises ValueError."""
    roll.check_enough(least=swarm.least)
    if swarm.site not in roll.sites:
        raise ValueError(f"site {swarm.site!r}: called to a draw of {', '.join(roll.sites)}, which it is not among")
    if own.round != roll.round:
        raise ValueError(f"site {swarm.site!r}: expected its model of round {roll.round}, it has {own.round}'s")
    roster = swarm.ledger(own).roster
    if roster is not None and roster != roll.roster:
        raise ValueError(
            f"site {swarm.site!r}: expected the experiment's sites {', '.join(roster)}, got {', '.join(roll.roster)}: "
            "they must not change"
        )


def commitment_of(swarm: Membership, roll: Roll, own: Weights) -> Commitment:
    """Return a site's commitment to a roll: always the same for the same roll, model and ledger."""
    commitment = Commitment(
        layout=own.layout,
        architecture=own.bundle,
        images=own.images,
        key=swarm.key.public,
        head=swarm.ledger(own).head,
        digest=sha256(swarm.key.nonce(roll, experiment=swarm.experiment).encode()).hexdigest(),
        signature=UNSIGNED,
    )
    message = roll.signed_by(swarm.site, commitment, experiment=swarm.experiment)
    return replace(commitment, signature=swarm.key.sign(message))


def _is_there(swarm: Membership, site: str, request: Request) -> bool:
    """Return whether a site that the server leaves out could take part. It may say itself that it cannot."""
    if site in swarm.refused:
        return False  # this site does not accept it, either
    try:
        return swarm.send(site, request, {"ask": "present"}).get("present") is True
    except PeerError:
        return False
