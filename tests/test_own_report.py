"""A street that nobody prepared for us becomes a report: `vtest.avi` of Debian's opencv-doc (PETS 2009), with boxes of a simple tracker.

Nothing is installed: REIDLIB_VTEST may name the video elsewhere. One camera alone: the validator says so, and what is ranked are tracklets
of the same camera, somebody a moment later."""

import json
import os
from pathlib import Path

import pytest
from checkouts import ROOT, copy_checkout, run

VTEST = Path(os.environ.get("REIDLIB_VTEST", "/usr/share/doc/opencv-doc/examples/data/vtest.avi"))
FRAMES = 400  # of 795
BOXES = """
import sys
from pathlib import Path
from moving_boxes import moving_boxes
from own_samples import write_boxes
from reidlib.datasets.own_video import Video
write_boxes(Path(sys.argv[2]), moving_boxes(Video(Path(sys.argv[1])), int(sys.argv[3])))
"""

pytestmark = [
    pytest.mark.notebook,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(not VTEST.is_file(), reason=f"no video at {VTEST}: Debian's opencv-doc is not installed"),
]


def test_the_street_of_opencv_becomes_a_report_with_ranked_lists(tmp_path):
    folder = copy_checkout(tmp_path)
    (folder / "street").mkdir()
    (folder / "street" / "vtest.avi").symlink_to(VTEST)
    boxes = folder / "street" / "vtest.csv"
    run(folder, "-c", f"import sys; sys.path.append({str(ROOT / 'tests' / 'datasets')!r})\n{BOXES}", str(VTEST), str(boxes), str(FRAMES))
    said = run(folder, "-m", "reidlib.datasets.own_data", "check", str(boxes)).stdout
    assert "0 errors" in said and "one camera only (vtest): a match is another tracklet of the same camera" in said
    run(folder, "-m", "snakemake", "--cores", "1", "--quiet", "rules", "--config", "dataset=own", "preset=tiny", f"data={boxes}")
    report, results = folder / "reports" / "own-tiny", folder / "runs" / "own-tiny" / "results"
    assert (report / "index.html").is_file()
    notebooks = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert sorted(path.stem for path in results.glob("*.json")) == notebooks == sorted(path.stem for path in report.glob("0*.html"))
    training = json.loads((results / "02_training.json").read_text())
    assert any("ranked_lists" in str(figure) for figure in training["figures"])
    scored = {row["row"] for row in training["tables"]["results as numbers"] if row["metric"] == "mAP"}
    assert {"chance", "counts", "s3ce_net", "sdcl"} <= scored
