"""The server's part of a swarm: it says who leads, and asks the next one if a leader fails. It sees no weights."""

from collections.abc import Callable, Mapping

from mdhfl.rounds.experiment import Experiment
from mdhfl.sharing.knowledge import KnowledgeError
from mdhfl.sharing.messages import Answer, Lesson, Request
from mdhfl.sharing.turns import Member, Turn, elect

Ask = Callable[[Mapping[str, Request]], Mapping[str, Answer]]


class NoLeader(RuntimeError):
    """No site could lead a merge. Everything before this round is recorded."""


def merge_by_a_leader(
    experiment: Experiment, *, round_: int, answers: Mapping[str, Answer], ask: Ask
) -> Mapping[str, Lesson]:
    """Let the elected leader merge a round's models; if it fails, the next one.

    Args:
        experiment: what runs.
        round_: whose models are merged.
        answers: site -> its usable answer of that round: the members.
        ask: sends each site its request.

    Returns:
        For every site of the experiment the turn that succeeded.

    Raises:
        NoLeader: every member failed, each with its reason.
    """
    members = {site: member_of(answer) for site, answer in answers.items()}
    reasons = []
    for attempt, leader in enumerate(elect(members, experiment=experiment.id, round_=round_)):
        turn = Turn(round=round_, attempt=attempt, leader=leader, members=members)
        answer = ask({leader: experiment.request("merge", round_=round_, lesson=turn)}).get(leader)
        if answer is not None and not answer.refusal:
            return dict.fromkeys(experiment.sites, turn)
        reasons.append(f"{leader}: {answer.refusal if answer else 'no answer before the deadline'}")
    raise NoLeader(
        f"round {round_}: expected one of {len(members)} sites to merge the models, all failed "
        f"({'; '.join(reasons)}). Mend the sites and resume: nothing recorded is lost"
    )


def member_of(answer: Answer) -> Member:
    """Return what a site's answer says about the model that it would share.

    Raises:
        KnowledgeError: nothing that can be merged: no layout, or no number of training images.
    """
    about = answer.about if isinstance(answer.about, Mapping) else {}
    layout, images = about.get("layout"), about.get("training_images")
    if not isinstance(layout, str) or not layout or type(images) is not int or images < 1:
        raise KnowledgeError(
            f"answer from site {answer.site!r}: expected its network's layout and at least 1 training image, got "
            f"{layout!r} and {images!r}"
        )
    return Member(layout=layout, images=images)
