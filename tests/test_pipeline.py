"""The whole `tiny` pipeline as a reader runs it, in a copy of the checkout: notebooks, records, pages, and nbval on what they show."""

import json
from pathlib import Path

import pytest
from browser import Browser, find_browser
from checkouts import ROOT, copy_checkout, run
from html_check import check_page

from reidlib.reports.refresh import with_outputs

NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
NBVAL = ("-q", "-p", "no:cacheprovider", "--nbval-cell-timeout", "300")
pytestmark = [pytest.mark.notebook, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of what the pipeline reads, after one run of the tiny preset."""
    folder = copy_checkout(tmp_path_factory.mktemp("checkout"))
    run(folder, "-m", "snakemake", "--cores", "1", "--quiet", "rules", "--config", "preset=tiny", "command=make report PRESET=tiny")
    return folder


def records(checkout: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((checkout / "runs/walkers-tiny/results").glob("*.json"))}


def test_every_notebook_ran_and_recorded_its_results(checkout):
    found = records(checkout)
    assert list(found) == NOTEBOOKS
    for name, result in found.items():
        assert result["preset"] == "tiny" and result["figures"] and result["headline"], name
        assert (result["data_key"] == found["01_data"]["data_key"]) == (name != "00_your_data"), name  # that one has an example of its own


def test_scores_are_scores(checkout):
    rows = records(checkout)["02_training"]["tables"]["results as numbers"]
    scored = [row for row in rows if row["metric"] == "mAP"]
    assert {row["row"] for row in scored} >= {"chance", "counts", "s3ce_net", "sew_resnet18", "resnet18_events"}
    for row in scored:
        assert 0 < row["mean"] <= 100 and (row["low"] is None or row["low"] <= row["mean"] <= row["high"]), row


def test_every_page_is_complete_and_offline(checkout):
    pages = sorted((checkout / "reports/walkers-tiny").glob("*.html"))
    assert [page.stem for page in pages] == [*NOTEBOOKS, "index"]
    assert {page.name: check_page(page) for page in pages} == {page.name: [] for page in pages}


@pytest.mark.skipif(find_browser() is None, reason="no Chromium here: the pages are not opened in a browser")
def test_the_pages_open_without_network_on_laptop_and_phone(checkout, tmp_path):
    with Browser() as browser:
        for page in sorted((checkout / "reports/walkers-tiny").glob("*.html")):
            for width in (1280, 390):
                seen = browser.visit(page, width, picture=tmp_path / f"{page.stem}-{width}.png")
                assert not seen["problems"] and seen["overflow"] <= 0, (page.name, width, seen)


def test_a_second_run_has_nothing_to_do(checkout):
    done = run(checkout, "-m", "snakemake", "--cores", "1", "-n", "--config", "preset=tiny", "command=make report PRESET=tiny")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_executed_notebooks_repeat_themselves_strictly(checkout):
    """One after the other, and on one thread like the run they are compared with: they train anew, in a folder beside themselves."""
    executed = [f"reports/walkers-tiny/notebooks/{name}.ipynb" for name in NOTEBOOKS]
    run(checkout, "-m", "pytest", *NBVAL, "--nbval", *executed)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_committed_notebooks_hold_what_they_mark(checkout, name):
    """Their marked outputs are those of the run that the strict check repeats: no third run is needed."""
    source, executed = ROOT / "notebooks" / f"{name}.ipynb", checkout / "reports/walkers-tiny/notebooks" / f"{name}.ipynb"
    committed, ran = json.loads(source.read_text())["cells"], json.loads(with_outputs(source, executed, {}))["cells"]
    marked = [(old, new) for old, new in zip(committed, ran, strict=True) if "nbval-check-output" in old["metadata"].get("tags", [])]
    for old, new in marked:
        assert old["outputs"] == new["outputs"], "the committed notebook shows something else: run `make notebooks`"
    assert any(old["outputs"] for old, _ in marked)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_committed_notebooks_carry_a_marked_output_and_small_outputs(name):
    cells = [cell for cell in json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"] if cell["cell_type"] == "code"]
    tags = [tag for cell in cells for tag in cell["metadata"].get("tags", [])]
    assert tags.count("parameters") == 1
    assert any(cell["outputs"] for cell in cells), "the committed notebook shows nothing: run `make notebooks`"
    assert "nbval-check-output" in tags
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < 2_500_000
