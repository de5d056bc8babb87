"""What was tried to make the spiking networks learn: the table of a recipe search, as it is kept under reports/study/."""

from pathlib import Path

import pandas as pd

COLUMNS = ("name", "change", "data", "steps", "validation_mAP", "training_mAP", "firing_low", "firing_high", "seconds")
TABLE = Path(__file__).resolve().parents[2] / "reports" / "study" / "recipe_search.csv"


def recipe_search(path: str | Path = TABLE) -> pd.DataFrame | None:
    """The recipes tried, by the data they were tried on, best validation mAP first, or None where the table is absent.

    data: people and batches that a group of recipes shares; only lines of one group can be compared. validation_mAP, training_mAP: percent;
    firing_low, firing_high: lowest and highest firing rate over the layers. Raises ValueError for a table without the columns.
    """
    if not Path(path).is_file():
        return None
    table = pd.read_csv(path)
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing or not len(table):
        raise ValueError(f"{path} must have rows and the columns {', '.join(COLUMNS)}; missing: {', '.join(missing) or 'rows'}")
    groups = {data: -place for place, data in enumerate(dict.fromkeys(table["data"]))}  # the latest first
    best_first = table.assign(group=table["data"].map(groups)).sort_values(
        ["group", "validation_mAP"], ascending=[True, False], kind="stable"
    )
    return best_first.drop(columns="group").reset_index(drop=True)


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
