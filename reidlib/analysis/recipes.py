"""What was tried to make the networks learn: the tables of the recipe searches, as they are kept under reports/study/."""

from pathlib import Path

import pandas as pd

from reidlib.ablations import row
from reidlib.analysis.kept_study import FOLDER, kept_table

COLUMNS = ("name", "change", "data", "steps", "validation_mAP", "training_mAP", "firing_low", "firing_high", "seconds")
VIDEO_COLUMNS = ("row", "change", "data_seed", "step", "validation_mAP")
TABLE, VIDEO_TABLE = FOLDER / "recipe_search.csv", FOLDER / "recipe_search_sdcl.csv"


def recipe_search(path: str | Path = TABLE) -> pd.DataFrame | None:
    """The recipes tried, by the data they were tried on, best validation mAP first, or None where the table is absent.

    data: people and batches that a group of recipes shares; only lines of one group can be compared. validation_mAP, training_mAP: percent;
    firing_low, firing_high: lowest and highest firing rate over the layers. Raises ValueError for a table without the columns.
    """
    table = kept_table(path, COLUMNS)
    if table is None:
        return None
    groups = {data: -place for place, data in enumerate(dict.fromkeys(table["data"]))}  # the latest first
    best_first = table.assign(group=table["data"].map(groups)).sort_values(
        ["group", "validation_mAP"], ascending=[True, False], kind="stable"
    )
    return best_first.drop(columns="group").reset_index(drop=True)


def video_search(path: str | Path = VIDEO_TABLE) -> pd.DataFrame | None:
    """The recipes tried for SDCL and PSTA, by row, best validation mAP (percent) first, or None where the table is absent.

    data_seed: of people, cameras and training alike; step: when it was scored. Raises ValueError for a table without the columns.
    """
    table = kept_table(path, VIDEO_COLUMNS)
    if table is None:
        return None
    return table.sort_values(["row", "validation_mAP"], ascending=[True, False], kind="stable").reset_index(drop=True)


def readable_video(table: pd.DataFrame) -> pd.DataFrame:
    """`video_search` for reading: titles instead of row names."""
    return pd.DataFrame(
        {
            "row": [row(name).title for name in table["row"]],
            "recipe": table["change"],
            "seed": table["data_seed"],
            "steps": table["step"],
            "validation mAP (%)": table["validation_mAP"].round(1),
        }
    ).set_index("row")


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """`recipe_search` for reading: rounded numbers, plain column names."""
    rates = ["no spikes" if pd.isna(line.firing_low) else f"{line.firing_low:.3f} to {line.firing_high:.3f}" for line in table.itertuples()]
    return pd.DataFrame(
        {
            "recipe": table["name"],
            "change": table["change"],
            "steps": table["steps"],
            "validation mAP (%)": table["validation_mAP"].round(1),
            "training mAP (%)": table["training_mAP"].round(1),
            "firing rates": rates,
            "minutes": (table["seconds"] / 60).round(1),
        }
    ).set_index("recipe")
