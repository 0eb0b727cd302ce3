"""The way of a public set, without FLARE: whole, cut off, spoilt, and asked for by others than honest sites."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes.hosts import Host, flipped, offering
from fakes.small_federation import write_federation

from mdhfl.hosting import fetching, pieces
from mdhfl.hosting.fetching import Stopped
from mdhfl.hosting.hosted import HostedSet, no_set, unreadable
from mdhfl.hosting.kept import complete, image_path, is_complete, missing_images
from mdhfl.hosting.pieces import Piece, Question
from mdhfl.learning.images import read_listed
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.reasons import Refusal


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "WAITS", (0.0, 0.0))


@pytest.fixture
def host(federation: Path) -> Host:
    return Host(HostedSet(federation / "public"))


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> int:
    """Pieces smaller than an image, so that images are cut."""
    for module in (pieces, fetching):
        monkeypatch.setattr(module, "LARGEST_PIECE", 500)
    monkeypatch.setattr("mdhfl.hosting.hosted.LARGEST_PIECE", 500)
    return 500


def sent(host: Host, federation: Path, folder: Path) -> None:
    """Assert that a folder has the server's images, byte for byte, in the server's order."""
    listed = read_listed(federation / "public" / "datalist.json")["public"]
    assert sorted(path.name for path in (folder / "images").iterdir()) == [f"{n:05d}.png" for n in range(len(listed))]
    for number, item in enumerate(listed):
        assert image_path(folder, number).read_bytes() == (federation / "public" / item["image"]).read_bytes()
    complete(folder, host.hosted.offer)
    assert is_complete(folder, host.hosted.offer)
    assert [item["digest"] for item in read_listed(folder / "datalist.json")["public"]] == [
        item["digest"] for item in listed
    ]


def test_a_set_comes_whole_and_each_byte_once(tmp_path: Path, federation: Path, host: Host) -> None:
    told: list[tuple[int, int]] = []
    fetcher = host.fetcher(told=told)
    offer = fetcher.offer()
    assert offer == host.hosted.offer
    fetcher.images(tmp_path, offer)
    sent(host, federation, tmp_path)
    assert host.asked_for == offer.bytes
    assert told[-1] == (offer.bytes, offer.bytes)
    assert told == sorted(told)


def test_a_set_comes_in_pieces_smaller_than_an_image(
    tmp_path: Path, federation: Path, host: Host, small_pieces: int
) -> None:
    fetcher = host.fetcher()
    offer = fetcher.offer()
    fetcher.images(tmp_path, offer)
    sent(host, federation, tmp_path)
    assert host.asked_for == offer.bytes
    assert sum(q.about == "images" for q in host.asked) == -(-offer.bytes // small_pieces)


@pytest.mark.parametrize("lives", [0, 1, 7, 30])
def test_a_server_that_goes_away_costs_no_byte_twice(
    tmp_path: Path, federation: Path, host: Host, small_pieces: int, lives: int
) -> None:
    """A new process goes on in the middle of an image: whatever came is on disk."""
    offer = host.hosted.offer
    host.lives = lives
    with pytest.raises(Refusal, match="no answer: the server is gone") as gone:
        host.fetcher().images(tmp_path, offer)
    assert (gone.value.code, gone.value.fields) == ("public_incomplete", {"expected": offer.public_digest[:8]})
    here = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert here == host.asked_for == min(lives * small_pieces, offer.bytes)
    host.lives = float("inf")
    host.fetcher().images(tmp_path, offer)
    sent(host, federation, tmp_path)
    assert host.asked_for == offer.bytes


def test_a_short_silence_is_waited_for(tmp_path: Path, federation: Path, host: Host) -> None:
    silent = iter([True, True])

    def ask(wire: Any) -> Any:
        if next(silent, False):
            raise fetching.HostGone("timeout")
        return host(wire)

    fetcher = fetching.Fetcher(
        ask, public_digest=host.hosted.offer.public_digest, should_stop=lambda: False, tell=lambda here, whole: None
    )
    fetcher.images(tmp_path, fetcher.offer())
    sent(host, federation, tmp_path)


def test_a_flipped_byte_is_fetched_once_more(tmp_path: Path, federation: Path, host: Host) -> None:
    offer = host.hosted.offer
    host.change = flipped(offer.starts[3] + 100)
    host.fetcher().images(tmp_path, offer)
    sent(host, federation, tmp_path)
    again = [question for question in host.asked if question.about == "images"][1:]
    assert (again[0].start, again[0].stop) == (offer.starts[3], offer.starts[4])


def test_a_byte_that_stays_flipped_is_refused_by_image(tmp_path: Path, host: Host) -> None:
    offer = host.hosted.offer
    host.change = flipped(offer.starts[3] + 100, times=float("inf"))
    with pytest.raises(Refusal, match=rf"image 3 \({offer.images[3].digest}\): expected .* twice") as refused:
        host.fetcher().images(tmp_path, offer)
    assert refused.value.code == "public_offer"
    assert missing_images(tmp_path, offer) == list(range(3, 20))
    assert not list(tmp_path.rglob("*.part"))


def test_only_what_a_disk_lost_is_fetched_again(tmp_path: Path, federation: Path, host: Host) -> None:
    offer = host.hosted.offer
    host.fetcher().images(tmp_path, offer)
    host.asked.clear()
    damaged = image_path(tmp_path, 5).read_bytes()
    image_path(tmp_path, 5).write_bytes(damaged[:-1] + b"\0")
    image_path(tmp_path, 6).unlink()
    image_path(tmp_path, 11).write_bytes(b"")
    assert missing_images(tmp_path, offer) == [5, 6, 11]
    host.fetcher().images(tmp_path, offer)
    sent(host, federation, tmp_path)
    assert [(q.start, q.stop) for q in host.asked] == [
        (offer.starts[5], offer.starts[7]),
        (offer.starts[11], offer.starts[12]),
    ]


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from fakes.hosts import Host
from mdhfl.hosting import fetching, hosted, pieces
from mdhfl.hosting.hosted import HostedSet
for module in (fetching, hosted, pieces):
    module.LARGEST_PIECE = 500
host = Host(HostedSet(Path({public!r})))
def ask(wire):
    if len(host.asked) == 9:
        print("nine", flush=True)
        time.sleep(600)
    return host(wire)
fetcher = fetching.Fetcher(
    ask, public_digest=host.hosted.offer.public_digest, should_stop=lambda: False, tell=lambda here, whole: None
)
fetcher.images(Path({folder!r}), host.hosted.offer)
"""


