"""Average precisions under degraded video and the wrong events, what is asked once, and what follows from them."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from small_experiment import SmallExperiment

from reidlib.analysis import robustness
from reidlib.analysis.robustness import DEGRADED, Condition, Robustness, Trio, claims, conditions
from reidlib.datasets import ClipDataset
from reidlib.datasets.degrade import KINDS
from reidlib.experiment import Experiment
from reidlib.metrics import bootstrap_interval, paired_difference
from reidlib.plots.ablation import forest_plot
from reidlib.plots.robustness import curves

USUAL, SHUFFLED = Trio(), Condition(shuffled=True)
BLUR, DARK, BLOCK = (Condition(kind, 5) for kind in ("motion_blur", "low_light", "occlusion"))


class Noted(SmallExperiment):
    """Keeps its models, and notes which embeddings were asked for."""

    def __init__(self, folder):
        super().__init__(folder, seeds=2, video=True, method="sdcl")
        self.kept, self.asked = {}, []

    def model(self, name, seed=None):
        key = name, self.seed if seed is None else seed
        if key not in self.kept:
            self.kept[key] = super().model(name, seed)
        return self.kept[key]

    def degraded_embeddings(self, name, degradation=None, shuffled=None, seed=None):
        self.asked.append((name, degradation and (degradation.kind, degradation.severity, degradation.events), shuffled, seed))
        return super().degraded_embeddings(name, degradation, shuffled, seed)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return Noted(tmp_path_factory.mktemp("small"))


@pytest.fixture
def found(experiment):
    experiment.asked.clear()
    return Robustness(experiment)


def slow_precisions(experiment, name, condition, seed) -> list[float]:
    """Average precision of every query in percent, both directions, in plain loops."""
    model = experiment.model(name, seed).eval()
    seen = {"degradation": condition.degradation, "shuffled": seed if condition.shuffled else None}
    index, clips = experiment.test_index, experiment.run_settings(name, seed).clips
    dataset = ClipDataset(experiment.store, index, clips, train=False, modalities=model.modalities, **seen)
    vectors = []
    with torch.no_grad():
        for row in range(len(index)):
            sample = dataset[row]
            clip = torch.stack([model(**{m: sample[m][[i]] for m in model.modalities})[0] for i in range(2)]).mean(0).double()
            vectors.append((clip / clip.norm()).numpy())
    precisions = []
    for asked, searched in (("query", "gallery"), ("gallery", "query")):
        for q in np.flatnonzero(index["subset"] == asked):
            gallery = np.flatnonzero(index["subset"] == searched)  # of the other camera: nothing to leave out
            order = sorted(gallery, key=lambda g: -(vectors[q] @ vectors[g]))
            right = [index["person"][g] == index["person"][q] for g in order]
            at = [sum(right[: i + 1]) / (i + 1) for i in range(len(right)) if right[i]]
            precisions.append(100 * sum(at) / len(at))
    return precisions


@pytest.mark.parametrize("condition", [Condition(), BLUR, BLOCK, DARK, SHUFFLED, Condition("occlusion", 2, shuffled=True)])
def test_precisions_are_those_of_a_plain_computation(found, experiment, condition):
    measured = found.precisions("sdcl", condition)
    assert measured.shape == (2, 16) and len(found.people) == 16
    np.testing.assert_allclose(measured, [slow_precisions(experiment, "sdcl", condition, seed) for seed in (0, 1)], atol=1e-6)


def test_conditions_reach_a_network_of_both(found):
    """Else the tables above would show one number everywhere."""
    vectors = [
        found.experiment.degraded_embeddings("sdcl", c.degradation, 0 if c.shuffled else None) for c in (*conditions([1, 5]), SHUFFLED)
    ]
    for i, one in enumerate(vectors):
        assert all(np.abs(one - other).max() > 1e-4 for other in vectors[:i])


LEVELS = (2, 5)
EVERYTHING = [*conditions(LEVELS), SHUFFLED, Condition("low_light", 2, shuffled=True), Condition("motion_blur", 2, "resimulated")]


def test_a_network_of_events_alone_is_asked_once_for_all_video(found, experiment):
    values = [found.precisions("sdcl_events", condition) for condition in EVERYTHING]
    assert experiment.asked == [("sdcl_events", None, shuffled, seed) for shuffled, seed in ((None, 0), (None, 1), (0, 0), (1, 1))]
    plain = [value for value, condition in zip(values, EVERYTHING, strict=True) if not condition.shuffled]
    assert all(value is plain[0] for value in plain)
    np.testing.assert_allclose(plain[0][1], slow_precisions(experiment, "sdcl_events", DARK, 1), atol=1e-6)


def test_a_network_of_frames_alone_has_no_events_to_be_shuffled(found, experiment):
    values = {condition: found.precisions("psta", condition) for condition in EVERYTHING}
    videos = [None, *product(KINDS, LEVELS, ("clean",))]
    assert sorted(map(str, experiment.asked)) == sorted(str(("psta", video, None, seed)) for video in videos for seed in (0, 1))
    assert values[SHUFFLED] is values[Condition()]
    assert values[Condition("low_light", 2, shuffled=True)] is values[Condition("low_light", 2)]
    assert values[Condition("motion_blur", 2, "resimulated")] is values[Condition("motion_blur", 2)]
    found.precisions("psta", Condition("occlusion", 2, "resimulated"))  # of events that it never sees
    assert len(experiment.asked) == 2 * len(videos)
    np.testing.assert_allclose(values[SHUFFLED][0], slow_precisions(experiment, "psta", SHUFFLED, 0), atol=1e-6)


def test_a_network_of_both_is_asked_for_whatever_differs(found, experiment):
    for condition in (*EVERYTHING, *EVERYTHING):
        found.precisions("sdcl", condition)
    assert len(experiment.asked) == len(set(experiment.asked)) == 2 * (len(EVERYTHING) - 1)  # blur leaves the events, whatever the protocol


class Resimulated(Robustness):
    """Notes what a row would be asked."""

    def _one_seed(self, name, condition, seed):
        self.asked = condition
        return np.zeros(len(self.people))


@pytest.mark.parametrize("name", ["sdcl", "sdcl_events"])
def test_events_of_the_occluded_scene_are_another_condition(experiment, name):
    found, block = Resimulated(experiment), Condition("occlusion", 3, "resimulated")
    found.precisions(name, Condition("occlusion", 3))
    assert not found.asked.changes_events
    found.precisions(name, block)
    assert found.asked == block and found.asked.changes_events and found.asked.degradation.events == "resimulated"
    with pytest.raises(ValueError, match="cannot be simulated again"):  # this set has no film
        Robustness(experiment).precisions(name, block)


def test_conditions_are_clean_video_then_every_kind_and_severity():
    assert conditions([2, 4]) == [Condition(), *(Condition(kind, severity) for kind in KINDS for severity in (2, 4))]
    assert conditions([3], "resimulated", ["occlusion"]) == [Condition(), Condition("occlusion", 3, "resimulated")]
    assert [c.words for c in conditions([3])] == ["clean", "motion blur 3", "occlusion 3", "low light 3"]
    assert [c.changes_events for c in conditions([3], "resimulated")] == [False, False, True, False]
    assert Condition().degradation is None and BLUR.degradation.severity == 5


class HandMade(Robustness):
    """Average precisions [seeds, queries] given by (row, condition)."""

    def __init__(self, values: dict, people):
        self.people, self.values = np.asarray(people), {key: np.asarray(value, float) for key, value in values.items()}

    def precisions(self, name, condition):
        return self.values[name, condition]


PEOPLE = np.repeat(np.arange(20), 2)


def hand_made(levels: dict, seeds: int = 3, noise: float = 1.0) -> HandMade:
    """Every (row, condition) at its level on average, with a wave over the queries that is common to all and noise of its own."""
    wave, rng = np.linspace(-5, 5, len(PEOPLE)), np.random.default_rng(0)
    values = {key: rng.normal(0, noise, (seeds, len(PEOPLE))) for key in levels}
    return HandMade({key: levels[key] + wave + drawn - drawn.mean() for key, drawn in values.items()}, PEOPLE)


def three(trio=USUAL, clean=(70, 60, 50), degraded=(65, 40, 50), shuffled=50.0) -> dict:
    """Levels for `hand_made`: of the trio on clean and on degraded video of severity 3, and of its first with the wrong events."""
    levels = {(name, Condition()): level for name, level in zip(trio, clean, strict=True)} | {(trio.both, SHUFFLED): shuffled}
    return levels | {(name, c): level for c in conditions([3])[1:] for name, level in zip(trio, degraded, strict=True)}


def test_differences_and_savings_are_paired_query_by_query():
    found = hand_made(three())
    a, b = found.values["sdcl", Condition()], found.values["psta", Condition()]
    line = found.difference(("sdcl", Condition()), ("psta", Condition()))
    expected = paired_difference(a, b, groups=PEOPLE)
    assert (line["difference"], line["low"], line["high"]) == pytest.approx((expected.mean, expected.low, expected.high))
    assert line["low"] < np.mean(a - b) < line["high"] and (line["same_sign"], line["seeds"]) == (3, 3)
    dark = Condition("low_light", 3)
    saved = found.saved("sdcl", "psta", dark)
    lost = {name: found.values[name, Condition()] - found.values[name, dark] for name in ("sdcl", "psta")}
    assert saved["difference"] == pytest.approx((lost["psta"] - lost["sdcl"]).mean()) == pytest.approx(15, abs=0.5)  # 20 lost against 5
    assert found.saved("psta", "sdcl", dark)["high"] == pytest.approx(-saved["low"], abs=0.1)


def test_seeds_that_disagree_are_counted():
    found = HandMade({("sdcl", Condition()): [[60, 60], [60, 60], [40, 40]], ("psta", Condition()): np.full((3, 2), 50)}, [0, 1])
    line = found.difference(("sdcl", Condition()), ("psta", Condition()))
    assert (line["difference"], line["same_sign"], line["seeds"]) == (pytest.approx(10 / 3), 2, 3)


def verdicts(**levels) -> dict[str, list[str]]:
    """Verdicts by the kind of claim."""
    table = claims(hand_made(three(**levels)), USUAL, 3)
    assert table["condition"].tolist() == ["clean"] * 2 + ["motion blur 3"] * 2 + ["occlusion 3"] * 2 + ["low light 3"] * 2 + ["clean"]
    kind = ["beats frames", "beats events", *["loses less", "degraded beats"] * 3, "shuffled"]
    return {name: [v for v, k in zip(table["verdict"], kind, strict=True) if k == name] for name in dict.fromkeys(kind)}


def test_claims_hold_where_events_help():
    assert verdicts() == {
        "beats frames": ["yes"],
        "beats events": ["yes"],
        "loses less": ["yes"] * 3,
        "degraded beats": ["yes"] * 3,
        "shuffled": ["yes"],
    }


def test_claims_fail_one_by_one():
    assert verdicts(clean=(55, 60, 50), degraded=(50, 40, 50))["beats frames"] == ["no"]
    assert verdicts(clean=(70, 60, 75))["beats events"] == ["no"]
    more = verdicts(clean=(70, 60, 50), degraded=(45, 40, 50))  # 25 lost against 20, and still above
    assert more["loses less"] == ["no"] * 3 and more["degraded beats"] == ["yes"] * 3
    below = verdicts(clean=(70, 60, 50), degraded=(35, 40, 50))
    assert below["degraded beats"] == ["no"] * 3
    assert verdicts(shuffled=66.0)["shuffled"] == ["no"]  # with anybody's events it is above frames alone: they were not what helped


def test_claims_that_the_interval_cannot_tell_are_not_told():
    level = three(clean=(60, 60, 60), degraded=(40, 40, 40), shuffled=60)
    table = claims(hand_made(level, noise=4), USUAL, 3)
    assert set(table["verdict"][:-1]) == {"not told"} and table["verdict"].iloc[-1] == "not told from its level"
    assert ((table["low"] <= 0) & (table["high"] >= 0)).all()


def test_claims_name_their_rows_and_their_severity():
    table = claims(hand_made(three(DEGRADED)), DEGRADED, 3)
    assert table["claim"][0] == "SDCL, degraded training video beats PSTA, degraded training video"
    assert table["claim"][1] == "SDCL, degraded training video beats SDCL, events alone"
    wrong = table["claim"].iloc[-1]
    assert (
        "SDCL, degraded training video" in wrong and "events of other" in wrong and wrong.endswith("PSTA, degraded training video or below")
    )
    with pytest.raises(KeyError):
        claims(hand_made(three()), USUAL, 4)  # nothing is taken from another severity
    with pytest.raises(KeyError):
        claims(hand_made(three()), USUAL, 3, "resimulated")  # nor from another protocol


def test_claims_can_be_asked_of_one_kind_under_the_other_protocol():
    found, block = hand_made(three()), Condition("occlusion", 3, "resimulated")
    found.values |= {("sdcl", block): found.values["psta", Condition()] - 30, ("psta", block): found.values["psta", Condition()] - 10}
    table = claims(found, USUAL, 3, "resimulated", ["occlusion"])
    assert table["condition"].tolist() == ["clean", "clean", "occlusion 3", "occlusion 3", "clean"]
    assert table["verdict"].tolist() == ["yes", "yes", "no", "no", "yes"]
    assert table["difference"].tolist()[2:4] == pytest.approx([-30, -20])  # 40 lost against 10


def test_claims_are_drawn_as_they_are_counted():
    table = claims(hand_made(three()), USUAL, 3)
    drawn = robustness.forest_table(table)
    assert drawn["mean"].tolist() == table["difference"].tolist() and drawn["low"].tolist() == table["low"].tolist()
    (ax,) = forest_plot(drawn).axes
    assert len(ax.texts) == 9
    headings = [text.get_text() for text in ax.get_yticklabels()[9:]]
    assert [heading.split(" (")[0] for heading in headings] == [
        "clean video",
        "motion blur 3 video",
        "occlusion 3 video",
        "low light 3 video",
    ]


def test_sentences_say_verdict_interval_and_seeds():
    table = claims(hand_made(three()), USUAL, 3)
    lines = robustness.sentences(table)
    assert len(lines) == 9
    assert lines[0].startswith("SDCL (frames + events) beats PSTA (frames alone) (clean video): **yes**, +")
    assert lines[0].endswith("the same sign in 3 of 3 seeds.")
    assert "−" in robustness.sentences(claims(hand_made(three(clean=(50, 60, 50))), USUAL, 3))[0] and "-" not in lines[0]
    assert "seeds" not in robustness.sentences(claims(hand_made(three(), seeds=1), USUAL, 3))[0]


def test_scores_bracket_the_mean_over_seeds():
    found = hand_made(three())
    table = found.scores(["sdcl", "psta"], conditions([3]))
    assert table[["row", "kind", "severity"]].values.tolist()[:3] == [
        ["sdcl", "clean", 0],
        ["psta", "clean", 0],
        ["sdcl", "motion_blur", 3],
    ]
    for line in table.itertuples():
        values = found.values[line.row, Condition(line.kind, line.severity)]
        interval = bootstrap_interval(values.mean(0), groups=PEOPLE)
        assert (line.mean, line.low, line.high) == pytest.approx((interval.mean, interval.low, interval.high))
        assert line.spread == pytest.approx(values.mean(1).std(ddof=1))
    wrong = found.scores(["sdcl"], [SHUFFLED])
    assert wrong["title"].tolist() == ["SDCL (frames + events), events of others"] and wrong["shuffled"].all()
    assert hand_made(three(), seeds=1).scores(["sdcl"], [Condition()])["spread"].isna().all()


def test_a_query_without_a_match_is_left_out_of_every_number():
    found = hand_made(three())
    for values in found.values.values():
        values[:, 7] = np.nan
    line = found.scores(["sdcl"], [Condition()]).iloc[0]
    values = np.delete(found.values["sdcl", Condition()], 7, axis=1)
    assert line["mean"] == pytest.approx(values.mean()) and line["spread"] == pytest.approx(values.mean(1).std(ddof=1))
    assert claims(found, USUAL, 3)["verdict"].tolist() == ["yes"] * 9


def test_readable_has_a_line_per_condition_and_a_column_per_row():
    found = hand_made(three())
    found.values |= {(name, Condition("occlusion", 3, "resimulated")): found.values[name, Condition()] - 30 for name in USUAL}
    asked = [*conditions([3]), Condition("occlusion", 3, "resimulated")]
    scores = found.scores(USUAL, asked)
    table = robustness.readable(scores)
    assert table.index.tolist() == ["clean", "motion blur 3", "occlusion 3", "low light 3", "occlusion 3, events of it"]
    assert table.columns.tolist() == ["SDCL (frames + events)", "PSTA (frames alone)", "SDCL, events alone"]
    wrong = robustness.readable(pd.concat([scores, found.scores(["sdcl"], [SHUFFLED])]))
    assert wrong["SDCL (frames + events), events of others"].tolist()[1:] == ["–"] * 4  # asked of clean video alone
    line = scores.iloc[0]
    assert table.iloc[0, 0] == f"{line['mean']:.1f} [{line['low']:.1f}, {line['high']:.1f}]"
    found.values |= {("sdcl", Condition("motion_blur", 3, "resimulated")): found.values["sdcl", Condition("motion_blur", 3)]}
    one = robustness.readable(found.scores(["sdcl"], [Condition("motion_blur", 3, "resimulated")]))
    assert one.index.tolist() == ["motion blur 3"]  # whose events are the clean ones under either protocol


def test_scores_of_a_study_can_be_drawn(found):
    table = found.scores(["sdcl", "psta", "sdcl_events"], conditions([1, 5]))
    assert len(table) == 3 * 7 and len(curves(table).axes) == 3
    events = table[table["row"] == "sdcl_events"]
    assert events["mean"].nunique() == 1  # a straight line


@pytest.mark.parametrize(
    ("dataset", "preset", "asked", "levels", "why"),
    [
        ("walkers", "tiny", (), (3,), ""),
        ("walkers_occluded", "demo", (1, 5), (1, 5), ""),
        ("walkers", "demo", (), (), "takes minutes"),
        ("own", "tiny", (), (), "the videos of own are too slow"),
        ("mars", "study", (), (), "the videos of mars are too slow"),
    ],
)
def test_only_people_whose_film_is_at_hand_are_filmed_anew(tmp_path, dataset, preset, asked, levels, why):
    found, said = robustness.filmed_levels(Experiment(dataset, preset, 0, tmp_path), asked)
    assert found == levels and why in said and bool(said) == (not levels)


def test_filming_people_of_a_recorded_set_anew_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"RESIMULATED is \[3\]\. Only the built-in people .* Leave it empty"):
        robustness.filmed_levels(Experiment("own", "tiny", 0, tmp_path), [3])
