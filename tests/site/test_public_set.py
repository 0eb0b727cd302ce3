"""A site without a public set of its own: what it accepts, fetches, keeps and refuses, and what of that leaves."""

import json
import re
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.hosts import Hosted, flipped, hosted_run, offering
from fakes.simulated import site_of
from fakes.small_federation import write_federation

from mdhfl.hosting import fetching
from mdhfl.hosting.hosted import HostedSet
from mdhfl.hosting.offer import Offer, payload_of
from mdhfl.learning.training import Aborted
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.reasons import Refusal, is_sentence
from mdhfl.site import public as module
from mdhfl.site.border import Border
from mdhfl.site.form import form_of
from mdhfl.site.left import LEFT, read_left, sums_of
from mdhfl.site.settings import read_site_settings
from mdhfl.site.site import Site
from mdhfl.site.watched import read_watched
from mdhfl.status.places import read_all
from mdhfl.store.lock import FolderLock


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "WAITS", (0.0,))


@pytest.fixture
def hosted(tmp_path: Path, federation: Path) -> Hosted:
    return hosted_run(tmp_path / "run", federation)


def code_of(refusal: str) -> str:
    found = re.search(r"\((\w+); site\.log: [0-9a-f]{8}\)$", refusal)
    assert found, refusal
    assert is_sentence(refusal, site="site-1", names=set())
    return found[1]


def test_a_site_learns_from_a_fetched_set_as_from_its_own_copy(hosted: Hosted) -> None:
    """The same answer, bit for bit, and after that no question any more: neither of this site nor of a new process."""
    request = hosted.experiment.request("warm_up", number=0)
    assert hosted.refusal() == ""
    asked = len(hosted.host.asked)
    site = hosted.site()
    fetched = site.answer(request)
    site.close()
    assert not fetched.refusal
    assert len(hosted.host.asked) == asked == 2  # the offer and one piece
    shutil.rmtree(hosted.settings.state / hosted.experiment.id)
    own = site_of(hosted.run, "site-1").answer(request)
    assert fetched.shared.values.tobytes() == own.shared.values.tobytes()  # type: ignore[union-attr]
    assert form_of(hosted.settings, request).subject == own.shared.subject  # type: ignore[union-attr]


def test_another_experiment_on_the_same_set_asks_nobody(hosted: Hosted, federation: Path) -> None:
    assert hosted.refusal() == ""
    other = hosted_run(hosted.run.parent / "other", federation).with_settings(state=hosted.settings.state)
    assert other.refusal() == ""
    assert other.host.asked == []


def test_nothing_is_fetched_before_its_offer_is_accepted(hosted: Hosted) -> None:
    """The licence lies at the site, to be read; the first request is refused by name."""
    cautious = hosted.with_settings(accept_public=())
    refusal = cautious.refusal()
    assert code_of(refusal) == "public_not_accepted"
    assert hosted.offer.public_digest[:8] in refusal
    assert {question.about for question in hosted.host.asked} == {"offer"}
    assert f"mdhfl accept-public <kit>/local/site.json --accept {hosted.offer.digest[:16]}" in cautious.log()
    assert "licence: none" in cautious.log()
    kept = hosted.settings.state / "_public" / "offered" / f"{hosted.offer.digest}.json"
    assert json.loads(kept.read_text()) == hosted.offer.to_json()
    assert not hosted.folder.exists()
    assert hosted.refusal() == ""


def test_what_is_accepted_is_one_licence_and_one_list_of_files(hosted: Hosted) -> None:
    hosted.host.change = offering({**hosted.offer.to_json(), "licence": "all rights reserved"})
    assert code_of(hosted.refusal()) == "public_not_accepted"
    images = [[*image[:2], "0" * 64] for image in hosted.offer.to_json()["images"]]
    hosted.host.change = offering({**hosted.offer.to_json(), "images": images})
    assert code_of(hosted.refusal()) == "public_not_accepted"
    assert {question.about for question in hosted.host.asked} == {"offer"}


def test_a_set_that_is_accepted_no_more_is_not_used(hosted: Hosted) -> None:
    assert hosted.refusal() == ""
    withdrawn = hosted.with_settings(accept_public=())
    assert code_of(withdrawn.refusal()) == "public_not_accepted"
    with pytest.raises(Refusal, match="has not accepted"):
        form_of(withdrawn.settings, hosted.experiment.request("warm_up", number=0))


