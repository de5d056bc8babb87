"""What a part of the spatiotemporal feature knows of the whole: STFS's subsequences at test time.

STFS (our reading of the abstract of S3CE-Net, not a reproduction of the authors' code) trains subsequences of the last map
like the whole. Here the same subsequences are embedded at test time, with any of our event networks, and compared with the whole.
"""

import numpy as np
import pandas as pd
import torch

from reidlib.datasets import ClipDataset, ClipSettings, TrackletStore, eval_batches
from reidlib.evaluation import rank_protocol
from reidlib.experiment import Experiment
from reidlib.metrics import bootstrap_interval, paired_difference
from reidlib.models import ReidModel, SamplingSettings
from reidlib.models.layers.spiking_resnet import pool_positions
from reidlib.models.s3ce_net import S3CENet, sample_subsequences

WHOLE = "whole"


def subsequence_embeddings(
    model: ReidModel, store: TrackletStore, index: pd.DataFrame, clips: ClipSettings, sampling: SamplingSettings, batch: int = 64
) -> dict[str, np.ndarray]:
    """Unit embeddings `[N, D]` of the whole tracklets ("whole", as `evaluation.embed`) and of each subsequence of the last map, by name."""
    if not isinstance(model, S3CENet):
        raise ValueError(
            f"subsequences are cut from the last map of an S3CE-Net or of a network built like it, not of a {type(model).__name__}"
        )
    device = next(model.parameters()).device
    names = [WHOLE, *part_names(sampling)]
    sums = np.zeros((len(index), len(names), model.neck.norm.num_features))  # [N, parts, D]
    model.eval()
    with torch.inference_mode():
        for clip_batch in eval_batches(ClipDataset(store, index, clips, train=False), batch):
            last = model.features(clip_batch["events"].to(device))[-1]  # [T, B, D, h, w]
            features = [pool_positions(last, model.pooling).mean(0), *sample_subsequences(last, sampling, model.pooling)]
            features = [model.neck(one)[0] for one in features] if model.embedding == "neck" else features
            vectors = torch.stack(features, 1).float().cpu().numpy()  # [B, parts, D]
            np.add.at(sums, clip_batch["owner"].numpy(), vectors)
    sums = (sums / np.maximum(np.linalg.norm(sums, axis=2, keepdims=True), 1e-12)).astype(np.float32)
    return {name: sums[:, i] for i, name in enumerate(names)}


def part_names(sampling: SamplingSettings) -> list[str]:
    """Readable names of the subsequences, in the order of `sample_subsequences`."""
    steps = {"strided": "every {n}th step from {i}", "contiguous": "steps, part {i} of {n}", "random": "random steps {i} of {n}"}
    bands = {"band": "band {i} of {n}", "drop": "all but band {i} of {n}"}
    temporal = [steps[sampling.temporal_form].format(i=i + 1, n=sampling.temporal) for i in range(sampling.temporal)]
    temporal = [name.replace("2th", "2nd").replace("3th", "3rd") for name in temporal]
    return temporal + [bands[sampling.spatial_form].format(i=i + 1, n=sampling.spatial) for i in range(sampling.spatial)]


def fitting_sampling(experiment: Experiment, bands: int = 4) -> SamplingSettings:
    """Two strided halves of the steps and as many of the `bands` as the last map has rows (height / 16)."""
    return SamplingSettings(temporal=2, spatial=min(bands, experiment.settings.clips.size[0] // 16))


def subsequence_scores(experiment: Experiment, names: tuple[str, ...], sampling: SamplingSettings) -> pd.DataFrame:
    """One line per (row, subsequence): cosine similarity of its embedding to the whole's, per tracklet, and its average precision
    alone (queries and gallery both embedded from that part), per query. Seeds are averaged.

    Columns: row, part, similarity (array `[N]`), average precision (array `[queries]`, percent).
    """
    found = []
    for name in names:
        runs = []
        for here in map(experiment.at, experiment.seeds):
            protocol = here.protocols["query to gallery"]
            runs.append((subsequence_embeddings(here.model(name), here.store, protocol.index, _clips(here, name), sampling), protocol))
        for part in (WHOLE, *part_names(sampling)):
            similarity = np.mean([(run[WHOLE] * run[part]).sum(1) for run, _ in runs], axis=0)
            precision = np.mean([100 * rank_protocol(run[part], protocol).average_precision for run, protocol in runs], axis=0)
            found.append({"row": name, "part": part, "similarity": similarity, "average precision": precision})
    return pd.DataFrame(found)


def subsequence_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Means of `subsequence_scores`: one line per part, for every row the similarity to the whole and the mAP (%) of the part alone."""
    means = scores.assign(
        similarity=[float(np.mean(values)) for values in scores["similarity"]],
        mAP=[float(np.nanmean(values)) for values in scores["average precision"]],
    )
    order = list(dict.fromkeys(scores["part"]))
    table = means.pivot(index="part", columns="row", values=["similarity", "mAP"]).loc[order]
    rows = list(dict.fromkeys(scores["row"]))
    return table[[(value, row) for value in ("similarity", "mAP") for row in rows]]


def stfs_effect(experiment: Experiment, scores: pd.DataFrame, pairs: dict[str, str], seed: int = 0) -> pd.DataFrame:
    """What STFS changes, part by part, with 95 % intervals over people: `pairs` maps a row with STFS to the same row without.

    Columns: with, without, part, and for the similarity to the whole and the mAP of the part alone (points) the paired difference, low
    and high.
    """
    protocol = experiment.protocols["query to gallery"]
    people = protocol.index["person"].to_numpy()
    groups = {"similarity": people, "average precision": people[protocol.queries]}
    values = scores.set_index(["row", "part"])
    found = []
    for row, reference in pairs.items():
        for part in dict.fromkeys(scores["part"]):
            line = {"with": row, "without": reference, "part": part}
            for what, label in (("similarity", "similarity"), ("average precision", "mAP")):
                ours, other = (values.loc[(name, part), what] for name in (row, reference))
                interval = paired_difference(ours, other, groups=groups[what], seed=seed)
                line |= {label: interval.mean, f"{label} low": interval.low, f"{label} high": interval.high}
            found.append(line)
    return pd.DataFrame(found)


def evenness_table(values: dict[str, np.ndarray], people: np.ndarray, pairs: dict[str, str], seed: int = 0) -> pd.DataFrame:
    """Mean of a number per tracklet (NaN left out) for every row, with 95 % interval over people, and the paired difference to the row
    that `pairs` names as its reference."""
    found = []
    for row, numbers in values.items():
        mean = bootstrap_interval(numbers, groups=people, seed=seed)
        line = {"row": row, "mean": mean.mean, "low": mean.low, "high": mean.high}
        if row in pairs:
            change = paired_difference(numbers, values[pairs[row]], groups=people, seed=seed)
            line |= {"compared with": pairs[row], "difference": change.mean, "difference low": change.low, "difference high": change.high}
        found.append(line)
    return pd.DataFrame(found)


def _clips(experiment: Experiment, name: str) -> ClipSettings:
    return experiment.run_settings(name).clips
