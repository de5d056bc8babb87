"""Executed notebooks as standalone HTML pages: no request leaves them, the code is folded away."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from reidlib.files import write_text

if TYPE_CHECKING:
    from nbformat import NotebookNode

TEMPLATES = Path(__file__).parent / "templates"
_BAR = re.compile(r"\d+%\|.*\|.*\[.*\]|^\s*\d+it \[")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_ACRONYMS = {"sdcl": "SDCL"}  # in names of pages


def write_pages(executed: Iterable[str | Path], folder: str | Path) -> list[Path]:
    """Write `<folder>/<name>.html` for every executed notebook; a bar at the top of each links them and `index.html`.

    Equations are not typeset (that would take a font download): notebooks write them in plain text and Unicode.
    """
    paths = [Path(path) for path in executed]
    names = [path.stem for path in paths]
    pages = [Path(folder) / f"{name}.html" for name in names]
    for path, page in zip(paths, pages, strict=True):
        write_text(page, notebook_html(path, names))
    return pages


def notebook_html(path: str | Path, pages: Iterable[str] = ()) -> str:
    """One executed notebook as the text of an HTML page; `pages` are the notebook names in its navigation bar."""
    import nbformat
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    path = Path(path)
    notebook = nbformat.read(path, as_version=4)
    tidy_for_reading(notebook)
    options = Config()
    options.HTMLExporter.exclude_anchor_links = True
    options.TagRemovePreprocessor.enabled = True
    options.TagRemovePreprocessor.remove_cell_tags = {"remove-cell"}
    exporter = HTMLExporter(
        config=options, template_name="reidlib", template_file="notebook.html.j2", extra_template_basedirs=[str(TEMPLATES)]
    )
    resources = {
        "page_title": title_of(notebook, path.stem),
        "page_name": path.stem,
        "navigation": navigation(pages, path.stem),
        "stylesheet": stylesheet(),
    }
    return exporter.from_notebook_node(notebook, resources=resources)[0]


def navigation(pages: Iterable[str], current: str) -> list[dict]:
    """Entries of the bar: address, text and whether it is the page itself; the overview comes first."""
    entries = [{"href": "index.html", "text": "Overview", "current": current == "index"}]
    return entries + [{"href": quote(f"{page}.html"), "text": pretty(page), "current": page == current} for page in pages]


def pretty(name: str) -> str:
    """`02_training` as `02 Training`; names of systems keep their capitals."""
    number, _, words = name.partition("_")
    if not number.isdigit() or not words:
        return name.replace("_", " ")
    first, *rest = words.split("_")
    return " ".join([number, first.capitalize(), *(_ACRONYMS.get(word, word) for word in rest)])


def title_of(notebook: "NotebookNode", default: str) -> str:
    """Text of the first heading, without its markup."""
    for cell in notebook.cells:
        heading = re.search(r"^#+\s+(.+)$", cell.source, re.M) if cell.cell_type == "markdown" else None
        if heading:
            return re.sub(r"[*_`]", "", heading[1]).strip()
    return pretty(default)


def tidy_for_reading(notebook: "NotebookNode") -> None:
    """Drop progress bars, addresses of objects and widget views; give every image a text alternative; merge streams."""
    section = title_of(notebook, "notebook")
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#+\s+(.+)$", cell.source, re.M)
            section = re.sub(r"[*_`]", "", headings[-1]).strip() if headings else section
        if cell.cell_type == "code":
            cell.outputs = [output for output in merge_streams(cell.outputs) if _worth_showing(output)]
            for output in cell.outputs:
                if "text/markdown" in output.get("data", {}):
                    output.data["text/markdown"] = without_tags(output.data["text/markdown"])
                _describe(output, cell.metadata.get("alt") or f"Figure of the section “{section}”; the text around it says what it shows")


def merge_streams(outputs: list) -> list:
    """Join what a cell printed in pieces: where the pieces were cut is chance. Progress bars go."""
    merged: list = []
    streams: dict = {}
    for output in outputs:
        if output.output_type != "stream":
            streams = {}
        elif output.name in streams:
            streams[output.name].text += output.text
            continue
        else:
            streams[output.name] = output
        merged.append(output)
    for output in merged:
        if output.output_type == "stream":
            lines = (line.rpartition("\r")[2] for line in output.text.replace("\r\n", "\n").split("\n"))
            output.text = "\n".join(line for line in lines if not _BAR.search(line)).lstrip("\n")
    return [output for output in merged if output.output_type != "stream" or output.text.strip()]


def _worth_showing(output: "NotebookNode") -> bool:
    data = output.get("data", {})
    if "text/plain" in data:
        data["text/plain"] = _ADDRESS.sub("", data["text/plain"])
    return not any("widget-view" in kind or "javascript" in kind for kind in data)


def without_tags(markdown: str) -> str:
    """Markdown in which no HTML is left: what a cell prints may hold names of files and people, which are text. Fenced code stays."""
    parts = re.split(r"(^```.*?^```)", markdown, flags=re.M | re.S)  # every second part is code
    return "".join(part if i % 2 else _TAG.sub("&lt;", part) for i, part in enumerate(parts))


def _describe(output: "NotebookNode", alternative: str) -> None:
    for kind in ("image/png", "image/jpeg"):
        if kind in output.get("data", {}):
            output.metadata.setdefault(kind, {}).setdefault("alt", alternative)


@cache
def stylesheet() -> str:
    """The report's style sheet, with Pygments' colours for code in light and in dark."""
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    colours = f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n.highlight, .highlight pre {{ background: none; }}"
    return f"{(TEMPLATES / 'report.css').read_text(encoding='utf-8')}\n{colours}\n"
