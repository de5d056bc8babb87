"""Figures of cost read back from their axes."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from reidlib.plots import efficiency

MODELS = pd.DataFrame(
    [
        ("sew_resnet18", 21.0, 52.0, 49.5, 54.5, 7e5),
        ("ssam only", 23.0, 53.0, 50.0, 56.0, 7.4e5),
        ("s3ce_net", 24.0, 57.0, 54.0, 60.0, 7.6e5),
        ("resnet18_events", 260.0, 69.0, 66.0, 72.0, 7e5),
        ("resnet50", 9100.0, 81.0, 78.0, 84.0, 2.35e7),
    ],
    columns=["name", "energy_uJ", "mAP", "low", "high", "parameters"],
)


def test_energy_vs_accuracy_places_sizes_and_labels():
    figure = efficiency.energy_vs_accuracy(MODELS)
    (ax,) = figure.axes
    assert ax.get_xscale() == "log"
    np.testing.assert_allclose([dot.get_offsets()[0] for dot in ax.collections], MODELS[["energy_uJ", "mAP"]])
    np.testing.assert_allclose([line.get_ydata() for line in ax.lines], MODELS[["low", "high"]])
    sizes = [dot.get_sizes()[0] for dot in ax.collections]
    np.testing.assert_array_equal(np.argsort(sizes, kind="stable"), np.argsort(MODELS["parameters"], kind="stable"))
    assert {text.get_text() for text in ax.texts} >= {"S3CE-Net\n760 k parameters", "resnet50\n23.5 M parameters"}
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in ax.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])  # crowded models stay readable


def test_energy_vs_accuracy_errors():
    with pytest.raises(ValueError, match="energy_uJ must be above 0"):
        efficiency.energy_vs_accuracy(MODELS.assign(energy_uJ=0.0))
    with pytest.raises(ValueError, match="low <= mAP <= high"):
        efficiency.energy_vs_accuracy(MODELS.assign(low=90.0))
    with pytest.raises(ValueError, match="lacks the columns"):
        efficiency.energy_vs_accuracy(MODELS.drop(columns="parameters"))


def test_energy_breakdown_stacks_to_the_total():
    table = pd.DataFrame(
        [("s3ce_net", "stem", 2.0, 0.5), ("s3ce_net", "head", 0.0, 1.0), ("resnet18_events", "stem", 9.0, 0.0)],
        columns=["name", "stage", "mac_uJ", "ac_uJ"],
    )
    figure = efficiency.energy_breakdown(table)
    spiking, twin = figure.axes
    mac, ac = spiking.containers
    assert [bar.get_width() for bar in mac] == [2, 0]
    assert [(bar.get_x(), bar.get_width()) for bar in ac] == [(2, 0.5), (0, 1)]
    assert spiking.get_title("left") == "S3CE-Net: 3.5 µJ"
    assert spiking.get_xlim() == twin.get_xlim()
    assert [text.get_text() for text in spiking.get_yticklabels()] == ["stem", "head"]
    with pytest.raises(ValueError, match="must not be below 0"):
        efficiency.energy_breakdown(table.assign(ac_uJ=-1.0))


def test_scaling_with_steps_measures_the_slope():
    steps = np.array([64, 8, 16, 32])
    table = pd.DataFrame({"name": "s3ce_net", "steps": steps, "seconds": 0.02 * steps, "memory_mb": 0.5 * steps**2})
    figure = efficiency.scaling_with_steps(table)
    time, memory = figure.axes
    reference, measured = memory.lines[:2]
    np.testing.assert_allclose(measured.get_xydata(), [[t, 0.5 * t**2] for t in (8, 16, 32, 64)])
    np.testing.assert_allclose(reference.get_ydata(), [32, 64, 128, 256])
    assert [ax.get_legend().get_texts()[0].get_text() for ax in figure.axes] == ["S3CE-Net, slope 1.00", "S3CE-Net, slope 2.00"]
    assert (time.get_xscale(), time.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in time.get_xticklabels()] == ["8", "16", "32", "64"]
    efficiency.scaling_with_steps(table.drop(columns="name").head(1))
    with pytest.raises(ValueError, match="must be above 0 for a log axis"):
        efficiency.scaling_with_steps(table.assign(memory_mb=0.0))


def test_latency_bars_group_settings_and_draw_intervals():
    table = pd.DataFrame(
        [
            ("sew_resnet18", "1 clip", 20.0, 18.0, 25.0),
            ("s3ce_net", "1 clip", 26.0, 25.0, 27.0),
            ("s3ce_net", "16 clips", 200.0, 190.0, 220.0),
        ],
        columns=["name", "setting", "latency_ms", "low_ms", "high_ms"],
    )
    (ax,) = efficiency.latency_bars(table).axes
    bars = [container for container in ax.containers if hasattr(container, "patches")]
    assert [[bar.get_width() for bar in container] for container in bars] == [[20, 26], [200]]
    segments = np.concatenate([container.errorbar[2][0].get_segments() for container in bars])
    np.testing.assert_allclose(segments[..., 0], [[18, 25], [25, 27], [190, 220]])
    assert [text.get_text() for text in ax.texts] == ["20", "26", "200"]
    efficiency.latency_bars(table.drop(columns="setting").head(2))
    titled = table.assign(name=["sew_resnet18", "mine", "mine"], title=["not shown", "my network", "my network"])
    (ax,) = efficiency.latency_bars(titled).axes  # a registered method has its label, another its title
    assert [text.get_text() for text in ax.get_yticklabels()] == ["SEW-ResNet-18", "my network"]
    with pytest.raises(ValueError, match="low_ms <= latency_ms <= high_ms"):
        efficiency.latency_bars(table.assign(low_ms=300.0))
