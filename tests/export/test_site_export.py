"""A site exports its model from its own state: the same bundle as from the run's folder, without the server."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from fakes.simulated import new_run, own_bundle, set_in, site_of

from mdhfl.commands.export_bundle import export_bundle_command
from mdhfl.export.bundle import export_bundle
from mdhfl.export.site_facts import gather_facts
from mdhfl.runs.folder import read_run
from mdhfl.runs.inprocess import run_in_process
from mdhfl.sharing.messages import Request
from mdhfl.site.history import HISTORY
from mdhfl.status.site import read_site


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, federation: Path) -> Path:
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(federation / "sites" / "site-1", folder / "alone")
    bundle = own_bundle(folder / "own", ("batch_size: 16", "batch_size: 12"))
    experiment = new_run(folder / "run", federation, rounds=1, bundles=[str(bundle)])
    run_in_process(folder / "run", experiment=experiment)
    return folder / "run"


def state_of(run: Path) -> Path:
    (found,) = (run / "sites" / "site-1").glob(f"*/{HISTORY}")
    return found.parent


@pytest.fixture
def state(run: Path, tmp_path: Path) -> Path:
    """A copy of the site's folder, far from the run's."""
    return Path(shutil.copytree(state_of(run), tmp_path / "state"))


def metadata(bundle: Path) -> dict:
    return dict(json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("which", [None, "last"])
def test_it_is_the_bundle_of_the_run(run: Path, state: Path, tmp_path: Path, which: str | None) -> None:
    own = export_bundle(state, out=tmp_path / "own" / "shared", which=which)
    theirs = export_bundle(run, site="site-1", out=tmp_path / "theirs" / "shared", which=which)
    one, other = (torch.load(each / "models" / "model.pt", weights_only=True) for each in (own, theirs))
    assert list(one) == list(other)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert metadata(own)["provenance"] == {**metadata(theirs)["provenance"], "engine": ""}
    assert metadata(own)["eval_metrics"] == metadata(theirs)["eval_metrics"]
    for name in ("configs/inference.yaml", "configs/train.yaml", "LICENSE"):
        assert (own / name).read_text() == (theirs / name).read_text()


def test_data_that_lies_alone_is_enough(run: Path, state: Path, tmp_path: Path) -> None:
    """At a hospital no federation.json lies above the site's data."""
    path = state / HISTORY
    path.write_text(path.read_text().replace(json.dumps(_data_of(path)), json.dumps(str(run.parent / "alone"))))
    out = export_bundle(state, out=tmp_path / "shared")
    card = (out / "docs" / "README.md").read_text(encoding="utf-8")
    assert "trained by site-1 with mdhfl" in card
    assert "* drawn. Licence: none" in card
    assert "engine" not in card


def _data_of(path: Path) -> str:
    return str(json.loads(path.read_text().splitlines()[0])["data"])


def test_a_bundle_that_changed_is_refused(run: Path, state: Path, tmp_path: Path) -> None:
    own, changed = run.parent / "own", tmp_path / "changed"
    shutil.copytree(own, changed)
    set_in(changed, ("batch_size: 12", "batch_size: 8"))
    path = state / HISTORY
    path.write_text(path.read_text().replace(json.dumps(str(own)), json.dumps(str(changed))))
    with pytest.raises(ValueError, match="changed since the model was trained"):
        export_bundle(state, out=tmp_path / "shared")


def test_the_command_needs_a_site_for_a_run_and_none_for_a_site(run: Path, state: Path, tmp_path: Path) -> None:
    def export(*arguments: object) -> tuple[int, str]:
        done = CliRunner().invoke(export_bundle_command, [*map(str, arguments), "--out", str(tmp_path / "out")])
        return done.exit_code, f"{done.output}{done.exception or ''}"

    assert "say whose model of the run to export" in export(run)[1]
    assert "is the folder of site-1, got 'site-2'" in export(state, "--site", "site-2")[1]
    assert "no alone model" in export(state, "--which", "alone")[1]
    code, output = export(state)
    assert code == 0, output
    assert "bundle written" in output


@pytest.mark.parametrize("term", ["classes", "seed", "method"])
def test_a_refused_request_changes_nothing_in_the_bundle(run: Path, tmp_path: Path, term: str) -> None:
    """Somebody submits a finished experiment's id with other labels, another seed, another method."""
    folder = Path(shutil.copytree(state_of(run), tmp_path / "state" / state_of(run).name))
    before = gather_facts(folder, site=None, which="last")
    site = site_of(run, "site-1")
    site.settings = replace(site.settings, state=folder.parent)
    answer = site.answer(_changed(read_run(run)[0].request("open", number=0), term))
    assert f"was begun with something else: {term}" in answer.refusal
    after = gather_facts(folder, site=None, which="last")
    assert replace(after, model=before.model) == before
    out = export_bundle(folder, out=tmp_path / "shared", which="last")
    names = metadata(out)["network_data_format"]["outputs"]["pred"]["channel_def"]
    assert list(names.values()) == list(read_run(run)[0].classes)
    status = read_site(folder)
    assert [each.reason for each in status.refusals] == [answer.refusal]
    assert status.facts["method"] == "mdhfl"


def _changed(request: Request, term: str) -> Request:
    subject = replace(request.subject, classes=tuple(reversed(request.subject.classes)))
    other = {"method": "rhfl", "parameters": {**request.parameters, "confidence_weight": 0.5}}
    changes = {"classes": {"subject": subject}, "seed": {"seed": 5}, "method": other}
    return replace(request, **changes[term])  # type: ignore[arg-type]
