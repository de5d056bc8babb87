"""Rows of SDCL: what each input gives, Table 2 (fusion and direction), Figure 6 (layers), Table 4 (pyramid), degraded training video."""

from reidlib.ablations.rows import Row, System


def _variant(name: str, title: str, group: str, published: str = "", **options: object) -> Row:
    return Row(name, title, "sdcl", group, options, start="", reference="sdcl", published=(f"SDCL, {published}",) * bool(published))


_DEGRADED = {"degrade": 0.5}
_ITSELF = tuple(f"SDCL, {part}" for part in ("fusion: ours both", "spiking layers: 2", "deformable mappings: 3", "pyramid: FFB"))

_ROWS = (
    Row("psta", "PSTA (frames alone)", "psta", "inputs", start="", reference=""),
    _variant("sdcl_events", "SDCL, events alone", "inputs", modalities=("events",)),
    Row("sdcl", "SDCL (frames + events)", "sdcl", "inputs", start="", reference="psta", published=_ITSELF),
    _variant("fusion_none", "no exchange", "fusion", "fusion: none", fusion="none"),
    _variant("fusion_concat", "concatenation", "fusion", "fusion: concat", fusion="concat"),
    _variant("fusion_add", "addition", "fusion", "fusion: addition", fusion="add"),
    _variant("attention_e2f", "attention, events to frames", "fusion", "fusion: attention E2F", fusion="attention", direction="e2f"),
    _variant("attention_f2e", "attention, frames to events", "fusion", "fusion: attention F2E", fusion="attention", direction="f2e"),
    _variant("attention", "attention, both ways", "fusion", "fusion: attention both", fusion="attention"),
    _variant("alignment_e2f", "alignment, events to frames", "fusion", "fusion: ours E2F", direction="e2f"),
    _variant("alignment_f2e", "alignment, frames to events", "fusion", "fusion: ours F2E", direction="f2e"),
    _variant("spiking1", "1 spiking layer", "spiking", "spiking layers: 1", spiking=1),
    _variant("spiking3", "3 spiking layers", "spiking", "spiking layers: 3", spiking=3),
    _variant("spiking4", "4 spiking layers", "spiking", "spiking layers: 4", spiking=4),
    _variant("mappings0", "no event mapping", "mappings", mappings=0),
    _variant("mappings1", "1 event mapping", "mappings", "deformable mappings: 1", mappings=1),
    _variant("mappings2", "2 event mappings", "mappings", "deformable mappings: 2", mappings=2),
    _variant("mappings4", "4 event mappings", "mappings", "deformable mappings: 4", mappings=4),
    _variant("offsets_learned", "learned offsets", "mappings", offsets="learned"),
    _variant("outside_regular", "plain grid where no event is", "mappings", outside="regular"),
    _variant("pyramid_none", "no pyramid", "pyramid", "pyramid: none", pyramid="none"),
    _variant("pyramid_residual", "residual pyramid", "pyramid", "pyramid: residual block", pyramid="residual"),
    _variant("relation_squared", "relation squared, as in PSTA", "pyramid", relation="squared"),
    Row("psta_degraded", "PSTA, degraded training video", "psta", "training", clips=_DEGRADED, start="", reference="psta"),
    Row("sdcl_degraded", "SDCL, degraded training video", "sdcl", "training", clips=_DEGRADED, start="", reference="psta_degraded"),
)

SDCL = System("sdcl", "SDCL", _ROWS, main=("sdcl", "psta", "sdcl_events"), parts=("psta", "sdcl_events", "fusion_none", "sdcl"), video=True)
