"""The committed notebooks: run them small and store what they show, without anything that changes from run to run."""

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from reidlib.files import write_text
from reidlib.reports.html import merge_streams
from reidlib.reports.runner import declared_parameters, run_notebook

if TYPE_CHECKING:
    from nbformat import NotebookNode

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_INJECTED = "injected-parameters"


def refresh_notebooks(notebooks: Iterable[str | Path], parameters: Mapping | None = None) -> list[Path]:
    """Run `notebooks` in order into a temporary OUTPUT_DIR and write their outputs back into the files.

    parameters: values for this run (default: PRESET "tiny"). Tags, sources and cell ids stay; run times, addresses,
    progress bars, what went to stderr and the names of temporary folders go, so that two runs give the same file.
    A notebook that fails is left as it was (NotebookError).
    """
    paths = [Path(path) for path in notebooks]
    parameters = {"PRESET": "tiny"} if parameters is None else dict(parameters)
    with tempfile.TemporaryDirectory(prefix="reidlib-notebooks-") as folder:
        for path in tqdm(paths, desc="notebooks", unit="notebook"):
            output_dir = str(Path(folder, "output"))
            shown = declared_parameters(path).get("OUTPUT_DIR", "''").strip("'\"")
            executed = run_notebook(path, Path(folder, path.name), parameters | {"OUTPUT_DIR": output_dir})
            hide = {output_dir: shown, os.path.realpath(output_dir): shown, folder: "", os.getcwd() + os.sep: ""}
            write_text(path, with_outputs(path, executed, hide))
    return paths


def with_outputs(source: Path, executed: Path, replace: Mapping[str, str]) -> str:
    """Text of notebook `source` with the outputs of its `executed` copy; `replace` is applied to every text in them."""
    import nbformat

    notebook, ran = nbformat.read(source, as_version=4), nbformat.read(executed, as_version=4)
    cells = [cell for cell in ran.cells if _INJECTED not in cell.metadata.get("tags", [])]
    if [cell.cell_type for cell in cells] != [cell.cell_type for cell in notebook.cells]:
        raise ValueError(f"{executed} is not a run of {source}: their cells differ")
    count = 0
    for cell, done in zip(notebook.cells, cells, strict=True):
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            cell.outputs = [_stable(output, count, replace) for output in merge_streams(done.outputs) if output.get("name") != "stderr"]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def _stable(output: "NotebookNode", count: int, replace: Mapping[str, str]) -> "NotebookNode":
    """The output with its cell's number and without addresses and the names in `replace`."""
    if "execution_count" in output:
        output.execution_count = count
    if output.output_type == "stream":
        output.text = _clean(output.text, replace)
    for kind, value in output.get("data", {}).items():
        if kind.startswith("text/"):
            output.data[kind] = _clean(value, replace)
    return output


def _clean(text: str, replace: Mapping[str, str]) -> str:
    for old, new in replace.items():
        text = text.replace(old, new)
    return _ADDRESS.sub("", text)
