"""From a notebook to the pages of a report: parameters, failures, what is shown, what is missing, and that no page needs a network."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import matplotlib.figure
import nbformat
import numpy as np
import pandas as pd
import pytest
from browser import Browser, find_browser
from html_check import check_page
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from reidlib import reports
from reidlib.reports.__main__ import main
from reidlib.reports.html import notebook_html, tidy_for_reading
from reidlib.reports.index import format_number, format_seconds

matplotlib.use("Agg")

ROOT = Path(__file__).resolve().parent.parent
DEFAULTS = """DATASET = "walkers"  # data set
PRESET = "tiny"  # size
SEED = 0  # first seed
OUTPUT_DIR = "runs/x"  # results
DATA = ""  # path of a real set
GAIT = ""  # folder of recorded walks"""
WORK = """import sys, warnings
import matplotlib.pyplot as plt, pandas as pd
from tqdm import tqdm
for _ in tqdm(range(3)): pass
warnings.warn("a warning")
print("python", sys.executable == EXECUTABLE, "seed", SEED, "into", OUTPUT_DIR)
fig, ax = plt.subplots(figsize=(3, 2)); ax.plot([1, 2]); plt.show()"""
RECORD = """from reidlib.reports import record, save_figure
figure = save_figure(fig, OUTPUT_DIR, "line", "A line that rises.", "Line from 1 to 2")
record(OUTPUT_DIR, NAME, title="A small <run>", headline=[{"label": "mAP", "value": 61.5, "low": 58.0, "high": 65.0, "unit": "%"}],
       tables={"Per row": [{"row": "a&b", "mAP": 61.5}]}, figures=[figure], notes=["x < y"],
       dataset=DATASET, preset=PRESET, seed=SEED, data_key="abc123")
pd.DataFrame({f"a rather long column {i}": [i] for i in range(12)})"""


