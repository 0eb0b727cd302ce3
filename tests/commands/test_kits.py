"""`mdhfl site-kit` and `mdhfl server-kit`: what they allow, and that no job can choose a place."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from nvflare.apis.fl_constant import AdminCommandNames
from nvflare.fuel.sec.authz import AuthzContext, Person
from nvflare.security.security import FLAuthorizer

from mdhfl.commands.check import _key_of
from mdhfl.commands.kits import server_kit_command, site_kit_command
from mdhfl.files import shipped_folder
from mdhfl.flare import places
from mdhfl.flare.executor import SiteExecutor
from mdhfl.flare.policy import LAUNCHERS, SERVER_CLASSES, SITE_CLASSES
from mdhfl.site.defences import Defences, Privacy
from mdhfl.site.settings import read_site_settings
from mdhfl.swarm.keys import FILE, load_or_create_key

DEFAULT = {
    "format_version": 2,
    "class_list_enforcement_mode": "warn",
    "class_allow_list": ["*"],
    "allow_log_streaming": True,
    "client": {"retry_timeout": 30},
    "components": [
        {"id": "resource_manager", "path": "nvflare.app_common.resource_managers.x.GPUResourceManager", "args": {}},
        {"id": "process_launcher", "path": next(iter(LAUNCHERS)), "args": {}},
        {"id": "site_log_streamer", "path": "nvflare.app_common.logging.site_log_streamer.SiteLogStreamer"},
    ],
}


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    (tmp_path / "kit" / "local").mkdir(parents=True)
    (tmp_path / "kit" / "local" / "resources.json.default").write_text(json.dumps(DEFAULT))
    return tmp_path / "kit"


def read(kit: Path, name: str) -> dict:
    return dict(json.loads((kit / "local" / name).read_text()))


def site_kit(kit: Path, *more: str) -> str:
    arguments = ["--out", str(kit), "--site", "site-1", "--bundle", "resnet10", "--data", "d", "--public", "p"]
    done = CliRunner().invoke(site_kit_command, [*arguments, "--state", "s", *more])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_site_allows_two_classes_no_code_no_streams_and_no_shell(kit: Path) -> None:
    output = site_kit(kit)
    resources = read(kit, "resources.json")
    assert resources["class_allow_list"] == list(SITE_CLASSES)
    assert resources["class_list_enforcement_mode"] == "enforce"
    assert resources["allow_log_streaming"] is False
    assert [one["id"] for one in resources["components"]] == ["resource_manager", "process_launcher"]
    assert resources["components"][1]["path"] == "mdhfl.flare.launchers.SiteLauncher"
    assert resources["client"] == DEFAULT["client"]
    permissions = read(kit, "authorization.json")["permissions"]
    for role in ("project_admin", "org_admin", "lead"):
        assert permissions[role]["byoc"] == permissions[role]["shell_commands"] == "none"
    scope = read(kit, "privacy.json")["scopes"][0]
    assert scope["task_result_filters"] == [{"name": "OnlyAnswers", "path": SITE_CLASSES[1], "args": {}}]
    assert read(kit, "privacy.json")["default_scope"] == scope["name"]
    settings = read_site_settings(kit / "local" / "site.json")
    assert (settings.bundle, settings.may_share, settings.data) == ("resnet10", ("knowledge",), Path("d").resolve())
    for name in ("site.json", "resources.json", "authorization.json", "privacy.json", "mdhfl.md"):
        assert str(kit / "local" / name) in output


def test_a_site_may_share_more(kit: Path) -> None:
    site_kit(kit, "--may-share", "knowledge, weights,encrypted_weights")
    assert read_site_settings(kit / "local" / "site.json").may_share == ("knowledge", "weights", "encrypted_weights")


@pytest.mark.parametrize(
    ("scores", "said"), [(None, "means of three decimals"), ("off", "nothing"), ("full", "matrices")]
)
def test_a_site_tells_means_only_unless_its_it_says_otherwise(kit: Path, scores: str | None, said: str) -> None:
    site_kit(kit, *(("--scores", scores) if scores else ()))
    written = read(kit, "site.json")
    assert written["scores"] == (scores or "aggregated")
    assert (written["minimum_images"], written["minimum_classes"], written["smallest_count"]) == (20, 2, 5)
    page = " ".join((kit / "local" / "mdhfl.md").read_text().split())
    assert f"Of its scores and losses leaves: {said}" in page or f"confusion {said}, and with them" in page
    assert "With fewer than 20 training images, or 2 classes, nothing leaves" in page


@pytest.mark.parametrize("partner", ["site-2", "site-2=ab", "site-2=" + "AB" * 32])
def test_a_partner_without_a_key_is_refused(kit: Path, partner: str) -> None:
    arguments = ["--out", str(kit), "--site", "site-1", "--bundle", "resnet10", "--data", "d", "--public", "p"]
    done = CliRunner().invoke(site_kit_command, [*arguments, "--state", "s", "--partner", partner])
    assert isinstance(done.exception, ValueError)
    assert "expected SITE=KEY" in str(done.exception) or "partners" in str(done.exception)


def test_a_check_shows_the_key_by_which_partners_know_a_site(kit: Path, tmp_path: Path) -> None:
    site_kit(kit, "--state", str(tmp_path / "state"))
    settings = read_site_settings(kit / "local" / "site.json")
    assert "no signing key yet" in _key_of(settings)
    key = load_or_create_key(settings.state / FILE)
    assert _key_of(settings) == f"signing key {key.public}"
    assert key.private.hex() not in _key_of(settings)


def test_everything_in_site_json_can_be_said_in_the_command(kit: Path) -> None:
    """Nobody needs to edit the file by hand."""
    site_kit(kit, *("--minimum-images", "60", "--minimum-classes", "3", "--smallest-count", "12"),
             *("--withhold", "competences", "--weights", "w.pt", "--methods", "ours.first, ours.second"),
             *("--set", "bundle.learning_rate=3e-4", "--set", "bundle.batch_size=8"),
             *("--minimum-sites", "4", "--partner", f"site-2={'ab' * 32}", "--partner", f"site-3={'cd' * 32}"),
             *("--defence", "top_k=3", "--defence", "precision=4"),
             *("--privacy", "epsilon=8", "--privacy", "delta=1e-5"),
             *("--public", "server", "--accept-public", "a" * 64, "--largest-public", "5"))  # fmt: skip
    settings = read_site_settings(kit / "local" / "site.json")
    assert (settings.minimum_images, settings.minimum_classes, settings.smallest_count) == (60, 3, 12)
    assert (settings.withhold, settings.methods) == (("competences",), ("ours.first", "ours.second"))
    assert settings.weights == Path("w.pt").resolve()
    assert (settings.minimum_sites, settings.partners) == (4, {"site-2": "ab" * 32, "site-3": "cd" * 32})
    assert settings.bundle_changes == {"learning_rate": 3e-4, "batch_size": 8}
    schema = json.loads((shipped_folder("meta") / "schemas" / "site.schema.json").read_text())
    assert set(read(kit, "site.json")) == set(schema["properties"])
    page = " ".join((kit / "local" / "mdhfl.md").read_text().split())
    for said in ("fewer than 60 training images, or 3 classes", "fewer than 12 images", "Never leaves: competences"):
        assert said in page
    assert "whose code a job may run: ours.first, ours.second." in page
    assert settings.defences == Defences(top_k=3, precision=4)
    assert settings.privacy == Privacy(epsilon=8, delta=1e-5)
    assert "the 3 likeliest classes, the rest spread evenly; 4 bits a number. No epsilon belongs to them." in page
    assert "training: epsilon 8 at delta 1e-05 for each training image, over all experiments" in page
    before = {path.name: path.read_bytes() for path in (kit / "local").iterdir()}
    done = CliRunner().invoke(site_kit_command, ["--out", str(kit)])
    assert done.exit_code == 0, done.output
    assert {path.name: path.read_bytes() for path in (kit / "local").iterdir()} == before, "an update keeps it all"


def test_an_update_changes_what_is_said_and_keeps_the_rest(kit: Path) -> None:
    site_kit(kit, "--scores", "off", "--withhold", "competences", "--defence", "top_k=3")
    changes = ["--out", str(kit), "--threads", "2", "--withhold", "", "--defence", "precision=4"]
    assert CliRunner().invoke(site_kit_command, changes).exit_code == 0
    settings = read_site_settings(kit / "local" / "site.json")
    assert (settings.scores, settings.threads, settings.withhold) == ("off", 2, ())
    assert settings.defences == Defences(precision=4)
    assert settings.data == Path("d").resolve()


def test_a_site_json_that_cannot_be_read_is_not_written_over(kit: Path) -> None:
    site_kit(kit, "--scores", "off")
    path = kit / "local" / "site.json"
    path.write_text(path.read_text()[:-20])
    done = CliRunner().invoke(site_kit_command, ["--out", str(kit), "--threads", "2"])
    assert "mend it, or delete it to begin anew" in str(done.exception)


def test_a_kit_without_a_budget_claims_no_epsilon(kit: Path) -> None:
    site_kit(kit)
    page = " ".join((kit / "local" / "mdhfl.md").read_text().split())
    assert "Defences of its answers: none." in page
    assert "Differential privacy of its training: none, and so no epsilon is claimed." in page


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["--defence", "top_k"], "--defence: expected NAME=VALUE, got 'top_k'; for example --defence top_k=3"),
        (["--defence", "topk=3"], "defences: expected temperature, top_k, .*got topk"),
        (["--defence", "confidence=nan"], "confidence"),
        (["--privacy", "epsilon=3"], "privacy: expected epsilon and delta, lacks delta"),
        (["--privacy", "epsilon=.nan", "--privacy", "delta=1e-5"], "privacy: epsilon: expected a number above 0"),
    ],
)
def test_a_wrong_policy_is_one_line_and_nothing_is_written(kit: Path, pairs: list[str], said: str) -> None:
    arguments = ["--out", str(kit), "--site", "site-1", "--bundle", "resnet10", "--data", "d", "--public", "p"]
    done = CliRunner().invoke(site_kit_command, [*arguments, "--state", "s", *pairs])
    assert re.search(said, str(done.exception))
    assert not (kit / "local" / "site.json").exists()


def test_a_site_sets_nothing_of_a_job(kit: Path) -> None:
    arguments = ["--out", str(kit), "--site", "site-1", "--bundle", "resnet10", "--data", "d", "--public", "p"]
    done = CliRunner().invoke(site_kit_command, [*arguments, "--state", "s", "--set", "local_epochs=3"])
    assert "--set local_epochs: a site sets its bundle alone" in str(done.exception)


def test_a_minimum_below_the_smallest_count_is_refused(kit: Path) -> None:
    arguments = ["--out", str(kit), "--site", "site-1", "--bundle", "resnet10", "--data", "d", "--public", "p"]
    few = ["--state", "s", "--minimum-images", "4", "--smallest-count", "5"]
    done = CliRunner().invoke(site_kit_command, [*arguments, *few])
    assert done.exit_code != 0
    assert "expected at least smallest_count (5)" in str(done.exception)


def test_the_server_tells_of_jobs_that_it_left_running(kit: Path) -> None:
    server = {
        **DEFAULT,
        "servers": [{}],
        "components": [{"id": "process_launcher", "path": list(LAUNCHERS)[1]}],
    }
    (kit / "local" / "resources.json.default").write_text(json.dumps(server))
    assert CliRunner().invoke(server_kit_command, ["--out", str(kit)]).exit_code == 0
    paths = [one["path"] for one in read(kit, "resources.json")["components"]]
    assert paths == ["mdhfl.flare.launchers.ServerLauncher", "mdhfl.flare.abandoned.AbandonedJobs"]


def test_the_server_keeps_its_jobs_in_the_kit(kit: Path) -> None:
    """FLARE's servers of one machine would share a folder that is emptied when it starts again."""
    path = kit / "local" / "resources.json.default"
    storage = {"id": "job_manager", "path": "x.JobManager", "args": {"uri_root": "/tmp/nvflare/jobs-storage"}}
    default = json.loads(path.read_text())
    path.write_text(json.dumps({**default, "components": [*default["components"], storage]}))
    assert CliRunner().invoke(server_kit_command, ["--out", str(kit)]).exit_code == 0
    (found,) = [one for one in read(kit, "resources.json")["components"] if one["id"] == "job_manager"]
    assert found["args"]["uri_root"] == str(kit.resolve() / "store" / "jobs-storage")


