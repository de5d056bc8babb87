"""Notebooks about one system: what they do where a report does not show it."""

from IPython import get_ipython
from IPython.display import Markdown, display

from reidlib.ablations import SYSTEMS
from reidlib.experiment import Experiment
from reidlib.reports import record


def why_hidden(experiment: Experiment, system: str) -> str:
    """Why an experiment does not show a system, for readers; "" where it does."""
    if experiment.shows(system):
        return ""
    about = f"This notebook is about {SYSTEMS[system].title}"
    if system in experiment.settings.rows:
        return f"{about}; METHOD is {experiment.method!r}, a row of {experiment.systems[0].title}, so it is left out here."
    cause = "it needs video, of which this set has none" if SYSTEMS[system].video else "none of its rows is trained"
    return f"{about}, and with preset {experiment.preset!r} of {experiment.dataset} there is nothing to show: {cause}."


def end_unless_shown(experiment: Experiment, system: str, notebook: str, title: str) -> None:
    """For a notebook's first cell: nothing where the system is shown. Else it says why, records that as the only result of `notebook`, and
    every later cell of this kernel does nothing, so that the notebook ends well."""
    why = why_hidden(experiment, system)
    if not why:
        return
    about = {"dataset": experiment.dataset, "preset": experiment.preset, "seed": experiment.seed}
    record(experiment.output_dir, notebook, title=title, notes=[why], **about)
    display(Markdown(f"{why} The cells below do nothing (after a change of METHOD: restart the kernel)."))
    get_ipython().input_transformers_cleanup.append(lambda lines: [])