def write_notebook(path: Path, *sources: str, title: str = "A small run") -> Path:
    """A notebook with the standard parameters and the given code cells."""
    parameters = new_code_cell(DEFAULTS, metadata={"tags": ["parameters"]})
    cells = [
        new_markdown_cell(f"# {title}\n\nSee [the paper](https://arxiv.org/abs/2505.24401)."),
        parameters,
        *map(new_code_cell, sources),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of one executed notebook, one that failed and one that never ran."""
    folder = tmp_path_factory.mktemp("report with space")
    runs, pages = folder / "runs", folder / "pages"
    constants = f'EXECUTABLE = {sys.executable!r}\nNAME = "02_training"'
    source = write_notebook(folder / "02_training.ipynb", constants, WORK, RECORD)
    executed = reports.run_notebook(source, pages / "notebooks" / "02_training.ipynb", {"SEED": 7, "OUTPUT_DIR": str(runs)})
    with pytest.raises(reports.NotebookError) as failure:
        broken = write_notebook(folder / "03_ablations.ipynb", "x = 1", "raise KeyError('no row named ssam')")
        reports.run_notebook(broken, pages / "notebooks" / "03_ablations.ipynb")
    reports.write_pages([executed], pages)
    names = ["02_training", "03_ablations", "04_embeddings"]
    index = reports.write_index(pages, runs, names, name="walkers, tiny", command="make report SEED=7", parameters={"Seed": 7})
    return {"source": source, "executed": executed, "failure": str(failure.value), "runs": runs, "pages": pages, "index": index}


def test_a_run_uses_this_python_and_the_given_parameters(report):
    text = report["executed"].read_text(encoding="utf-8")
    assert f"python True seed 7 into {report['runs']}" in text.replace("\\n", "\n")
    assert not list(report["pages"].rglob("*.running.ipynb"))


def test_a_failing_cell_is_explained_and_what_ran_is_kept(report):
    assert "03_ablations.ipynb" in report["failure"] and "KeyError" in report["failure"] and "no row named ssam" in report["failure"]
    folder = report["pages"] / "notebooks"
    assert (folder / "03_ablations.failed.ipynb").is_file() and not (folder / "03_ablations.ipynb").exists()


def test_an_unknown_parameter_is_refused_before_anything_runs(tmp_path):
    source = write_notebook(tmp_path / "a.ipynb", "raise SystemExit('ran')")
    with pytest.raises(ValueError, match=r"no parameter 'PRSET'. Did you mean 'PRESET'\? Its parameters: DATASET, PRESET, SEED"):
        reports.run_notebook(source, tmp_path / "out.ipynb", {"PRSET": "tiny"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ipynb"]


def test_a_notebook_must_exist_be_whole_and_have_parameters(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.ipynb"):
        reports.run_notebook(tmp_path / "absent.ipynb", tmp_path / "out.ipynb")
    nbformat.write(new_notebook(cells=[new_code_cell("A = 1")]), tmp_path / "bare.ipynb")
    with pytest.raises(ValueError, match="no cell tagged 'parameters'"):
        reports.run_notebook(tmp_path / "bare.ipynb", tmp_path / "out.ipynb")
    (tmp_path / "cut.ipynb").write_text('{"cells": [')
    with pytest.raises(ValueError, match="not a readable notebook"):
        reports.run_notebook(tmp_path / "cut.ipynb", tmp_path / "out.ipynb")


def test_the_command_line_says_one_line_for_a_mistake(tmp_path, capsys):
    source = write_notebook(tmp_path / "a.ipynb", "1")
    assert main(["run", str(source), "--output", str(tmp_path / "o.ipynb"), "-p", "SED", "3"]) == 1
    assert capsys.readouterr().err.startswith("error: a.ipynb has no parameter 'SED'. Did you mean 'SEED'?")


def test_every_page_is_complete_and_offline(report):
    pages = sorted(report["pages"].glob("*.html"))
    assert [page.name for page in pages] == ["02_training.html", "index.html"]
    assert {page.name: check_page(page) for page in pages} == {"02_training.html": [], "index.html": []}


def test_a_notebook_page_shows_outputs_and_folds_code(report):
    text = (report["pages"] / "02_training.html").read_text(encoding="utf-8")
    assert "a rather long column 11" in text and "seed 7" in text and 'src="data:image/png;base64,' in text
    assert text.count('<details class="code">') == 5 and "Parameters of this run" in text
    read = re.sub(r"data:image/png;base64,[^\"]*", "", text)  # an encoded figure may hold any three letters
    assert not re.search(r"\d+%\|", read), "a progress bar is left"
    assert "<script" not in text


def test_the_index_names_numbers_and_what_is_missing(report):
    text = report["index"].read_text(encoding="utf-8")
    for shown in (
        "61.5 %",
        "58.0 to 65.0",
        "make report SEED=7",
        "abc123",
        "a&amp;b",
        "x &lt; y",
        "A small &lt;run&gt;",
        "torch",
        "spikingjelly",
    ):
        assert shown in text
    assert "no row named ssam" in text and "has not been run" in text and "2 of 3 notebooks" in text
    assert (report["pages"] / "figures" / "line.png").is_file()
    assert (report["pages"] / "tables" / "02_training-per-row.csv").read_text() == "row,mAP\na&b,61.5\n"


def test_a_figure_lost_from_the_results_is_an_error(report, tmp_path):
    runs = shutil.copytree(report["runs"], tmp_path / "runs")
    (runs / "figures" / "line.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"line.png is named in the results of 02_training"):
        reports.write_index(tmp_path / "pages", runs)


@pytest.mark.skipif(find_browser() is None, reason="no Chromium or Chrome is installed")
def test_chromium_shows_the_pages_without_network_on_laptop_and_phone(report):
    with Browser() as browser:
        for page in sorted(report["pages"].glob("*.html")):
            for width in (1280, 390):
                seen = browser.visit(page, width)
                assert seen["problems"] == [], f"{page.name} at {width}"
                assert seen["overflow"] <= 0, f"{page.name} is {seen['overflow']} pixels too wide at {width}"
                assert seen["images"] == 1


@pytest.mark.skipif(find_browser() is None, reason="no Chromium or Chrome is installed")
def test_the_browser_check_can_fail(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        '<!DOCTYPE html><html><head><meta name="viewport" content="width=device-width"></head><body><div style="width:900px">wide</div>'
        '<img src="http://example.invalid/a.png"><img src="gone.png"><script>console.error("oh")</script></body></html>'
    )
    with Browser() as browser:
        seen = browser.visit(page, 390)
    said = " ".join(seen["problems"])
    assert "asks the network for http://example.invalid/a.png" in said and "console: ['oh']" in said and "gone.png" in said
    assert seen["overflow"] > 400


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<script src="https://cdn.example/x.js"></script>', "loads from the network"),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', "loads from the network"),
        ("<style>p { background: url(https://x.example/a.png) }</style>", "loads from the network"),
        ('<img src="gone.png" alt="a">', "is missing"),
        ('<img src="data:,">', "without a text alternative"),
        ('<a href="gone.html">x</a>', "leads nowhere"),
        ('<a href="#gone">x</a>', "leads nowhere"),
        ('<p id="a"></p><p id="a"></p>', "stands twice"),
        ("<div>", "</body> closes <div>"),
    ],
)
def test_the_page_check_can_fail(tmp_path, body, problem):
    page = tmp_path / "page.html"
    head = '<!DOCTYPE html><html lang="en"><head><meta name="viewport" content="width=device-width"></head><body>'
    page.write_text(f"{head}{body}</body></html>")
    assert any(problem in found for found in check_page(page))
    page.write_text(f"{head}<p>fine</p></body></html>")
    assert check_page(page) == []


def test_names_and_titles_are_escaped(tmp_path):
    path = write_notebook(tmp_path / 'a "b" <c>.ipynb', title="<script>alert(1)</script> & more")
    (page,) = reports.write_pages([path], tmp_path)
    assert check_page(page) == ["link leads nowhere: index.html"]
    assert "<title>&lt;script&gt;" in page.read_text(encoding="utf-8")


def test_widgets_and_scripts_of_outputs_are_left_out(tmp_path):
    cell = new_code_cell("x")
    cell.outputs = [
        new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "bar"}),
        new_output("display_data", data={"application/javascript": "alert(1)", "text/plain": "script"}),
        new_output("stream", name="stderr", text="  0%|      | 0/9 [00:00<?]\r100%|######| 9/9 [00:01<00:00]\nreal message\n"),
        new_output("stream", name="stdout", text="one "),
        new_output("stream", name="stdout", text="line\n"),
        new_output("execute_result", data={"text/plain": "<Model at 0x7f001122>"}),
    ]
    notebook = new_notebook(cells=[cell])
    tidy_for_reading(notebook)
    streams = [output.text for output in cell.outputs if output.output_type == "stream"]
    assert streams == ["real message\n", "one line\n"]
    assert cell.outputs[-1].data["text/plain"] == "<Model>" and len(cell.outputs) == 3


def test_record_keeps_numbers_and_refuses_what_it_cannot_mean(tmp_path):
    table = pd.DataFrame(
        {"x": np.array([1.5, np.nan], dtype=np.float32), "n": np.array([1, 2], dtype=np.int64)}, index=pd.Index(["a", "b"], name="row")
    )
    path = reports.record(
        tmp_path, "01_data", title="t", headline=[{"label": "n", "value": np.int32(3)}], tables={"T": table}, seed=np.int64(4)
    )
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored["headline"] == [{"label": "n", "value": 3, "low": None, "high": None, "unit": ""}]
    assert stored["tables"]["T"] == [{"row": "a", "x": 1.5, "n": 1}, {"row": "b", "x": None, "n": 2}]
    assert stored["seed"] == 4 and stored["hardware"]["cores"] >= 1 and stored["versions"]["reidlib"]
    with (tmp_path / "tables" / "01_data-t.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"row": "a", "x": "1.5", "n": "1"}, {"row": "b", "x": "", "n": "2"}]
    with pytest.raises(ValueError, match="unknown: \\['colour'\\]"):
        reports.record(tmp_path, "a", title="t", headline=[{"label": "n", "value": 1, "colour": "red"}])
    with pytest.raises(ValueError, match=r"gone\.png"):
        reports.record(tmp_path, "a", title="t", figures=[{"file": "figures/gone.png", "caption": "c", "alt": "a"}])
    with pytest.raises(ValueError, match="file name"):
        reports.record(tmp_path, "../a", title="t")
    assert sorted(reports.read_records(tmp_path)) == ["01_data"]
    path.write_text("{")
    with pytest.raises(ValueError, match=r"01_data.json is not a results file"):
        reports.read_records(tmp_path)


def test_figures_need_words_and_are_the_same_bytes_twice(tmp_path):
    figure = matplotlib.figure.Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    with pytest.raises(ValueError, match="empty alt"):
        reports.save_figure(figure, tmp_path, "a", "caption", " ")
    files = [tmp_path / reports.save_figure(figure, tmp_path, name, "c", "a")["file"] for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "True"),
        (3, "3"),
        (12345, "12,345"),
        (0.0, "0.00"),
        (61.53, "61.5"),
        (3.314, "3.31"),
        (0.1634, "0.163"),
        (1.2e-5, "1.20e-05"),
        (-45.06, "-45.1"),
    ],
)
def test_numbers_of_the_page(value, text):
    assert format_number(value) == text


def test_durations_of_the_page():
    assert [format_seconds(s) for s in (None, 4.26, 59.2, 95, 7322)] == ["–", "4.3 s", "59 s", "1 min 35 s", "2 h 2 min"]


def test_refreshing_twice_gives_the_same_file_without_traces_of_the_run(tmp_path):
    source = write_notebook(tmp_path / "01_data.ipynb", f"EXECUTABLE = {sys.executable!r}", WORK, "print(OUTPUT_DIR + '/a.csv'); object()")
    before = nbformat.read(source, as_version=4)
    texts = []
    for _ in range(2):
        assert main(["notebooks", str(source)]) == 0
        texts.append(source.read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
    after = nbformat.read(source, as_version=4)
    assert [(c.cell_type, c.source, c.id, c.metadata) for c in after.cells] == [
        (c.cell_type, c.source, c.id, c.metadata) for c in before.cells
    ]
    assert "runs/x/a.csv" in texts[0] and "image/png" in texts[0] and "<object>" in texts[0]
    said = json.dumps(
        [
            [{k: v for k, v in o.items() if k != "data"}, o.get("data", {}).get("text/plain")]
            for c in after.cells
            for o in c.get("outputs", [])
        ]
    )
    for trace in ("/tmp", str(tmp_path), "stderr", "it/s", " at 0x"):
        assert trace not in said, said
    assert "papermill" not in texts[0] and "injected" not in texts[0]


@pytest.mark.notebook
@pytest.mark.timeout(900)
def test_the_snakefile_runs_what_changed_and_reports_what_failed(tmp_path):
    code = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "reidlib", tmp_path / "reidlib", ignore=code)
    shutil.copy(ROOT / "Snakefile", tmp_path)
    small = "from pathlib import Path\nPath(OUTPUT_DIR, 'count').open('a').write(NAME + ' ')\n" + RECORD.splitlines()[0]
    record = 'record(OUTPUT_DIR, NAME, title=NAME, headline=[{"label": NAME, "value": 1}], seed=SEED)'
    for name in ("01_data", "03_ablations"):
        write_notebook(tmp_path / "notebooks" / f"{name}.ipynb", f"NAME = {name!r}", small, record)
    broken = (tmp_path / "notebooks" / "03_ablations.ipynb", "raise RuntimeError('no luck')")
    whole = broken[0].read_text(encoding="utf-8")
    write_notebook(*broken)

    def snakemake(*more: str) -> subprocess.CompletedProcess:
        settings = ["dataset=walkers", "preset=tiny", "seed=5", "data=", "gait=", "method=", "command=make report SEED=5"]
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--rerun-incomplete", "--keep-going", *more, "--config", *settings]
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=800)

    index, count = tmp_path / "reports" / "walkers-tiny" / "index.html", tmp_path / "runs" / "walkers-tiny" / "count"
    failed = snakemake()
    assert failed.returncode != 0
    assert "RuntimeError: no luck" in index.read_text(encoding="utf-8") and count.read_text() == "01_data "

    broken[0].write_text(whole, encoding="utf-8")
    done = snakemake()
    assert done.returncode == 0, done.stderr
    text = index.read_text(encoding="utf-8")
    assert "Incomplete" not in text and "make report SEED=5" in text and count.read_text() == "01_data 03_ablations "
    pages = sorted(index.parent.glob("*.html"))
    assert [page.name for page in pages] == ["01_data.html", "03_ablations.html", "index.html"]
    assert [problem for page in pages for problem in check_page(page)] == []
    assert "Nothing to be done" in (again := snakemake("--dry-run")).stderr + again.stdout


def test_pages_of_one_notebook_can_be_made_alone(report):
    text = notebook_html(report["executed"], ["01_data", "02_training"])
    (current,) = re.findall(r"<a [^>]*aria-current[^>]*>([^<]*)</a>", text)
    assert current == "02 Training" and 'href="01_data.html"' in text
