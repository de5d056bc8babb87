"""The study that the repository keeps: read as it was written, refused where it is not one."""

import pandas as pd
import pytest

from reidlib.ablations import ROWS, SYSTEMS
from reidlib.analysis.comparison import forest_table
from reidlib.analysis.kept_study import DIFFERENCES, kept_board, kept_differences, readable_board
from reidlib.plots.ablation import forest_plot


def test_the_kept_study_of_s3ce_net_is_that_of_its_rows():
    kept = kept_differences("s3ce_net")
    assert set(kept["row"]) <= {one.name for one in SYSTEMS["s3ce_net"].rows} and (kept["seeds"] == 3).all()
    assert (kept["low"] <= kept["difference"]).all() and (kept["difference"] <= kept["high"]).all()
    assert all(line.title == ROWS[line.row].title for line in kept.itertuples())
    assert len(forest_plot(forest_table(kept)).axes) == 1


def test_a_system_without_a_study_has_none(tmp_path):
    assert kept_differences("sdcl", tmp_path) is None


@pytest.mark.parametrize(("columns", "rows", "missing"), [(DIFFERENCES[:-1], 1, "queries"), (DIFFERENCES, 0, "rows")])
def test_a_table_that_is_no_study_is_refused_with_its_name(tmp_path, columns, rows, missing):
    (tmp_path / "sdcl").mkdir()
    pd.DataFrame([dict.fromkeys(columns, 1)] * rows, columns=columns).to_csv(tmp_path / "sdcl" / "differences.csv", index=False)
    with pytest.raises(ValueError, match=rf"sdcl/differences\.csv must have rows and the columns .*; missing: {missing}"):
        kept_differences("sdcl", tmp_path)


def write_study(folder, system: str, mAP: float, difference: tuple[float, float, float], reference: str) -> None:
    (folder / system).mkdir()
    own = {"row": system, "title": ROWS[system].title, "protocol": "query to gallery", "seeds": 3, "mAP": mAP, "mAP_spread": 1.25}
    pd.DataFrame([own, own | {"protocol": "gallery to query", "mAP": 1}]).to_csv(folder / system / "means.csv", index=False)
    line = dict.fromkeys(DIFFERENCES, 0) | {"row": system, "title": ROWS[system].title, "same_sign": 2, "seeds": 3}
    lines = [line | {"reference": "something else", "difference": 99}]  # such as S3CE-Net beside its twin
    lines.append(line | dict(zip(("difference", "low", "high"), difference, strict=True)) | {"reference": ROWS[reference].title})
    pd.DataFrame(lines).to_csv(folder / system / "differences.csv", index=False)


def test_the_board_holds_every_kept_system_beside_its_baseline(tmp_path):
    assert kept_board(tmp_path) is None
    write_study(tmp_path, "sdcl", 70.04, (-1.0, -3.0, 1.0), "psta")
    write_study(tmp_path, "rfcnet", 80.06, (2.0, 1.0, 3.0), "resnet_frames")
    write_study(tmp_path, "tclnet", 75.0, (-2.0, -3.0, -1.0), "resnet_frames")
    board = kept_board(tmp_path)
    assert board["difference"].tolist() == [-1.0, -2.0, 2.0] and board["mAP"].tolist() == [70.04, 75.0, 80.06]
    shown = readable_board(board)
    assert shown["told"].to_dict() == {ROWS["rfcnet"].title: "better", ROWS["sdcl"].title: "not told", ROWS["tclnet"].title: "worse"}
    first = shown.iloc[0]
    assert first["mAP (%)"] == "80.1 ± 1.2" and first["seeds of that sign"] == "2 of 3"
    assert first["difference (mAP points)"] == "+2.0 [+1.0, +3.0]"
    assert first["against"] == ROWS["resnet_frames"].title


def test_the_kept_board_is_that_of_the_repository():
    board = kept_board()
    assert {"S3CE-Net (SSAM + STFS)", "SDCL (frames + events)"} <= set(board["system"]) and (board["seeds"] == 3).all()