def test_a_set_is_bounded_together_with_those_that_are_kept(hosted: Hosted, tmp_path: Path) -> None:
    small = hosted.with_settings(largest_public=hosted.offer.bytes - 1)
    assert code_of(small.refusal()) == "public_too_large"
    assert {question.about for question in hosted.host.asked} == {"offer"}
    fits = hosted.with_settings(largest_public=hosted.offer.bytes)
    assert fits.refusal() == ""
    second = hosted_run(tmp_path / "second", write_federation(tmp_path / "fed", seed=1))
    second = second.with_settings(state=hosted.settings.state, largest_public=hosted.offer.bytes + second.offer.bytes)
    assert second.refusal() == ""
    (tmp_path / "third").mkdir()
    third = hosted_run(tmp_path / "third" / "run", write_federation(tmp_path / "fed3", seed=2))
    third = third.with_settings(state=hosted.settings.state, largest_public=second.settings.largest_public)
    assert code_of(third.refusal()) == "public_too_large"
    shutil.rmtree(hosted.folder)  # as docs/site.md says
    third = third.with_settings(largest_public=second.offer.bytes + third.offer.bytes)
    assert third.refusal() == ""


def test_a_disk_without_room_is_found_before_the_first_byte(hosted: Hosted, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(hosted.run)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=hosted.offer.bytes - 1))
    assert code_of(hosted.refusal()) == "disk_full"
    assert {question.about for question in hosted.host.asked} == {"offer"}


def test_a_disk_that_fills_up_is_named_and_the_rest_fetched_later(hosted: Hosted, small_files_only: Any) -> None:
    folder = hosted.settings.state / hosted.experiment.id  # whose small files must be there before the disk is full
    assert hosted.with_settings(accept_public=()).refusal()
    assert folder.is_dir()
    largest = max(image.size for image in hosted.offer.images)
    hosted.host.asked.clear()
    with small_files_only(largest - 1):
        site = hosted.site()
        refusal = site.answer(hosted.experiment.request("open", number=0)).refusal
    assert code_of(refusal) in ("disk_full", "state")
    assert hosted.refusal() == ""


