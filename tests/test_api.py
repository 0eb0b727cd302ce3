"""The face of the package: light to import, and the same runs, texts and files as the command line."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.simulated import numbers_of

import mdhfl
from mdhfl.rounds.loop import TooFewSites
from mdhfl.runs.folder import read_run
from mdhfl.server.journal import read_rows

SMALL = {"bundles": ("shufflenet_v2",), "rounds": 1, "threads": 1, "progress": False}


def test_importing_the_package_loads_nothing() -> None:
    code = (
        "import sys, mdhfl; print(sorted(m for m in sys.modules if m.startswith('mdhfl') or m in ('numpy', 'torch')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "['mdhfl']"


def test_everything_that_the_face_names_is_there() -> None:
    assert set(mdhfl.__all__) <= set(dir(mdhfl))
    for name in mdhfl.__all__:
        assert getattr(mdhfl, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'magic'; it has: Experiment"):
        _ = mdhfl.magic


def test_the_functions_stay_functions_when_their_packages_are_loaded() -> None:
    import mdhfl.comparison.compare
    import mdhfl.reports.write
    import mdhfl.runs.folder

    assert callable(mdhfl.report)
    assert callable(mdhfl.run)
    assert callable(mdhfl.compare)


@pytest.mark.slow
def test_prepare_run_and_report(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    prepared = mdhfl.prepare(
        "synthetic", sites=2, per_site=16, public="synthetic", public_count=12, classes=["eosinophil", "monocyte"],
        out=tmp_path / "fed", workers=1,
    )  # fmt: skip
    a = mdhfl.run(prepared, mdhfl.methods.Mdhfl(ce_weight=1.0), out=tmp_path / "a", **SMALL)
    b = mdhfl.run(tmp_path / "fed", "local", out=tmp_path / "b", **SMALL)
    assert isinstance(a.scores, pandas.DataFrame)
    assert list(a.scores.columns) == ["site", "round", "part", "score", "value"]
    assert set(a.scores.part) == {"test", "validation"}
    assert set(a.scores.score) == {"accuracy", "macro_f1", "balanced_accuracy", "ece"}
    assert len(a.scores) == 2 * 2 * 2 * 4
    assert a.scores.value.between(0, 1).all()
    page = mdhfl.report([a, b.folder], out=tmp_path / "report")
    assert "MDH-FL" in page.read_text(encoding="utf-8")


def test_a_run_is_resumed_with_more_rounds(tmp_path: Path, federation: Path) -> None:
    mdhfl.run(federation, "local", out=tmp_path / "a", **SMALL)
    longer = mdhfl.run(federation, "local", out=tmp_path / "a", resume=True, **{**SMALL, "rounds": 2})
    whole = mdhfl.run(federation, "local", out=tmp_path / "b", **{**SMALL, "rounds": 2})
    assert longer.summary["rounds"] == whole.summary["rounds"] == 2
    rows = [numbers_of(read_rows(run.folder / "results.jsonl")) for run in (longer, whole)]
    assert rows[0] == rows[1]


def test_changes_are_those_of_the_command_line_and_a_resume_looks_at_them(tmp_path: Path, federation: Path) -> None:
    changes = {"ce_weight": 0.5, "bundle.learning_rate": 3e-4}
    mdhfl.run(federation, "local", out=tmp_path / "a", changes=changes, **SMALL)
    record = read_run(tmp_path / "a")[1]
    assert record["parameters"]["ce_weight"] == 0.5
    assert record["bundle_changes"] == {"learning_rate": 3e-4}
    longer = {**SMALL, "rounds": 2}
    with pytest.raises(ValueError, match=r"bundle\.learning_rate"):
        mdhfl.run(
            federation, "local", out=tmp_path / "a", resume=True, changes={"bundle.learning_rate": 1e-4}, **longer
        )
    assert (
        mdhfl.run(federation, "local", out=tmp_path / "a", resume=True, changes=changes, **longer).summary["rounds"]
        == 2
    )


@dataclass(frozen=True, kw_only=True)
class Hesitant(mdhfl.methods.Mdhfl):
    """A method that is defined where it is used."""

    title = "hesitant"


def test_a_method_of_ones_own_runs_in_process_and_is_reported(tmp_path: Path, federation: Path) -> None:
    run = mdhfl.run(federation, Hesitant(), out=tmp_path / "a", **SMALL)
    assert run.summary["status"] == "finished"
    assert run.summary["method"].endswith(":Hesitant")
    assert "Hesitant" in mdhfl.report([run], out=tmp_path / "report").read_text(encoding="utf-8")


def test_a_method_that_a_script_defines_is_refused_for_flare(tmp_path: Path, federation: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Local(mdhfl.methods.Local):
        title = "local"

    Local.__module__ = "__main__"
    with pytest.raises(ValueError, match="FLARE's processes cannot see what a script or notebook defines"):
        mdhfl.run(federation, Local(), out=tmp_path / "a", engine="flare", **SMALL)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"method": "fedmagic"}, "no recipe 'fedmagic'; there are:"),
        ({"federation": "nowhere"}, "nowhere: no federation.json; write a federation with `mdhfl prepare`"),
        ({"bundles": ("no_such",)}, "no bundle 'no_such': expected one of"),
        ({"engine": "flare", "method": "centralised"}, "only --engine inprocess can run it"),
    ],
)
def test_errors_have_the_texts_of_the_command_line(
    tmp_path: Path, federation: Path, arguments: dict, said: str
) -> None:
    asked = {"federation": federation, "out": tmp_path / "a", **SMALL, **arguments}
    with pytest.raises((ValueError, OSError), match=said):
        mdhfl.run(**asked)


def test_prepare_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="prepare: no argument colour; it has: alpha, also"):
        mdhfl.prepare("synthetic", out=tmp_path / "fed", colour="red")


def test_a_run_that_fails_names_the_logs_that_say_why(tmp_path: Path, federation: Path) -> None:
    folder = Path(shutil.copytree(federation, tmp_path / "fed"))
    (folder / "public" / "images" / "img_00007.png").unlink()
    said = r"its public images could not be read.*In full: .*site-1/site\.log, .*site-2/site\.log"
    with pytest.raises(TooFewSites, match=said) as raised:
        mdhfl.run(folder, "mdhfl", out=tmp_path / "run", rounds=1, threads=1, progress=False)
    assert "img_00007" not in str(raised.value)
    assert "img_00007.png: listed" in (tmp_path / "run" / "sites" / "site-1" / "site.log").read_text()
