"""A public set from the server, in commands: offered, shown, accepted, hosted; and what the kits then say."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.hosts import Host

from mdhfl.commands.cli import group
from mdhfl.hosting.hosted import HostedSet
from mdhfl.hosting.kept import complete, image_path, note_offer, set_folder
from mdhfl.hosting.offer import Offer, offer_of, write_offer
from mdhfl.server.hosting import read_hosting
from mdhfl.site.settings import SiteSettings, read_site_settings


def mdhfl(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(group, [str(argument) for argument in arguments])
    said = done.output + (str(done.exception) if done.exception else "")
    assert (done.exit_code == 0) == (code == 0), said
    return said


@pytest.fixture
def path(tmp_path: Path, federation: Path) -> Path:
    settings = SiteSettings(
        site="site-1", bundle="shufflenet_v2", data=federation / "sites" / "site-1", public=None,
        state=tmp_path / "state", device="cpu", threads=1,
    )  # fmt: skip
    (tmp_path / "site.json").write_text(json.dumps(settings.to_json()))
    return tmp_path / "site.json"


def test_an_offer_is_written_sent_read_and_accepted(tmp_path: Path, federation: Path, path: Path) -> None:
    said = mdhfl("consortium", "offer", federation / "public", "--out", tmp_path / "offer.json")
    offer = offer_of(federation / "public")
    assert offer.digest in said
    assert "licence: none" in said
    said = mdhfl("accept-public", path, "--offer", tmp_path / "offer.json")
    assert f"public set: {offer.public_digest}" in said
    assert f"mdhfl accept-public {path} --accept {offer.digest[:16]}" in said
    assert read_site_settings(path).accept_public == ()
    said = mdhfl("accept-public", path, "--accept", offer.digest[:8])
    assert f"--accept-public {offer.digest}" in said
    assert read_site_settings(path).accept_public == (offer.digest,)
    assert "accepted; it is fetched when a job begins" in mdhfl("accept-public", path)
    folder = set_folder(tmp_path / "state", offer.public_digest)
    write_offer(folder / "offer.json", offer)
    Host(HostedSet(federation / "public")).fetcher().images(folder, offer)
    complete(folder, offer)
    assert "accepted, and here" in mdhfl("accept-public", path)


def test_a_licence_is_shown_and_never_obeyed(tmp_path: Path, federation: Path, path: Path) -> None:
    values = offer_of(federation / "public").to_json()
    note_offer(tmp_path / "state", Offer.from_json({**values, "licence": "CC0\n  accepted, and here\x1b[2J"}))
    said = mdhfl("accept-public", path)
    assert "  licence: CC0\\n  accepted, and here\\x1b[2J\n" in said
    assert "\x1b" not in said


@pytest.mark.parametrize("digest", ["", "0", "abcdefg", "0" * 64, "../../../../etc"])
def test_nothing_is_accepted_by_a_digest_that_names_no_offer(
    tmp_path: Path, federation: Path, path: Path, digest: str
) -> None:
    note_offer(tmp_path / "state", offer_of(federation / "public"))
    before = path.read_text()
    assert "--accept" in mdhfl("accept-public", path, "--accept", digest, code=2)
    assert path.read_text() == before


def test_there_is_nothing_to_accept_without_an_offer_or_with_an_own_copy(path: Path, federation: Path) -> None:
    assert "no server has offered a public set yet" in mdhfl("accept-public", path, code=2)
    path.write_text(json.dumps({**json.loads(path.read_text()), "public": str(federation / "public")}))
    assert "copy of its own" in mdhfl("accept-public", path, code=2)


def test_a_site_keeps_few_offers(tmp_path: Path, federation: Path) -> None:
    values = offer_of(federation / "public").to_json()
    for number in range(14):
        note_offer(tmp_path, Offer.from_json({**values, "licence": str(number)}))
    assert len(list((tmp_path / "_public" / "offered").iterdir())) == 10


def test_check_says_what_is_missing_of_a_set_from_the_server(tmp_path: Path, federation: Path, path: Path) -> None:
    assert "no offer is accepted" in mdhfl("check", path, code=2)
    offer = offer_of(federation / "public")
    note_offer(tmp_path / "state", offer)
    mdhfl("accept-public", path, "--accept", offer.digest)
    assert "all is well" in mdhfl("check", path)
    folder = set_folder(tmp_path / "state", offer.public_digest)
    write_offer(folder / "offer.json", offer)
    Host(HostedSet(federation / "public")).fetcher().images(folder, offer)
    complete(folder, offer)
    assert "all is well" in mdhfl("check", path)
    image_path(folder, 3).write_bytes(b"")
    assert "image 3 is damaged" in mdhfl("check", path, code=2)


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    launchers = {
        name: f"nvflare.app_common.job_launcher.{name}_process_launcher.{name.title()}ProcessJobLauncher"
        for name in ("client", "server")
    }
    for name, launcher in launchers.items():
        (tmp_path / name / "local").mkdir(parents=True)
        default = {"components": [{"id": "process_launcher", "path": launcher, "args": {}}]}
        (tmp_path / name / "local" / "resources.json.default").write_text(json.dumps(default))
    return tmp_path


def test_the_servers_kit_names_the_folder_and_no_more_when_it_is_left_out(kit: Path, federation: Path) -> None:
    said = mdhfl("server-kit", "--out", kit / "server", "--public", federation / "public")
    assert offer_of(federation / "public").digest in said
    hosting = kit / "server" / "local" / "hosted.json"
    assert read_hosting(hosting) == (federation / "public").resolve()
    assert "small" in str(federation)
    assert "public" in (kit / "server" / "local" / "mdhfl.md").read_text()
    mdhfl("server-kit", "--out", kit / "server")
    assert read_hosting(hosting) is None
    assert "may fetch: none" in (kit / "server" / "local" / "mdhfl.md").read_text()


def test_a_server_does_not_host_what_is_damaged(kit: Path, federation: Path, tmp_path: Path) -> None:
    shutil.copytree(federation / "public", tmp_path / "public")
    (tmp_path / "public" / "images" / "img_00003.png").write_bytes(b"no picture")
    assert "img_00003.png" in mdhfl("server-kit", "--out", kit / "server", "--public", tmp_path / "public", code=2)
    assert not (kit / "server" / "local" / "hosted.json").exists()


def test_a_sites_kit_takes_nothing_from_a_server_unless_it_says_so(kit: Path) -> None:
    place = ["--out", kit / "client", "--site", "site-1", "--bundle", "resnet10", "--data", "d", "--state", "s"]
    page = kit / "client" / "local" / "mdhfl.md"
    mdhfl("site-kit", *place, "--public", "p")
    assert read_site_settings(kit / "client" / "local" / "site.json").public == Path("p").resolve()
    assert "none is taken from a server" in page.read_text()
    said = mdhfl("site-kit", *place, "--public", "server")
    settings = read_site_settings(kit / "client" / "local" / "site.json")
    assert (settings.public, settings.accept_public) == (None, ())
    assert "no public set is accepted yet" in said
    assert "none is fetched" in page.read_text()
    mdhfl("site-kit", *place, "--public", "server", "--accept-public", "a" * 64, "--largest-public", 5000)
    settings = read_site_settings(kit / "client" / "local" / "site.json")
    assert (settings.accept_public, settings.largest_public) == (("a" * 64,), 5000)
    assert "a" * 16 in page.read_text()
    assert "accept_public" in mdhfl("site-kit", *place, "--public", "server", "--accept-public", "all", code=2)
