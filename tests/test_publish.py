"""Publishing a run: tables and figures are copied, the README's marked part is replaced and nothing else."""

import matplotlib.pyplot as plt
import pytest

from reidlib.reports import record, save_figure
from reidlib.reports.publish import MARKS, publish


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    figure, axes = plt.subplots(figsize=(2, 1))
    axes.plot([0, 1])
    entry = save_figure(figure, folder, "02_ranked_lists", "A line.", "A rising line.")
    plt.close(figure)
    headline = [{"label": "S3CE-Net", "value": 61.25, "low": 60.0, "high": 62.5, "unit": "% mAP"}]
    tables = {"results": [{"system": "S3CE-Net", "mAP": "61.2"}]}
    made = {"dataset": "walkers", "preset": "demo", "seed": 0, "data_key": "k"}
    record(folder, "02_training", title="T", headline=headline, tables=tables, figures=[entry], **made)
    return folder


def test_tables_figures_and_page_are_written(run, tmp_path):
    written = publish(run, tmp_path / "kept")
    assert {path.name for path in written} == {"02_training-results.csv", "02_ranked_lists.png", "README.md"}
    assert (tmp_path / "kept" / "02_training-results.csv").read_text() == "system,mAP\nS3CE-Net,61.2\n"
    page = (tmp_path / "kept" / "README.md").read_text()
    assert "S3CE-Net: 61.2 [60.0, 62.5] % mAP" in page and "walkers, demo" in page and "torch" in page


def test_only_the_marked_part_of_the_readme_changes(run, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    for _ in range(2):  # twice gives the same
        publish(run, tmp_path / "kept", readme)
        text = readme.read_text()
        assert text.startswith(f"before\n{MARKS[0]}\n| system | mAP |") and text.endswith(f"{MARKS[1]}\nafter\n") and "old" not in text


def test_what_is_missing_is_named(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="no results under"):
        publish(tmp_path / "nothing", tmp_path / "kept")
    readme = tmp_path / "README.md"
    readme.write_text("no marks")
    with pytest.raises(ValueError, match="lacks the marks"):
        publish(run, tmp_path / "kept", readme)