def test_a_server_gone_in_the_middle_costs_a_request_and_no_byte_twice(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("mdhfl.hosting.pieces", "mdhfl.hosting.fetching", "mdhfl.hosting.hosted"):
        monkeypatch.setattr(f"{place}.LARGEST_PIECE", 3000)
    hosted.host.lives = 4
    assert code_of(hosted.refusal()) == "public_incomplete"
    hosted.host.lives = float("inf")
    assert hosted.refusal() == ""
    assert hosted.host.asked_for == hosted.offer.bytes


def test_a_byte_that_changes_on_the_way_or_on_the_disk_is_fetched_again(hosted: Hosted) -> None:
    hosted.host.change = flipped(1000)
    assert hosted.refusal() == ""
    path = hosted.folder / "images" / "00007.png"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    hosted.host.asked.clear()
    assert hosted.refusal() == ""
    starts = hosted.offer.starts
    assert [(q.start, q.stop) for q in hosted.host.asked if q.about == "images"] == [(starts[7], starts[8])]


def test_a_damaged_offer_on_the_disk_is_asked_for_again(hosted: Hosted) -> None:
    assert hosted.refusal() == ""
    (hosted.folder / "offer.json").write_text("{")
    hosted.host.asked.clear()
    assert hosted.refusal() == ""
    assert {question.about for question in hosted.host.asked} == {"offer"}


def test_files_that_are_not_the_images_that_are_named_are_found_by_their_pixels(hosted: Hosted) -> None:
    """A server may say that one file has another's pixels: each is decoded when it is used, and compared."""
    values = hosted.offer.to_json()
    (first, second, *rest) = values["images"]
    listed = {**values, "images": [[first[0], *second[1:]], [second[0], *first[1:]], *rest]}
    lying = HostedSet.__new__(HostedSet)
    lying.__dict__.update(hosted.host.hosted.__dict__)
    lying.offer = Offer.from_json(listed)
    lying._payload = payload_of(lying.offer)
    lying._paths = [lying._paths[1], lying._paths[0], *lying._paths[2:]]
    hosted.host.hosted = lying
    accepting = hosted.with_settings(accept_public=(lying.offer.digest,))
    assert code_of(accepting.refusal()) == "public_offer"
    assert "expected digest" in accepting.log()


def test_images_of_another_size_are_refused_before_they_come(hosted: Hosted, tmp_path: Path) -> None:
    large = write_federation(tmp_path / "large", size=64)
    other = hosted_run(tmp_path / "other", large)
    small = other.with_settings(data=hosted.settings.data)
    assert code_of(small.refusal()) == "public_offer"
    assert {question.about for question in other.host.asked} == {"offer"}


@pytest.mark.parametrize("digest", ["../../etc", "_public", "", "0" * 63, "G" * 64])
def test_no_server_chooses_a_folder_by_a_digest(hosted: Hosted, digest: str) -> None:
    request = hosted.experiment.request("open", number=0)
    request = replace(request, subject=replace(request.subject, public_digest=digest))
    assert code_of(hosted.site().answer(request).refusal) == "request"
    assert hosted.host.asked == []


def test_no_experiment_can_be_called_as_the_room_of_the_sets(hosted: Hosted) -> None:
    request = replace(hosted.experiment.request("open", number=0), experiment="_public")
    assert code_of(hosted.site().answer(request).refusal) == "request"


def test_without_a_server_that_hosts_a_site_says_so(hosted: Hosted) -> None:
    refusal = Site(hosted.settings).answer(hosted.experiment.request("open", number=0)).refusal
    assert code_of(refusal) == "public_not_hosted"


def test_what_leaves_of_it_is_written_down_and_nothing_but_numbers(hosted: Hosted) -> None:
    assert hosted.refusal() == ""
    lines = read_left(hosted.settings.state / hosted.experiment.id / LEFT)
    assert [line["action"] for line in lines] == ["public set", "public set"]
    assert {line["to"] for line in lines} == {"server"}
    fields = {each.path: each for each in sums_of(lines)}
    assert set(fields) == {"protocol", "about", "public_digest", "start", "stop", "(names and brackets)"}
    assert fields["public_digest"].bytes == 2 * 66


def test_the_border_lets_no_question_pass_but_about_the_experiments_set(hosted: Hosted) -> None:
    border, request = Border(hosted.settings), hosted.experiment.request("open", number=0)
    good = {"protocol": 1, "about": "offer", "public_digest": "0" * 64, "start": 0, "stop": 1}
    with pytest.raises(MessageError, match="experiment's public set"):
        border.question(good, request)
    with pytest.raises(MessageError):
        border.question({**good, "patient": "smith"}, request)
    assert not (hosted.settings.state / hosted.experiment.id / LEFT).exists()


def test_whoever_watches_sees_how_far_it_is(hosted: Hosted, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    change = hosted.host.change

    def look(question: Any, answer: Any) -> Any:
        if question.about == "images":
            (status,) = read_all(hosted.settings.state)
            seen.append(status.headline)
        return change(question, answer)

    for place in ("mdhfl.hosting.pieces", "mdhfl.hosting.fetching", "mdhfl.hosting.hosted"):
        monkeypatch.setattr(f"{place}.LARGEST_PIECE", hosted.offer.bytes // 2 + 1)
    hosted.host.change = look
    assert hosted.refusal() == ""
    assert len(seen) == 2
    assert re.search(
        rf"The site gets ready, .*[\d,]+ of {hosted.offer.bytes:,} bytes of the public set are here", seen[1]
    )
    assert read_watched(hosted.settings.state / hosted.experiment.id)["doing"] is None


def test_a_second_job_waits_until_the_set_is_there(hosted: Hosted, monkeypatch: pytest.MonkeyPatch) -> None:
    room = hosted.settings.state / "_public"
    lock = FolderLock(room, name=f"{hosted.offer.public_digest}.lock", way_out="")
    refusals: list[str] = []
    thread = threading.Thread(target=lambda: refusals.append(hosted.refusal()))
    thread.start()
    thread.join(1.0)
    assert thread.is_alive()
    assert hosted.host.asked == []
    lock.release()
    thread.join(60.0)
    assert refusals == [""]
    lock = FolderLock(room, name=f"{hosted.offer.public_digest}.lock", way_out="")
    with monkeypatch.context() as patch:
        patch.setattr(module, "PATIENCE", 0.0)
        assert code_of(hosted.refusal()) == "in_use"
    site = hosted.site()
    with pytest.raises(Aborted):
        site.answer(hosted.experiment.request("open", number=0), should_stop=lambda: True)
    lock.release()


def test_site_json_says_where_the_set_comes_from(tmp_path: Path, hosted: Hosted) -> None:
    path = tmp_path / "site.json"
    path.write_text(json.dumps(hosted.settings.to_json()))
    assert read_site_settings(path) == hosted.settings
    values = json.loads(path.read_text())
    assert values["public"] == "server"
    del values["accept_public"], values["largest_public"]
    path.write_text(json.dumps(values))
    cautious = read_site_settings(path)
    assert (cautious.public, cautious.accept_public, cautious.largest_public) == (None, (), 10**9)
    for wrong in ({"accept_public": ["all"]}, {"accept_public": "0" * 64}, {"largest_public": 0}):
        path.write_text(json.dumps({**values, **wrong}))
        with pytest.raises(ValueError, match=next(iter(wrong))):
            read_site_settings(path)
