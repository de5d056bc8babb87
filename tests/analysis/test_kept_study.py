"""The study that the repository keeps: read as it was written, refused where it is not one."""

import pandas as pd
import pytest

from reidlib.ablations import ROWS, SYSTEMS
from reidlib.analysis.comparison import forest_table
from reidlib.analysis.kept_study import DIFFERENCES, kept_differences
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
