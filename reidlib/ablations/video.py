"""Rows of the video systems of R. Hou's thesis: IANet, TCLNet, VRSTC, RFCnet and BiCnet-TKS, beside one plain baseline.

The tables are the thesis's own, as far as T = 8 steps and these sizes allow: learners must divide T, so table 3.2's three are left out.
"""

from functools import partial

from reidlib.ablations.rows import Row, System

_TABLES = ("Table 2.1: Baseline", "Table 3.1: Baseline", "Table 4.3: Baseline", "Table 5.1: Baseline", "Table 6.2: Baseline-B 256x128")
BASELINE = Row("resnet_frames", "ResNet on frames", "resnet_frames", "baseline", start="", reference="", published=_TABLES)


def _row(model: str, name: str, title: str, group: str, *published: str, reference: str = "", **options: object) -> Row:
    """A row of a system, from fresh weights, compared with the system itself unless `reference` says otherwise."""
    return Row(name, title, model, group, options, start="", reference=reference or model, published=published)


def _system(name: str, title: str, *rows: Row, parts: tuple[str, ...] = ()) -> System:
    return System(name, title, (BASELINE, *rows), main=(name, BASELINE.name), parts=(BASELINE.name, *parts, name), video=True)


_PLAIN = BASELINE.name

_ia = partial(_row, "ianet")
_stia = partial(_ia, block="stia", reference=_PLAIN)
IANET = _system(
    "ianet",
    "IANet",
    _stia("stia_spatial", "STIA, spatial relations", "interaction", "Table 2.1: STIA-spatial", relations="spatial"),
    _stia("stia_temporal", "STIA, temporal relations", "interaction", "Table 2.1: STIA-temporal", relations="temporal"),
    _stia("stia", "STIA", "interaction", "Table 2.1: STIA"),
    _ia("cia", "CIA", "interaction", "Table 2.1: CIA", block="cia", reference=_PLAIN),
    _ia("ianet", "IANet (CIA, STIA)", "interaction", "Table 2.1: IA", "Table 2.3: CIA-STIA", reference=_PLAIN),
    _ia("ia_unsupervised", "IA, parts not supervised", "interaction", "Table 2.1: IA without L_m (stage2)", part_weight=0.0),
    _ia("ia_stage3", "IA after stage 3", "interaction", "Table 2.1: IA stage3", stages=(3,)),
    _ia("ia_stages23", "IA after stages 2 and 3", "interaction", "Table 2.1: IA stage2+3", stages=(2, 3)),
    _ia("ia_reversed", "STIA, then CIA", "order", "Table 2.3: STIA-CIA", order="stia-cia"),
    _ia("ia_parallel", "STIA beside CIA", "order", "Table 2.3: STIA+CIA", order="parallel"),
    _ia("ia_released", "IA, the release's reading", "reading", shared_relations=True, part_pooling="sum"),
    parts=("stia", "cia"),
)

_tcl = partial(_row, "tclnet")
TCLNET = _system(
    "tclnet",
    "TCLNet",
    _tcl("two_learners", "two learners, nothing erased", "learners", "Table 3.1: +TSE without SEO", seo=False, tsb=(), reference=_PLAIN),
    _tcl("tse", "TSE", "learners", "Table 3.1: +TSE", tsb=(), reference=_PLAIN),
    _tcl("tsb", "TSB", "learners", "Table 3.1: +TSB", learners=1, reference=_PLAIN),
    _tcl("tclnet", "TCLNet (TSE, TSB)", "learners", "Table 3.1: TCLNet", reference=_PLAIN),
    _tcl("tsb_stage1", "TSB after stage 1", "boosting", "Table 3.1: TCLNet, TSB at stage1", tsb=(1,)),
    _tcl("tsb_stage3", "TSB after stage 3", "boosting", "Table 3.1: TCLNet, TSB at stage3", tsb=(3,)),
    _tcl("tsb_stages23", "TSB after stages 2 and 3", "boosting", "Table 3.1: TCLNet, TSB at stage2+3", tsb=(2, 3)),
    _tcl("learners4", "four learners", "learners", learners=4),
    _tcl("tclnet_released", "TCLNet, the release's reading", "reading", seo_reading="released", tsb_reading="released", pooling="max"),
    _tcl("seo_rescaled", "SEO, the text's reading, rescaled", "reading", seo_reading="rescaled"),
    _tcl("tclnet_ia", "TCLNet with IA", "together", ia=(2,)),
    parts=("tse", "tsb"),
)