def test_a_process_that_is_killed_has_lost_no_piece(tmp_path: Path, federation: Path, host: Host) -> None:
    folder, tests = tmp_path / "set", str(Path(__file__).parents[1])
    code = KILLED.format(public=str(federation / "public"), folder=str(folder), tests=tests)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "nine\n"
    process.kill()
    process.wait()
    here = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert here == 9 * 500
    offer = host.hosted.offer
    host.fetcher().images(folder, offer)
    sent(host, federation, folder)
    assert host.asked_for == offer.bytes - here


def test_rubbish_that_a_crash_left_is_thrown_away(tmp_path: Path, federation: Path, host: Host) -> None:
    """A partial file that is too long, or of other bytes: neither counts."""
    offer = host.hosted.offer
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "00000.part").write_bytes(b"x" * (offer.images[0].size + 1))
    (tmp_path / "images" / "00001.part").write_bytes(b"x" * 10)
    host.fetcher().images(tmp_path, offer)
    sent(host, federation, tmp_path)


def test_a_full_disk_leaves_what_came(tmp_path: Path, federation: Path, host: Host, small_files_only: Any) -> None:
    offer = host.hosted.offer
    largest = max(image.size for image in offer.images)
    with small_files_only(largest - 1), pytest.raises(OSError, match="File too large"):
        host.fetcher().images(tmp_path, offer)
    host.fetcher().images(tmp_path, offer)
    sent(host, federation, tmp_path)


def test_whoever_is_asked_to_stop_stops_before_the_next_piece(tmp_path: Path, host: Host, small_pieces: int) -> None:
    fetcher = fetching.Fetcher(
        host,
        public_digest=host.hosted.offer.public_digest,
        should_stop=lambda: len(host.asked) >= 4,
        tell=lambda here, whole: None,
    )
    with pytest.raises(Stopped):
        fetcher.images(tmp_path, host.hosted.offer)
    assert len(host.asked) == 4


def test_another_set_than_the_experiments_is_refused(tmp_path: Path, host: Host) -> None:
    other = HostedSet(write_federation(tmp_path / "other", seed=1) / "public")
    with pytest.raises(Refusal) as refused:
        host.fetcher(digest=other.offer.public_digest).offer()
    assert refused.value.code == "public_not_hosted"
    host.change = offering(other.offer.to_json())
    with pytest.raises(Refusal, match=f"the server offers {other.offer.public_digest[:8]} in its place") as refused:
        host.fetcher().offer()
    assert refused.value.code == "public_offer"


