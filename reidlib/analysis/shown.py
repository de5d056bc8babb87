"""Notebooks about one system, or several: what they do where a report does not show it."""

from collections.abc import Sequence

from IPython import get_ipython
from IPython.display import Markdown, display

from reidlib.ablations import SYSTEMS
from reidlib.experiment import Experiment
from reidlib.reports import record


def why_hidden(experiment: Experiment, system: str, here: str = "This notebook is about ") -> str:
    """Why an experiment does not show a system, for readers; "" where it does. here: stands before the system's title."""
    if experiment.shows(system):
        return ""
    about = f"{here}{SYSTEMS[system].title}"
    if system in experiment.settings.rows and not experiment.method:
        return f"{about}, which this report shows where it is asked for: METHOD={system}."
    if system in experiment.settings.rows:
        return f"{about}; METHOD is {experiment.method!r}, a row of {experiment.systems[0].title}, so it is left out here."
    cause = "it needs video, of which this set has none" if SYSTEMS[system].video else "none of its rows is trained"
    return f"{about}, and with preset {experiment.preset!r} of {experiment.dataset} there is nothing to show: {cause}."


def end_unless_shown(experiment: Experiment, system: str, notebook: str, title: str) -> None:
    """For a notebook's first cell: nothing where the system is shown. Else it says why, records that as the only result of `notebook`, and
    every later cell of this kernel does nothing, so that the notebook ends well."""
    if why := why_hidden(experiment, system):
        _end(experiment, [why], notebook, title)


def shown_systems(experiment: Experiment, systems: Sequence[str], notebook: str, title: str) -> tuple[str, ...]:
    """The same for a notebook about several systems: those that are shown, with a line for each that is not; it ends where none is."""
    why = {name: why_hidden(experiment, name, here="") for name in systems}
    shown, hidden = tuple(name for name in systems if not why[name]), [reason for reason in why.values() if reason]
    if not shown:
        _end(experiment, hidden, notebook, title)
    elif hidden:
        display(Markdown("\n".join(f"* {reason}" for reason in hidden)))
    return shown


def _end(experiment: Experiment, why: list[str], notebook: str, title: str) -> None:
    dataset, preset, seed = experiment.dataset, experiment.preset, experiment.seed
    record(experiment.output_dir, notebook, title=title, notes=why, dataset=dataset, preset=preset, seed=seed)
    display(Markdown(f"{' '.join(why)} The cells below do nothing (after a change of METHOD: restart the kernel)."))
    get_ipython().input_transformers_cleanup.append(lambda lines: [])