def _completed(name: str, title: str, group: str, *published: str, reference: str = "vrstc", **changes: object) -> Row:
    return Row(name, title, "vrstc", group, start="", reference=reference, published=published, completion=changes)


VRSTC = _system(
    "vrstc",
    "VRSTC",
    _row("vrstc", "non_local", "Non-local network, nothing completed", "completion", reference=_PLAIN),
    _completed("stcnet_spatial", "STCnet: spatial generator", "completion", "Table 4.3: Spa", options={"temporal": False, "critics": ()}),
    _completed("stcnet_temporal", "STCnet: both generators", "completion", "Table 4.3: Spa+Tem", options={"critics": ()}),
    _completed("stcnet_local", "STCnet: generators, local critic", "completion", "Table 4.3: +LD", options={"critics": ("local",)}),
    _completed("vrstc", "VRSTC (STCnet, Non-local)", "completion", "Table 4.3: full STCnet", reference=_PLAIN),
    _completed("vrstc_adjacent", "VRSTC, from the frames next to the hole", "reading", neighbours="adjacent"),
    parts=("non_local",),
)

_rfc = partial(_row, "rfcnet")
RFCNET = _system(
    "rfcnet",
    "RFCnet",
    _rfc("srfc", "SRFC", "regions", "Table 5.1: SRFCnet", trfc=False, reference=_PLAIN),
    _rfc("srfc_appearance", "SRFC by appearance", "regions", trfc=False, assignment="appearance", reference="srfc"),
    _rfc("srfc_position", "SRFC by position", "regions", trfc=False, assignment="position", reference="srfc"),
    _rfc("trfc", "TRFC", "regions", srfc=False, reference=_PLAIN),
    _rfc("rfcnet", "RFCnet (SRFC, TRFC)", "regions", "Table 5.1: RFCnet", reference=_PLAIN),
    _rfc("rfc_ts", "TRFC, then SRFC", "order", order="t-s"),
    _rfc("rfc_parallel", "TRFC beside SRFC", "order", order="parallel"),
    _rfc("rfc_stage2", "RFC after stage 2", "regions", "Table 5.1: RFC stage2", stages=(2,)),
    _rfc("rfc_stage3", "RFC after stage 3", "regions", "Table 5.1: RFC stage3", stages=(3,)),
    _rfc("rfc_fixed", "fixed partition", "regions", adaptive=False),
    _rfc("rfc_uncut", "cuts not supervised", "regions", "Table 5.1: without L_k", cut_weight=0.0),
    _rfc("rfc_no_foreground", "foreground not supervised", "regions", "Table 5.1: without L_f", foreground_weight=0.0),
    parts=("srfc", "trfc"),
)

_bic = partial(_row, "bicnet_tks")
_TWO = {"dao": None, "tks": ()}  # two branches alone
BICNET_TKS = _system(
    "bicnet_tks",
    "BiCnet-TKS",
    _bic("two_branches", "two branches", "branches", "Table 6.2: TB", csp=(), **_TWO, reference=_PLAIN),
    _bic("branches_csp", "two branches, CSP", "branches", "Table 6.2: TB+CSP", **_TWO, reference="two_branches"),
    _bic("branches_ao", "CSP, attention alone", "branches", "Table 6.2: +AO (no L_div)", tks=(), divergence=0.0, reference="branches_csp"),
    _bic("bicnet", "BiCnet (CSP, DAO)", "branches", "Table 6.2: BiCnet (DAO)", tks=(), reference="branches_csp"),
    _bic("tk_fixed", "BiCnet, fixed temporal kernels", "branches", "Table 6.2: BiCnet-TK fixed fusion", fusion="fixed", reference="bicnet"),
    _bic("bicnet_tks", "BiCnet-TKS", "branches", "Table 6.2: BiCnet-TKS", "Table 6.6: TKS at stage2", reference=_PLAIN),
    _bic("tks_stage1", "TKS after stage 1", "kernels", "Table 6.6: TKS at stage1", tks=(1,)),
    _bic("tks_stage3", "TKS after stage 3", "kernels", "Table 6.6: TKS at stage3", tks=(3,)),
    _bic("tks_stages23", "TKS after stages 2 and 3", "kernels", "Table 6.6: TKS at stage2+3", tks=(2, 3)),
    _bic("alpha1", "one small frame to a big one", "scales", alpha=1),
    parts=("two_branches", "bicnet"),
)

VIDEO_SYSTEMS = (IANET, TCLNET, VRSTC, RFCNET, BICNET_TKS)
#: Built against occlusion: what a set of occluded people shows unasked.
AGAINST_OCCLUSION = (VRSTC.name, RFCNET.name)