def test_the_server_allows_its_own_classes(kit: Path) -> None:
    done = CliRunner().invoke(server_kit_command, ["--out", str(kit)])
    assert done.exit_code == 0, done.output
    assert read(kit, "resources.json")["class_allow_list"] == list(SERVER_CLASSES)
    assert read(kit, "authorization.json")["permissions"]["lead"]["byoc"] == "none"
    assert not (kit / "local" / "privacy.json").exists()


@pytest.mark.parametrize("where", ["server", "site"])
def test_a_lead_ends_its_own_jobs_and_touches_no_machine(kit: Path, where: str) -> None:
    """FLARE's own authoriser, with what we write: it counts the server as of the lead's organisation."""
    if where == "server":
        assert CliRunner().invoke(server_kit_command, ["--out", str(kit)]).exit_code == 0
    else:
        site_kit(kit)
    authorizer = FLAuthorizer("mdhfl" if where == "server" else "berlin", read(kit, "authorization.json"))
    lead, admin = Person("lead@x.org", "mdhfl", "lead"), Person("admin@x.org", "mdhfl", "project_admin")

    def may(user: Person, right: str, submitter: Person) -> bool:
        return bool(authorizer.authorize(AuthzContext(right, user, submitter))[0])

    machines = (
        AdminCommandNames.SHUTDOWN,
        AdminCommandNames.RESTART,
        AdminCommandNames.REMOVE_CLIENT,
        AdminCommandNames.DISABLE_CLIENT,
        AdminCommandNames.SET_TIMEOUT,
        AdminCommandNames.SHELL_CAT,
    )
    assert [right for right in machines if may(lead, right, lead)] == []
    assert [right for right in machines if may(admin, right, admin)] == list(machines[:-1])
    assert may(lead, "submit_job", lead)
    for right in (AdminCommandNames.ABORT_JOB, AdminCommandNames.DELETE_JOB, AdminCommandNames.DOWNLOAD_JOB):
        assert may(lead, right, lead)
        assert not may(lead, right, admin)
        assert may(admin, right, lead)
    assert may(lead, AdminCommandNames.LIST_JOBS, lead)


