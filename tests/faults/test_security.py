"""Files from strangers: nothing in them is executed, nothing is written outside its folder, names of people and files stay text."""

import ast
import io
import json
import os
import pickle
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pytest
import replicas
import torch
from IPython.core.formatters import DisplayFormatter
from IPython.display import Markdown
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from own_samples import write_events, write_pictures

from reidlib import events, reports
from reidlib.analysis import own_data as views
from reidlib.asking import load_run
from reidlib.datasets import build_store, event_reid, load_dataset, mars, own_data
from reidlib.datasets.mars import MarsSettings
from reidlib.experiment import _read_kept
from reidlib.reports.html import without_tags
from reidlib.weights import load_weights

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.full

# --- Code ---------------------------------------------------------------------------------------------------------------
#: Calls that run what a file says, or unpack it where it says.
FORBIDDEN = {
    *("eval", "exec", "pickle.load", "pickle.loads", "pd.read_pickle", "yaml.load", "os.system", "joblib.load", "torch.hub.load"),
    *("extractall", "extract", "unpack_archive", "read_pickle"),
}


def sources() -> dict[str, str]:
    """Every Python file of the package, and the code of every notebook."""
    found = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted((ROOT / "reidlib").rglob("*.py"))}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        found[path.name] = "\n".join(cells)
    return found


def unsafe_calls(text: str) -> list[str]:
    """Calls of a source that may run or unpack what a file says."""
    found = []
    for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
        name, options = ast.unparse(call.func), {option.arg: ast.unparse(option.value) for option in call.keywords}
        if name in FORBIDDEN or (name.rpartition(".")[2] in ("extractall", "extract", "unpack_archive")):
            found.append(name)
        if name == "torch.load" and options.get("weights_only") != "True":
            found.append("torch.load without weights_only=True")
        if options.get("allow_pickle", "False") != "False" or options.get("shell", "False") != "False":
            found.append(f"{name} with allow_pickle or shell")
    return found


