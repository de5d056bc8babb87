"""Looking into the video systems: what is shown, against the models' own views; and a notebook about several systems."""

import json

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from video_examples import T, labelled_clips, network

from reidlib.analysis import shown, video_views
from reidlib.experiment import Experiment


def test_rows_show_what_the_models_show():
    item = labelled_clips()[0]
    maps = network("ianet").inner_views(frames=item["frames"])["parts2"]
    rows = video_views.part_rows(network("ianet"), item, steps=2)
    assert list(rows) == ["step 1", "step 4"] and list(rows["step 1"])[:3] == ["frame", "true parts", "head\n(stage 2)"]
    np.testing.assert_allclose(rows["step 4"]["shoes\n(stage 2)"], maps[0, 3, 3], rtol=1e-5)
    assert np.array_equal(rows["step 4"]["true parts"], item["parts"][0, 3])
    assert "true parts" not in video_views.part_rows(network("ianet"), {"frames": item["frames"]})["step 1"]
    model = network("tclnet")
    seen = model.inner_views(frames=item["frames"])
    rows = video_views.erasing_rows(model, item)
    assert list(rows) == [f"step {t + 1}\nlearner {t % 2 + 1}" for t in range(T)]
    second = rows["step 2\nlearner 2"]
    assert np.array_equal(second["frame and\nerased block"][1], seen["erased"][0, 1])
    assert second["gate before\nerasing"].mean() == pytest.approx(1)
    assert (rows["step 1\nlearner 1"]["gate before\nerasing"] == 1).all()
    weights = np.stack([row["TSB weight from\nstep 1 (stage 2)"] for row in rows.values()])
    assert not weights[0].any() and weights[1:].mean() == pytest.approx(1, rel=1e-4)
    seen = network("rfcnet").inner_views(frames=item["frames"])
    row = video_views.region_rows(network("rfcnet"), item, steps=1)["step 1"]
    assert np.array_equal(row["regions\n(stage 3)"][1], seen["regions3"][0, 0].argmax(0) + 1)
    np.testing.assert_allclose(row["completed\n(stage 2)"], seen["completed2"][0, 0], rtol=1e-5)
    looked = np.stack([row["looked at\n(stage 2)"] for row in video_views.non_local_rows(network("vrstc"), item).values()])
    assert looked.mean() == pytest.approx(1, rel=1e-4)
    rows = video_views.scale_rows(network("bicnet_tks"), item)
    assert list(rows) == ["step 1\nbig frame", *(f"step {k + 1}\nsmall frame {k}" for k in (1, 2, 3))]
    assert [row["DAO attention\n(1 = even)"].shape for row in rows.values()] == [(4, 2), (2, 1), (2, 1), (2, 1)]
    assert all(row["DAO attention\n(1 = even)"].mean() == pytest.approx(1, rel=1e-4) for row in rows.values())


def test_a_notebook_about_several_systems_says_which_it_leaves_out(tmp_path, monkeypatch, capsys):
    shell = InteractiveShell()
    monkeypatch.setattr(shown, "get_ipython", lambda: shell)
    both = shown.shown_systems(Experiment("walkers", "tiny", 7, tmp_path), ("s3ce_net", "sdcl"), "05_x", "Two")
    assert both == ("s3ce_net", "sdcl") and not capsys.readouterr().out
    monkeypatch.setattr(shown, "display", lambda text: print(text.data))
    assert shown.shown_systems(Experiment("walkers", "tiny", 7, tmp_path, method="psta"), ("s3ce_net", "sdcl"), "05_x", "Two") == ("sdcl",)
    assert capsys.readouterr().out == "* S3CE-Net; METHOD is 'psta', a row of SDCL, so it is left out here.\n"
    assert not (tmp_path / "results").exists()
    assert shown.shown_systems(Experiment("walkers", "tiny", 7, tmp_path, method="psta"), ("s3ce_net",), "05_x", "One") == ()
    assert shell.run_cell("after = 1 / 0").success and "after" not in shell.user_ns
    kept = json.loads((tmp_path / "results" / "05_x.json").read_text(encoding="utf-8"))
    assert kept["notes"] == ["S3CE-Net; METHOD is 'psta', a row of SDCL, so it is left out here."]
