"""`python -m reidlib.reports`: run a notebook, write the pages of a report, refresh the committed notebooks."""

import argparse
import ast
import sys
from pathlib import Path

from reidlib.locks import Locked
from reidlib.reports.html import write_pages
from reidlib.reports.index import write_index
from reidlib.reports.publish import publish as publish_run
from reidlib.reports.refresh import refresh_notebooks
from reidlib.reports.runner import NotebookError, declared_parameters, run_notebook


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors of the user's making are one message, without a traceback."""
    options = _parser().parse_args(arguments)
    try:
        for path in options.run(options):
            print(path)
    except (ValueError, OSError, Locked, NotebookError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reidlib.reports", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="execute a notebook with checked parameters")
    run.add_argument("notebook", type=Path)
    run.add_argument("--output", type=Path, required=True, help="the executed notebook, written when every cell has run")
    _add_pairs(run, "-p", "--parameter", text="a parameter that the notebook must have; numbers, True, None and lists as in Python")
    _add_pairs(run, "--offer", text="a parameter for notebooks that have it; left out for the others and where VALUE is empty")
    run.set_defaults(run=_run)

    html = commands.add_parser("html", help="write executed notebooks as standalone pages")
    html.add_argument("executed", type=Path, nargs="+")
    html.add_argument("--folder", type=Path, required=True, help="where the pages go")
    html.set_defaults(run=lambda options: write_pages(options.executed, options.folder))

    index = commands.add_parser("index", help="write the first page of a report")
    index.add_argument("folder", type=Path, help="the report: where the pages lie and index.html goes")
    index.add_argument("--output-dir", type=Path, required=True, help="OUTPUT_DIR of the notebooks, where their results lie")
    index.add_argument("--notebooks", nargs="*", default=[], metavar="NAME", help="every notebook that should be there")
    index.add_argument("--name", default="", help="title of the page")
    index.add_argument("--command", default="", help="the shell line that makes this report again")
    _add_pairs(index, "-p", "--parameter", text="setting of the run to show")
    index.set_defaults(run=_index)

    publish = commands.add_parser("publish", help="copy a run's tables and figures to a folder that git keeps")
    publish.add_argument("output_dir", type=Path, help="OUTPUT_DIR of the notebooks")
    publish.add_argument("folder", type=Path)
    publish.add_argument("--readme", type=Path, help="Markdown file whose marked part gets the result table")
    publish.set_defaults(run=lambda options: publish_run(options.output_dir, options.folder, options.readme))

    notebooks = commands.add_parser("notebooks", help="run the committed notebooks small and store what they show")
    notebooks.add_argument("notebooks", type=Path, nargs="*", help="default: notebooks/*.ipynb")
    _add_pairs(notebooks, "-p", "--parameter", text="parameter of the run (default: PRESET tiny)")
    notebooks.set_defaults(run=_notebooks)
    return parser


def _add_pairs(command: argparse.ArgumentParser, *names: str, text: str) -> None:
    """An option NAME VALUE that may be given several times."""
    command.add_argument(*names, nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help=text)


def _run(options: argparse.Namespace) -> list[Path]:
    parameters = {name: _value(text) for name, text in options.parameter}
    legal = declared_parameters(options.notebook)
    parameters |= {name: _value(text) for name, text in options.offer if text and name in legal}
    return [run_notebook(options.notebook, options.output, parameters)]


def _index(options: argparse.Namespace) -> list[Path]:
    parameters = dict(options.parameter)
    return [
        write_index(
            options.folder, options.output_dir, options.notebooks, name=options.name, command=options.command, parameters=parameters
        )
    ]


def _notebooks(options: argparse.Namespace) -> list[Path]:
    paths = options.notebooks or sorted(Path("notebooks").glob("*.ipynb"))
    if not paths:
        raise FileNotFoundError("no notebooks given and none in notebooks/")
    return refresh_notebooks(paths, {name: _value(text) for name, text in options.parameter} or None)


def _value(text: str) -> object:
    """`3` a number, `True` a bool, `[1, 2]` a list, anything else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":
    sys.exit(main())
