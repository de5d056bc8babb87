"""Notebooks in, an offline report out.

`record` and `save_figure` are for the last cells of the notebooks, `run_notebook` executes one with checked
parameters, `write_pages` turns executed notebooks into standalone HTML and `write_index` ties them together.
The same steps from a shell: `python -m reidlib.reports --help`.
"""

from reidlib.reports.html import write_pages
from reidlib.reports.index import write_index
from reidlib.reports.provenance import provenance
from reidlib.reports.records import read_records, record, save_figure
from reidlib.reports.refresh import refresh_notebooks
from reidlib.reports.runner import NotebookError, run_notebook

__all__ = [
    "NotebookError",
    "provenance",
    "read_records",
    "record",
    "refresh_notebooks",
    "run_notebook",
    "save_figure",
    "write_index",
    "write_pages",
]
