"""What degraded video costs networks of frames, of events and of both, and what the wrong events do to them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from reidlib.analysis.comparison import title
from reidlib.datasets import Degradation
from reidlib.datasets.degrade import KINDS
from reidlib.evaluation import rank_protocol
from reidlib.experiment import Experiment
from reidlib.metrics import bootstrap_interval, paired_difference

CLEAN = "clean"
WORDS = {"motion_blur": "motion blur", "occlusion": "occlusion", "low_light": "low light"}


@dataclass(frozen=True)
class Condition:
    """What a trained row is shown at test time. kind: "clean" or one of `KINDS`, at a severity (0 where clean). events: the protocol of
    `Degradation`. shuffled: every tracklet has another person's events."""

    kind: str = CLEAN
    severity: int = 0
    events: str = "clean"
    shuffled: bool = False

    @property
    def degradation(self) -> Degradation | None:
        return None if self.kind == CLEAN else Degradation(self.kind, self.severity, events=self.events)

    @property
    def changes_events(self) -> bool:
        """Whether the events are those of the degraded video."""
        return self.degradation is not None and self.degradation.changes_events

    @property
    def words(self) -> str:
        """The condition of the video, for readers."""
        return CLEAN if self.kind == CLEAN else f"{WORDS[self.kind]} {self.severity}"


def conditions(severities: Iterable[int], events: str = "clean", kinds: Iterable[str] = KINDS) -> list[Condition]:
    """Clean video, then every kind at every severity."""
    return [Condition(), *(Condition(kind, severity, events) for kind in kinds for severity in severities)]


def filmed_levels(experiment: Experiment, asked: Iterable[int] = ()) -> tuple[tuple[int, ...], str]:
    """Severities of occlusion at which the test people are filmed anew, for events of what hides them, and why there are none.

    Those asked for, else 3 where the preset has the minutes it takes. Raises ValueError where they are asked for without a film."""
    levels = tuple(asked)
    if not experiment.generated:
        why = f"Only the built-in people can be filmed anew; the videos of {experiment.dataset} are too slow to simulate events from."
        if levels:
            raise ValueError(f"RESIMULATED is {list(levels)}. {why} Leave it empty")
        return (), why
    if not levels and experiment.preset not in ("tiny", "study"):
        return (), "Not computed in this preset: filming every test tracklet anew takes minutes. PRESET=study does, or RESIMULATED = [3]."
    return levels or (3,), ""


