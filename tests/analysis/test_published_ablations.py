"""Our ablation rows beside the papers': each row stands beside its own published number, each difference is from the system itself."""

import pandas as pd
import pytest

from reidlib.ablations import SYSTEMS, row
from reidlib.analysis.published import published_tables
from reidlib.analysis.published_ablations import beside

SDCL = SYSTEMS["sdcl"]


def means(**scores: float) -> pd.DataFrame:
    lines = [{"row": name, "protocol": "query to gallery", "mAP": value} for name, value in scores.items()]
    return pd.DataFrame([*lines, *(line | {"protocol": "all cameras", "mAP": 1.0} for line in lines)])


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return published_tables()


def test_table_2_beside_ours(published):
    (table,) = beside(SDCL, means(sdcl=70, fusion_none=72.5, fusion_add=40), published).values()
    none, added, itself = (table.loc[row(name).title] for name in ("fusion_none", "fusion_add", "sdcl"))
    assert (none["ours, mAP (%)"], none["ours, difference"]) == ("72.5", "+2.5")
    assert (none["paper, prid2011"], none["paper, prid2011, difference"]) == ("85.3?", "−11.6")  # 85.3 and 96.9 of Table 2
    assert (added["paper, ilids_vid"], added["paper, ilids_vid, difference"]) == ("56.2", "−37.0")  # 56.2 and 93.2
    assert itself["paper, prid2011"] == "96.9" and itself["ours, difference"] == itself["paper, prid2011, difference"] == "–"


def test_every_group_is_held_against_the_system_of_its_own_table(published):
    """SDCL with two spiking layers has 86.2 in Figure 6, and 96.9 in the table of fusions."""
    found = beside(SDCL, means(sdcl=70, spiking1=60, mappings1=65, pyramid_none=66), published)
    assert [table.loc[row("sdcl").title, "paper, prid2011"] for table in found.values()] == ["86.2?", "96.9?", "96.9"]
    assert [table["paper, prid2011, difference"].iloc[0] for table in found.values()] == ["−5.1", "−4.2", "−7.7"]


def test_rows_that_are_not_trained_or_not_published_are_left_out(published):
    assert beside(SDCL, means(sdcl=70, psta=60, mappings0=50), published) == {}
    assert beside(SDCL, means(fusion_none=60), published) == {}
    assert beside(SYSTEMS["s3ce_net"], means(s3ce_net=60, ssam=61), published) == {}


def test_every_published_name_is_in_the_tables(published):
    ablations = published[published["kind"] == "ablation"]
    known = set(ablations["method"]) | set(ablations["table"] + ": " + ablations["method"])
    assert {name for system in SYSTEMS.values() for one in system.rows for name in one.published} <= known


def test_tables_of_the_thesis_are_found_by_table_and_name(published):
    """Baseline and IA of table 2.1 on MARS: 83.5 and 85.0; the orders of table 2.3 stand in a table of their own."""
    found = beside(SYSTEMS["ianet"], means(ianet=80, resnet_frames=75, stia=78, ia_parallel=81), published)
    assert list(found) == ["Interaction and aggregation", "Order of the blocks"]
    first, second = found.values()
    plain, parallel = first.loc[row("resnet_frames").title], second.loc[row("ia_parallel").title]
    assert list(first.index) == [row(name).title for name in ("resnet_frames", "stia", "ianet")]
    assert (plain["ours, difference"], plain["paper, mars"], plain["paper, mars, difference"]) == ("−5.0", "83.5", "−1.5")
    assert (parallel["ours, difference"], parallel["paper, mars"], parallel["paper, mars, difference"]) == ("+1.0", "85.0?", "+0.6")