def test_no_source_runs_or_unpacks_what_a_file_says():
    assert {name: calls for name, text in sources().items() if (calls := unsafe_calls(text))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "np.load(p, allow_pickle=True)",
        "eval(x)",
        "archive.extractall()",
        "pickle.load(f)",
    ],
)
def test_the_check_of_the_sources_can_fail(line):
    assert unsafe_calls(line)


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_nothing_that_a_file_pickles_is_run(tmp_path):
    """Checkpoints, models, kept embeddings and recordings that carry code are refused or made again, unread."""
    bomb, path = Bomb(tmp_path / "exploded"), tmp_path / "run" / "model.pt"
    path.parent.mkdir()
    torch.save({"model": bomb}, path)
    with pytest.raises(ValueError, match=r"model\.pt is damaged"):
        load_weights(path)
    (path.parent / "settings.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="damaged"):
        load_run(path.parent)
    path.write_bytes(pickle.dumps(bomb))
    with pytest.raises(ValueError, match=r"model\.pt is damaged"):
        load_weights(path)
    np.savez(tmp_path / "embeddings.npz", embeddings=np.array([bomb], object), key="k")
    assert _read_kept(tmp_path / "embeddings.npz", "k") is None
    np.savez(tmp_path / "recording.npz", x=np.array([bomb], object), y=np.zeros(1), t=np.zeros(1), p=np.zeros(1))
    with pytest.raises(ValueError, match=r"recording\.npz cannot be read"):
        events.read(tmp_path / "recording.npz")
    assert not bomb.marker.exists()
    pickle.loads(pickle.dumps(bomb))  # it would have worked
    assert bomb.marker.exists()


# --- Paths --------------------------------------------------------------------------------------------------------------
OUTSIDE = "../../../../../../../../etc/passwd"


def names_under(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_an_own_table_that_names_other_files_is_refused_by_row(tmp_path):
    """A table may name recordings beside its folder (`../videos`), as people keep them; a file that is none is an error of its row."""
    write_events(tmp_path / "data" / "a.h5")
    rows = ["person,path", "ann,a.h5", f"bob,{OUTSIDE}", "cid,/etc/passwd", "dot,../../no/such.h5"]
    (tmp_path / "data" / "table.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    before = names_under(tmp_path)
    problems = own_data.check(tmp_path / "data" / "table.csv")
    errors = problems[problems["severity"] == "error"]
    assert errors["what"].str.contains("a file of an unknown kind").sum() == 1 and errors["where"].str.contains("3").any()
    assert errors["what"].str.contains("no such file: ../../no/such.h5").any()
    with pytest.raises(ValueError, match="a file of an unknown kind"):
        own_data.build(tmp_path / "data" / "table.csv", own_data.OwnSettings(), tmp_path / "own.h5", 1)
    assert names_under(tmp_path) == before


def test_lists_of_public_sets_that_lead_elsewhere_are_refused(tmp_path):
    replicas.mars(tmp_path / "mars")
    path = tmp_path / "mars" / "info" / "train_name.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    for name in (OUTSIDE, f"{lines[0][:6]}/{OUTSIDE}"):
        path.write_text("\n".join([name, *lines[1:]]) + "\n", encoding="utf-8")
        with pytest.raises((ValueError, FileNotFoundError), match=r"spans|lacks 1 listed images"):
            mars.rows(tmp_path / "mars", MarsSettings())
    (tmp_path / "event").mkdir()
    for name in ("train_list.txt", "query_list.txt", "gallery_list.txt"):
        (tmp_path / "event" / name).write_text(f"{OUTSIDE} 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"names '\.\./.*passwd': expected ID_cCAM_WINDOW\.txt"):
        event_reid.build(tmp_path / "event", event_reid.EventReIdSettings(), tmp_path / "event.h5", 1)
    assert not (tmp_path / "event.h5").exists()


@pytest.mark.parametrize("key", ["../x", "p/../../x", "/x", "a//b"])
def test_keys_that_lead_elsewhere_are_refused(tmp_path, key):
    row = {"key": key, "dataset": "d", "split": 0, "subset": "train", "person": 0, "camera": 0, "source": "s"}
    with pytest.raises(ValueError, match="illegal tracklet key"):
        build_store(tmp_path / "s.h5", [row], pytest.fail, {"code": 1}, workers=1)


def test_members_of_an_archive_are_read_and_never_unpacked(tmp_path):
    """An npz is a zip file: one whose members climb out of the folder leaves no file behind."""
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    path = tmp_path / "deep" / "er" / "recording.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../../escaped.npy", "x.npy", "/tmp/escaped.npy"):
            archive.writestr(name, array.getvalue())
    before = names_under(tmp_path)
    with pytest.raises(ValueError, match=r"recording\.npz"):
        events.read(path)
    assert _read_kept(path, "k") is None and names_under(tmp_path) == before


def test_results_that_name_files_outside_are_not_copied(tmp_path):
    """Someone else's run folder: its results file names what the report copies."""
    run, report = tmp_path / "run", tmp_path / "deep" / "report"
    result = reports.record(run, "01_data", title="t")
    (tmp_path / "secret.png").write_bytes(b"secret")
    for name in ("../secret.png", str(tmp_path / "secret.png")):
        content = json.loads(result.read_text(encoding="utf-8")) | {"figures": [{"file": name, "caption": "c", "alt": "a"}]}
        result.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(ValueError, match=r"name a file outside the report"):
            reports.write_index(report, run)
    assert not (tmp_path / "deep" / "secret.png").exists() and not (report / "index.html").exists()


# --- Pages --------------------------------------------------------------------------------------------------------------
PERSON = '"><script>alert(1)</script>'
CAMERA = "<img src=x onerror=alert(2)>"
FOLDER = "a \"quoted\" <b onclick='alert(3)'> & folder"


class _Tags(HTMLParser):
    """Elements and attributes that could run something, as a browser would find them."""

    def __init__(self):
        super().__init__()
        self.alarms: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attributes):
        if tag in ("script", "iframe", "object", "embed"):
            self.alarms.append(f"<{tag}>")
        for name, value in attributes:
            if name.startswith("on") or (value or "").strip().lower().startswith("javascript:"):
                self.alarms.append(f"<{tag} {name}={value}>")
        if tag == "img" and ("src", "x") in attributes:
            self.alarms.append("<img src=x>")

    def handle_data(self, data):
        self.text.append(data)


def read_page(path: Path) -> _Tags:
    page = _Tags()
    page.feed(path.read_text(encoding="utf-8"))
    return page


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Own data whose people, cameras and folders have names that are markup; its store."""
    root = tmp_path_factory.mktemp("hostile")
    lines = ["person,camera,path"]
    for i, person in enumerate((PERSON, "ann", "bob", "cid")):
        for j, camera in enumerate((CAMERA, "yard")):
            folder = f"{FOLDER} {i}{j}"
            write_pictures(root / folder, seed=10 * i + j)
            lines.append(",".join('"{}"'.format(cell.replace('"', '""')) for cell in (person, camera, folder)))
    (root / "table.csv").write_text("\n".join([*lines, f'"{PERSON.replace(chr(34), chr(34) * 2)}",,gone']) + "\n", encoding="utf-8")
    problems = own_data.check(root / "table.csv")
    (root / "good.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    store = load_dataset("own", data=root / "good.csv", cache_dir=root / "store", workers=1, quiet=True)
    return root, problems, store


def test_names_of_people_and_files_are_text_on_every_page(hostile, tmp_path):
    """What notebook 00 shows of such data, through the same display and page code, and the first page of the report."""
    root, problems, store = hostile
    tracklets, lost = views.tracklet_table(store), f"Queries without a gallery match: {PERSON}, {CAMERA}."
    shown = [problems, tracklets, Markdown(lost), Markdown("\n".join(["```sh", *views.next_commands(root / FOLDER, store.index), "```"]))]
    cells = [new_markdown_cell("# Your data")]
    for one in shown:
        data, _ = DisplayFormatter().format(one)
        cells.append(new_code_cell(f"# {PERSON}", outputs=[new_output("display_data", data=data)]))
    cells[-1].outputs.append(new_output("stream", name="stdout", text=f"{PERSON} {CAMERA}\n"))
    error = new_output("error", ename="KeyError", evalue=PERSON, traceback=[f"KeyError: {PERSON}"])
    cells.append(new_code_cell("raise", outputs=[error]))
    executed = tmp_path / "notebooks" / "00_your_data.ipynb"
    executed.parent.mkdir()
    nbformat.write(new_notebook(cells=cells), executed)
    reports.write_pages([executed], tmp_path)
    tables = {"problems": problems, "tracklets": tracklets, PERSON: [{PERSON: CAMERA}]}
    reports.record(
        tmp_path / "run", "00_your_data", title=PERSON, headline=[{"label": CAMERA, "value": PERSON}], tables=tables, notes=[CAMERA]
    )
    reports.write_index(tmp_path, tmp_path / "run", name=PERSON, command=CAMERA, parameters={"Data": str(root / FOLDER)})
    for name in ("00_your_data.html", "index.html"):
        page = read_page(tmp_path / name)
        assert page.alarms == [], name
        text = "".join(page.text)
        assert PERSON in text and CAMERA in text and FOLDER in text, name
    assert all((tmp_path / "run").resolve() in path.resolve().parents for path in (tmp_path / "run").rglob("*.csv"))


@pytest.mark.parametrize("markup", [f"<p>{PERSON}", CAMERA, "<a href='javascript:alert(1)'>x</a>"])
def test_the_check_of_the_pages_can_fail(tmp_path, markup):
    (tmp_path / "page.html").write_text(f"<html><body>{markup}</body></html>", encoding="utf-8")
    assert read_page(tmp_path / "page.html").alarms


def test_markdown_keeps_everything_but_tags():
    text = "**bold** p < 0.05 and a <b> in `code`, <!-- hidden -->\n```sh\nmake DATA='<x>'\n```\n<script>1</script>"
    expected = "**bold** p < 0.05 and a &lt;b> in `code`, &lt;!-- hidden -->\n```sh\nmake DATA='<x>'\n```\n&lt;script>1&lt;/script>"
    assert without_tags(text) == expected