class Robustness:
    """Average precisions of trained rows under conditions, computed once each and kept with the runs.

    Both directions of the set's protocol are pooled and queries averaged over the seeds, as in `comparison.paired`; all intervals (95 %)
    come from drawing people anew.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment, self.people = experiment, experiment.query_people()
        self._precisions: dict[tuple[str, Condition], np.ndarray] = {}
        self._modalities: dict[str, tuple[str, ...]] = {}

    def precisions(self, name: str, condition: Condition) -> np.ndarray:
        """Average precision in percent, `[seeds, queries]`."""
        seen = self._what_it_sees(name, condition)
        if (name, seen) not in self._precisions:
            self._precisions[name, seen] = np.array([self._one_seed(name, seen, seed) for seed in self.experiment.seeds])
        return self._precisions[name, seen]

    def _one_seed(self, name: str, condition: Condition, seed: int) -> np.ndarray:
        shuffled = seed if condition.shuffled else None
        vectors = self.experiment.degraded_embeddings(name, condition.degradation, shuffled, seed)
        asked = self.experiment.at(seed).protocols
        return np.concatenate([100 * rank_protocol(vectors, asked[key]).average_precision for key in self.experiment.directions])

    def _what_it_sees(self, name: str, condition: Condition) -> Condition:
        """The condition less what this row never sees: a network of events alone is asked once for all video that leaves them be."""
        takes = self._takes(name)
        if "events" not in takes:
            return Condition(condition.kind, condition.severity)
        if condition.changes_events:
            return condition
        return Condition(shuffled=condition.shuffled) if "frames" not in takes else replace(condition, events="clean")

    def _takes(self, name: str) -> tuple[str, ...]:
        if name not in self._modalities:
            self._modalities[name] = self.experiment.model(name).modalities
        return self._modalities[name]

    def scores(self, names: Iterable[str], asked: Iterable[Condition]) -> pd.DataFrame:
        """A line per row and condition: row, title, kind, severity, events, shuffled, mean, low, high (mAP, percent), spread (standard
        deviation over seeds)."""
        lines = []
        for condition in asked:
            for name in names:
                values = self.precisions(name, condition)
                interval = bootstrap_interval(values.mean(0), groups=self.people)
                spread = float(np.nanmean(values, axis=1).std(ddof=1)) if len(values) > 1 else np.nan
                about = {"kind": condition.kind, "severity": condition.severity, "events": condition.events, "shuffled": condition.shuffled}
                measured = {"mean": interval.mean, "low": interval.low, "high": interval.high, "spread": spread}
                lines.append({"row": name, "title": _title(name, condition)} | about | measured)
        return pd.DataFrame(lines)

    def difference(self, one: tuple[str, Condition], other: tuple[str, Condition]) -> dict:
        """mAP of one minus the other in points, paired: difference, low, high, same_sign (seeds with the sign of the mean), seeds."""
        return self._paired(self.precisions(*one) - self.precisions(*other))

    def saved(self, one: str, other: str, condition: Condition) -> dict:
        """How much less `one` loses than `other` from clean video to the condition, in points, paired; above 0: `one` loses less."""
        lost = [self.precisions(name, Condition()) - self.precisions(name, condition) for name in (other, one)]
        return self._paired(lost[0] - lost[1])

    def _paired(self, values: np.ndarray) -> dict:
        interval = paired_difference(values, np.zeros_like(values), groups=self.people)
        per_seed = np.nanmean(values, axis=1)
        same = int((np.sign(per_seed) == np.sign(interval.mean)).sum())
        return {"difference": interval.mean, "low": interval.low, "high": interval.high, "same_sign": same, "seeds": len(values)}


def _title(name: str, condition: Condition) -> str:
    return f"{title(name)}, events of others" if condition.shuffled else title(name)


class Trio(NamedTuple):
    """The rows of one question: a network of both, of frames alone and of events alone."""

    both: str = "sdcl"
    frames: str = "psta"
    events: str = "sdcl_events"


DEGRADED = Trio("sdcl_degraded", "psta_degraded")  # trained on degraded video; events alone never see any


def claims(found: Robustness, trio: Trio, severity: int, events: str = "clean", kinds: Iterable[str] = KINDS) -> pd.DataFrame:
    """What events are said to do, each measured: claim, condition, difference, low, high, same_sign, seeds, verdict.

    With both the network beats either alone on clean video; it loses less than frames alone as the video degrades, and stays above them;
    and with the events of other people it falls to frames alone or below. verdict: "yes" or "no" where the interval leaves out zero, else
    "not told" (of the last claim: "not told from its level", which is what it says).
    """
    clean, shuffled = Condition(), Condition(shuffled=True)
    degraded = conditions([severity], events, kinds)[1:]
    both, frames = title(trio.both), title(trio.frames)
    lines = [
        {"claim": f"{both} beats {title(other)}", "condition": clean.words} | found.difference((trio.both, clean), (other, clean))
        for other in (trio.frames, trio.events)
    ]
    for condition in degraded:
        about = {"condition": condition.words}
        pair = (trio.both, condition), (trio.frames, condition)
        lines.append({"claim": f"{both} loses less than {frames}"} | about | found.saved(trio.both, trio.frames, condition))
        lines.append({"claim": f"{both} beats {frames}"} | about | found.difference(*pair))
    fallen = f"{both} with events of others falls to {frames} or below"
    lines.append({"claim": fallen, "condition": clean.words} | found.difference((trio.frames, clean), (trio.both, shuffled)))
    verdicts = [_verdict(line) for line in lines]
    if verdicts[-1] == "not told":
        verdicts[-1] = "not told from its level"
    return pd.DataFrame(lines).assign(verdict=verdicts)


def _verdict(line: dict) -> str:
    return "yes" if line["low"] > 0 else "no" if line["high"] < 0 else "not told"


def sentences(table: pd.DataFrame) -> list[str]:
    """`claims` in words, one sentence each."""
    found = []
    for line in table.itertuples():
        bracket = f"{line.difference:+.1f} points [{line.low:+.1f}, {line.high:+.1f}]".replace("-", "−")
        seeds = f", the same sign in {line.same_sign} of {line.seeds} seeds" if line.seeds > 1 else ""
        found.append(f"{line.claim} ({line.condition} video): **{line.verdict}**, {bracket}{seeds}.")
    return found


def forest_table(table: pd.DataFrame) -> pd.DataFrame:
    """`claims` as `plots.ablation.forest_plot` takes it: a group per condition of the video."""
    names = {"name": table["claim"], "mean": table["difference"], "group": table["condition"] + " video", "reference": "zero"}
    return table[["low", "high"]].assign(**names)


def readable(scores: pd.DataFrame) -> pd.DataFrame:
    """`Robustness.scores` for reading: conditions down, rows across, cells "mAP [low, high]"."""
    cells = [f"{line.mean:.1f} [{line.low:.1f}, {line.high:.1f}]" for line in scores.itertuples()]
    table = scores.assign(cell=cells, video=[_video(line) for line in scores.itertuples()])
    wide = table.pivot(index="video", columns="title", values="cell")
    return wide.loc[list(dict.fromkeys(table["video"])), list(dict.fromkeys(table["title"]))].rename_axis(columns=None).fillna("–")


def _video(line: Any) -> str:  # a row of `itertuples`
    condition = Condition(line.kind, line.severity, line.events)
    return condition.words + (", events of it" if condition.changes_events else "")