@pytest.mark.parametrize(("wire", "code"), [(no_set(), "public_not_hosted"), (unreadable(), "public_incomplete")])
def test_a_server_that_has_nothing_says_so(host: Host, wire: dict, code: str) -> None:
    host.change = lambda question, answer: wire
    with pytest.raises(Refusal) as refused:
        host.fetcher().offer()
    assert refused.value.code == code


LIES: dict[str, Any] = {
    "nothing": lambda a: None,
    "text": lambda a: "bytes",
    "no protocol": lambda a: {"bytes": a["bytes"], "total": a["total"], "refusal": ""},
    "a name": lambda a: {**a, "name": "../up.png"},
    "fewer bytes": lambda a: {**a, "bytes": a["bytes"][:-1]},
    "more bytes": lambda a: {**a, "bytes": a["bytes"] + b"x"},
    "no bytes": lambda a: {**a, "bytes": b""},
    "an array": lambda a: {**a, "bytes": bytearray(a["bytes"])},
    "another total": lambda a: {**a, "total": a["total"] + 1},
    "a total without end": lambda a: {**a, "total": 10**30},
    "a total that is no number": lambda a: {**a, "total": "all"},
    "a refusal of its own words": lambda a: {**a, "refusal": "\x1b[2Jno"},
}


@pytest.mark.parametrize("about", ["offer", "images"])
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_piece_that_is_not_what_was_asked_for_is_refused(tmp_path: Path, host: Host, lie: Any, about: str) -> None:
    host.change = lambda question, answer: lie(answer) if question.about == about else answer
    fetcher = host.fetcher()
    with pytest.raises(Refusal) as refused:  # noqa: PT012
        offer = fetcher.offer()
        fetcher.images(tmp_path, offer)
    assert refused.value.code == ("version" if lie is LIES["no protocol"] else "public_offer")
    assert not [path for path in tmp_path.rglob("*.png")]


def question(**changes: Any) -> dict[str, Any]:
    good = Question(about="images", public_digest="0" * 64, start=0, stop=10).to_wire()
    return {**good, **changes}


@pytest.mark.parametrize(
    "wire",
    [
        None, [], {}, "text",
        question(about="datalist.json"), question(public_digest="../../etc/passwd"), question(public_digest="0" * 63),
        question(start=-1), question(start=10), question(start=1.0), question(stop=2**60), question(name="../up"),
    ],
)  # fmt: skip
def test_a_question_that_is_none_is_not_answered(host: Host, wire: Any) -> None:
    with pytest.raises(MessageError):
        host.hosted.answer(wire)


def test_a_server_answers_no_more_than_a_piece_and_nothing_beyond_the_end(host: Host, small_pieces: int) -> None:
    digest, total = host.hosted.offer.public_digest, host.hosted.offer.bytes
    wire = Question(about="images", public_digest=digest, start=100, stop=total).to_wire()
    assert len(host.hosted.answer(wire)["bytes"]) == small_pieces
    wire = Question(about="images", public_digest=digest, start=total - 7, stop=total + 10**9).to_wire()
    assert len(host.hosted.answer(wire)["bytes"]) == 7
    wire = Question(about="images", public_digest=digest, start=total + 7, stop=total + 8).to_wire()
    assert host.hosted.answer(wire)["bytes"] == b""


def test_a_server_whose_file_was_cut_sends_nothing_of_it(tmp_path: Path, federation: Path) -> None:
    shutil.copytree(federation / "public", tmp_path / "public")
    hosted = HostedSet(tmp_path / "public")
    path = sorted((tmp_path / "public" / "images").iterdir())[0]
    path.write_bytes(path.read_bytes()[:50])
    wire = Question(about="images", public_digest=hosted.offer.public_digest, start=0, stop=10**6).to_wire()
    with pytest.raises(OSError, match="shorter than when the job began"):
        hosted.answer(wire)


def test_messages_are_the_same_after_their_way() -> None:
    asked = Question(about="offer", public_digest="a" * 64, start=5, stop=9)
    assert Question.from_wire(asked.to_wire()) == asked
    piece = Piece(bytes=b"1234", total=100)
    assert Piece.from_wire(piece.to_wire(), question=asked) == piece
