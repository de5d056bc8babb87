"""Rows of S3CE-Net: its parts, their forms, its twins without spikes, T, and where and how long training goes."""

from reidlib.ablations.rows import RELU, Row, System

WITHOUT_SPIKES = {"neuron": {"kind": "relu"}}
# STFS and T leave the network as it is, so these rows begin with S3CE-Net's own start and differ in the spiking training alone.
_SAME_START = f"s3ce_net{RELU}"
_COSINE = {"loss": {"distance": "cosine"}}


def _sampling(**changes: object) -> dict:
    return {"sampling": changes}


_ROWS = (
    Row("resnet18_events", "ReLU twin", "resnet18_events", "reference", start="", reference="sew_resnet18"),
    Row("s3ce_net_relu", "S3CE-Net with ReLU", "s3ce_net", "reference", WITHOUT_SPIKES, start=""),
    Row("sew_resnet18", "spiking baseline", "sew_resnet18", "parts", start="resnet18_events", reference=""),
    Row("ssam", "+ SSAM", "s3ce_net", "parts", {"sampling": None}, reference="sew_resnet18"),
    Row("stfs", "+ STFS", "s3ce_net", "parts", {"ssam": ()}, reference="sew_resnet18"),
    Row("s3ce_net", "S3CE-Net (SSAM + STFS)", "s3ce_net", "parts", reference="sew_resnet18"),
    Row("joint", "joint coupling", "s3ce_net", "coupling", {"coupling": "joint"}),
    Row("spatial", "spatial attention only", "s3ce_net", "coupling", {"coupling": "spatial"}),
    Row("temporal", "temporal attention only", "s3ce_net", "coupling", {"coupling": "temporal"}),
    Row("causal", "causal attention", "s3ce_net", "coupling", {"causal": True}),
    Row("stfs_temporal", "temporal subsequences only", "s3ce_net", "sampling", _sampling(spatial=0), start=_SAME_START),
    Row("stfs_spatial", "spatial subsequences only", "s3ce_net", "sampling", _sampling(temporal=0), start=_SAME_START),
    Row("stfs_contiguous", "contiguous halves", "s3ce_net", "sampling", _sampling(temporal_form="contiguous"), start=_SAME_START),
    Row("stfs_random", "random halves", "s3ce_net", "sampling", _sampling(temporal_form="random"), start=_SAME_START),
    Row("stfs_drop", "all but one band", "s3ce_net", "sampling", _sampling(spatial_form="drop"), start=_SAME_START),
    Row("triplet_cosine", "cosine triplet", "s3ce_net", "loss", train=_COSINE),
    Row(
        "triplet_neck", "cosine triplet behind the neck", "s3ce_net", "loss", {"metric": "neck"}, train=_COSINE, reference="triplet_cosine"
    ),
    # Parts that slow learning down must be judged once it has converged.
    Row(
        "long_baseline",
        "spiking baseline, twice the steps",
        "sew_resnet18",
        "length",
        longer=2,
        start="resnet18_events",
        reference="sew_resnet18",
    ),
    Row("long_s3ce", "S3CE-Net, twice the steps", "s3ce_net", "length", longer=2, start=_SAME_START, reference="long_baseline"),
    Row("fresh_baseline", "spiking baseline, fresh weights", "sew_resnet18", "start", start="", reference="sew_resnet18"),
    Row("steps4", "T = 4", "s3ce_net", "steps", clips={"steps": 4}, start=_SAME_START),
    Row("steps16", "T = 16", "s3ce_net", "steps", clips={"steps": 16}, start=_SAME_START),
)

MAIN = ("s3ce_net", "sew_resnet18", "resnet18_events")
PARTS = ("sew_resnet18", "ssam", "stfs", "s3ce_net")
S3CE_NET = System("s3ce_net", "S3CE-Net", _ROWS, MAIN, PARTS)