def test_a_folder_that_is_no_kit_is_refused_with_the_way_out(tmp_path: Path) -> None:
    done = CliRunner().invoke(server_kit_command, ["--out", str(tmp_path)])
    assert "expected the resources of a FLARE startup kit" in str(done.exception)
    assert "`startup` and `local`" in str(done.exception)


def test_a_kit_that_starts_jobs_elsewhere_is_refused(kit: Path) -> None:
    """In containers or by another launcher, our check of the job would be passed by."""
    path = kit / "local" / "resources.json.default"
    path.write_text(path.read_text().replace(next(iter(LAUNCHERS)), "nvflare.app_opt.job_launcher.docker_launcher.X"))
    done = CliRunner().invoke(server_kit_command, ["--out", str(kit)])
    assert "expected one of FLARE's launchers of processes" in str(done.exception)


def test_no_job_chooses_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(places.RUN, raising=False)
    assert places.site_settings(tmp_path, site="a") == tmp_path / "local" / "site.json"
    assert places.server_settings(tmp_path) == tmp_path / "local" / "server.json"
    assert places.results(tmp_path, experiment="trial-1") == tmp_path / "experiments" / "trial-1"
    for identity in ("../../etc", "a/b", ".hidden", "", "a" * 101):
        with pytest.raises(ValueError, match="expected letters, digits, dots"):
            places.results(tmp_path, experiment=identity)
    with pytest.raises(TypeError):
        SiteExecutor(site_config="mine.json")  # type: ignore[call-arg]
    with places.simulated(tmp_path / "run"):
        assert places.site_settings(tmp_path, site="a") == tmp_path / "run" / "sites" / "a" / "site.json"
        assert places.results(tmp_path, experiment="trial-1") == tmp_path / "run"
    assert places.site_settings(tmp_path, site="a") == tmp_path / "local" / "site.json"
