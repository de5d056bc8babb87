"""What every system in `reidlib.models.MODELS` must keep; a new system joins by its registry line (and, where needed, small options)."""

from copy import deepcopy

import pytest
import torch
from redrawn import wake
from torch import nn

from reidlib.losses import ReidLoss
from reidlib.models import MODELS, ReidOutput, build_model, spiking_layers
from reidlib.models.rfcnet import RFCnet
from reidlib.models.s3ce_net import S3CENet

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = 4
T, SIZE = 4, (64, 32)
#: Options that make a system small, all else at its defaults; a system that is small by itself needs none.
SMALL = {
    "s3ce_net": {"width": 4, "head_channels": 4},
    "sew_resnet18": {"width": 4},
    "resnet18_events": {"width": 4},
    "sdcl": {"backbone": "resnet18", "width": 4, "size": SIZE, "levels": 2},
    "psta": {"backbone": "resnet18", "width": 4, "size": SIZE, "levels": 2},
    "resnet50": {"width": 4},
    "resnet_frames": {"backbone": "resnet18", "width": 4},
    "ianet": {"backbone": "resnet18", "width": 4},
    "tclnet": {"backbone": "resnet18", "width": 4},
    "rfcnet": {"backbone": "resnet18", "width": 4, "size": SIZE},
    "bicnet_tks": {"backbone": "resnet18", "width": 4, "size": SIZE},
    "vrstc": {"backbone": "resnet18", "width": 4},
}
IF = {"kind": "if", "alpha": 1.0}
#: More forms of the same systems, which must keep the same promises.
FORMS = {
    "s3ce_net if": ("s3ce_net", {"neuron": IF}),
    "s3ce_net joint causal": ("s3ce_net", {"neuron": IF, "coupling": "joint", "causal": True, "ssam": (1, 3)}),
    "s3ce_net temporal causal": ("s3ce_net", {"neuron": IF, "coupling": "temporal", "causal": True}),
    "s3ce_net random subsets, soft reset": (
        "s3ce_net",
        {"neuron": IF | {"soft_reset": True}, "sampling": {"temporal_form": "random", "spatial_form": "drop"}},
    ),
    "s3ce_net mean pooling, step loss": (
        "s3ce_net",
        {"neuron": IF, "pooling": "mean", "step_loss": 1.0, "metric": "neck", "embedding": "feature"},
    ),
    "sew_resnet18 if": ("sew_resnet18", {"neuron": IF}),
    "sew_resnet18 plif": ("sew_resnet18", {"neuron": {"kind": "plif", "decay_input": False}}),
    "sew_resnet18 ilif": ("sew_resnet18", {"neuron": {"kind": "ilif"}}),
    "sdcl events only": ("sdcl", {"modalities": ("events",), "outside": "regular"}),
    "sdcl learned offsets, concatenation": ("sdcl", {"offsets": "learned", "fusion": "concat", "pyramid": "residual"}),
    "sdcl attention one way": ("sdcl", {"fusion": "attention", "direction": "e2f", "pyramid": "none", "spiking": 1, "mappings": 1}),
    "ianet released, stages 2 and 3": ("ianet", {"stages": (2, 3), "shared_relations": True, "part_pooling": "sum", "pooling": "max"}),
    "ianet parallel, of events": ("ianet", {"order": "parallel", "inputs": ("events",), "metric": "feature", "embedding": "feature"}),
    "ianet spatial, stia-cia": ("ianet", {"order": "stia-cia", "relations": "spatial", "parts": 3}),
    "ianet of pictures": ("ianet", {"block": "image", "stages": (2, 3)}),
    "tclnet released": ("tclnet", {"seo_reading": "released", "tsb_reading": "released", "pooling": "max"}),
    "tclnet with ia, of events": ("tclnet", {"ia": (2,), "inputs": ("events",), "metric": "feature", "embedding": "feature"}),
    "tclnet as printed, 4 learners": ("tclnet", {"learners": 4, "seo_reading": "printed", "tsb": (1, 3)}),
    "rfcnet image, the release's ways": (
        "rfcnet",
        {"trfc": False, "foreground": "modulated", "places": "corner", "similarity": "mean", "metric": "feature", "embedding": "feature"},
    ),
    "rfcnet fixed, parallel": ("rfcnet", {"adaptive": False, "order": "parallel", "foreground": "none", "regions": 8, "embeddings": False}),
    "rfcnet of events": ("rfcnet", {"inputs": ("events",), "order": "t-s", "assignment": "position"}),
    "bicnet_tks the release's stripes": ("bicnet_tks", {"areas": "stripes", "kernels": (3, 5, 7), "tks": (2, 3)}),
    "bicnet_tks resized, of events": (
        "bicnet_tks",
        {"inputs": ("events",), "small": "resized", "alpha": 1, "fusion": "fixed", "pooling": "mean", "csp": (2,)},
    ),
    "vrstc two blocks": ("vrstc", {"stages": (2, 3), "metric": "feature", "embedding": "feature"}),
    "vrstc first step": ("vrstc", {"stages": ()}),
    "psta resnet50": ("psta", {"backbone": "resnet50", "metric": "feature", "embedding": "feature", "pooling": "max"}),
}
CASES = {name: (name, {}) for name in MODELS} | FORMS


def make(case: str, seed: int = 0) -> nn.Module:
    name, options = CASES[case]
    torch.manual_seed(seed)
    return wake(build_model(name, CLASSES, **SMALL.get(name, {}) | options), seed)


def inputs(model: nn.Module, B: int = 6, seed: int = 0) -> dict[str, torch.Tensor]:
    """Sparse counts like those of a clip, or pictures, for whatever the model takes."""
    g = torch.Generator().manual_seed(seed)
    made = {}
    if "events" in model.modalities:
        made["events"] = (2.5 * torch.rand(B, T, 2, *SIZE, generator=g)) * (torch.rand(B, T, 2, *SIZE, generator=g) < 0.5)
    if "frames" in model.modalities:
        made["frames"] = torch.rand(B, T, 3, *SIZE, generator=g)
    return made


def supervised(model: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same with labels of body parts, from which alone the partition of RFCnet learns."""
    if not isinstance(model, RFCnet):
        return batch
    B = len(next(iter(batch.values())))
    bands = torch.arange(SIZE[0])[:, None] * 6 // SIZE[0]  # 0 to 5, downwards: background, four bands of the body, background
    return batch | {"parts": (bands % 5).expand(B, T, *SIZE)}


def rows(batch: dict, chosen) -> dict:
    return {name: value[chosen] for name, value in batch.items()}


def trained_statistics(model: nn.Module) -> nn.Module:
    """In eval mode, with BatchNorm statistics that fit the data: with the initial ones deep spiking layers hear nothing."""
    model.train()
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.momentum = 1.0
        for _ in range(2):  # statistics of the layers below settle first
            model(**inputs(model, seed=50))
    return model.eval()


def embed(model: nn.Module, batch: dict) -> torch.Tensor:
    with torch.inference_mode():
        return model(**batch)


def unit(embeddings: torch.Tensor) -> torch.Tensor:
    """Rows of unit length, as they are compared in a test."""
    return embeddings / embeddings.norm(dim=1, keepdim=True)


@pytest.fixture(params=CASES)
def case(request) -> str:
    return request.param


@pytest.fixture
def model(case) -> nn.Module:
    return trained_statistics(make(case))


def test_outputs_have_the_agreed_form(case):
    model = make(case)
    assert set(model.modalities) <= {"events", "frames"} and isinstance(model.modalities, tuple)
    batch = inputs(model)
    output = model.train()(**batch)
    assert isinstance(output, ReidOutput) and len(output.features) == len(output.logits) == len(output.weights) >= 1
    for feature, logits in zip(output.features, output.logits, strict=True):
        assert feature.shape[0] == logits.shape[0] == 6 and logits.shape[1] == CLASSES and feature.ndim == 2
        assert feature.isfinite().all() and logits.isfinite().all()
    assert all(value.ndim == 0 for value in output.losses.values())
    embedding = embed(model.eval(), batch)
    widths = [feature.shape[1] for feature in output.features]  # heads with a feature each are joined, others lead up to the last
    assert embedding.shape in ((6, widths[-1]), (6, sum(widths))) and embedding.isfinite().all()


def test_gradient_reaches_every_parameter(case):
    """In one batch, from the first step on."""
    model = make(case).train()
    terms = ReidLoss()(model(**supervised(model, inputs(model))), torch.tensor([0, 0, 1, 1, 2, 3]))
    assert terms["total"].isfinite()
    terms["total"].backward()
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert p.grad is not None, f"no gradient at {name}"
            assert p.grad.isfinite().all(), f"gradient not finite at {name}"
            assert p.grad.abs().max() > 0, f"gradient is zero at {name}"


def test_every_parameter_takes_part_in_the_embedding_or_the_logits(model):
    """The embedding is no constant, and tells different input apart."""
    found = embed(model, inputs(model))
    assert (found.std(0) > 0).float().mean() > 0.3
    distances = torch.cdist(found, found) + 1e9 * torch.eye(6)
    assert distances.min() > 1e-3


def assert_same(model: nn.Module, found: torch.Tensor, expected: torch.Tensor) -> None:
    """Embeddings of length 1 agree but for the rounding between batch sizes; without spikes and over fifty layers more of it adds up."""
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-6 if "frames" in model.modalities else 1e-6)


def test_embedding_does_not_depend_on_batch_mates(model):
    batch, others = inputs(model), inputs(model, seed=7)
    mixed = {name: torch.cat([value[2:3], others[name][:4]]) for name, value in batch.items()}
    reference = unit(embed(model, batch))[2]
    assert_same(model, unit(embed(model, rows(batch, slice(2, 3))))[0], reference)
    assert_same(model, unit(embed(model, mixed))[0], reference)


def test_embedding_does_not_depend_on_batch_order(model):
    batch, order = inputs(model), [3, 1, 5, 0, 4, 2]
    assert_same(model, unit(embed(model, rows(batch, order))), unit(embed(model, batch))[order])


def test_embedding_does_not_depend_on_earlier_batches(model):
    batch = inputs(model)
    first = embed(model, batch)
    embed(model, inputs(model, B=6, seed=8))  # same shape: left-over state would fit
    again = embed(model, batch)
    embed(model, inputs(model, B=2, seed=9))
    assert torch.equal(first, again) and torch.equal(first, embed(model, batch))


def test_neither_does_a_training_step_depend_on_earlier_state(case):
    """Two equal steps from equal weights, one of them after another batch (whose statistics are put back)."""
    model = make(case).train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(1)
    first = model(**inputs(model))
    model(**inputs(model, seed=3))
    model.load_state_dict(state)
    torch.manual_seed(1)
    again = model(**inputs(model))
    assert all(torch.equal(a, b) for a, b in zip(first.logits + first.features, again.logits + again.features, strict=True))


def test_save_and_load_is_identical(case, model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = make(case, seed=9).eval()
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    batch = inputs(model)
    assert torch.equal(embed(model, batch), embed(other, batch))


def test_same_seed_same_model_and_step(case):
    def run(seed):
        model = make(case, seed).train()
        output = model(**inputs(model))
        ReidLoss()(output, torch.tensor([0, 0, 1, 1, 2, 3]))["total"].backward()
        return [p.grad for p in model.parameters() if p.grad is not None] + [p.detach() for p in model.parameters()] + output.logits

    first, again, other = run(5), run(5), run(6)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_input_is_left_alone(model):
    batch = inputs(model)
    before = {name: value.clone() for name, value in batch.items()}
    embed(model, batch)
    assert all(torch.equal(batch[name], before[name]) for name in batch)


def test_eval_changes_nothing_in_the_model(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    embed(model, inputs(model, seed=4))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_silence_and_single_clips_give_finite_embeddings(model):
    silent = {name: torch.zeros_like(value[:1]) for name, value in inputs(model).items()}
    assert embed(model, silent).isfinite().all()


def test_a_single_time_step_is_legal_in_the_test(model):
    found = embed(model, {name: value[:, :1] for name, value in inputs(model).items()})
    assert found.shape[0] == 6 and found.isfinite().all()


def test_attention_maps(case, model):
    if not hasattr(model, "attention"):
        pytest.skip(f"{case} has no attention")
    batch = inputs(model)
    before, hooks = embed(model, batch), _hooks(model)
    maps = model.attention(**batch)
    for name, value in maps.items():
        assert value.ndim == 4 and value.shape[:2] == (6, T), name
        assert value.isfinite().all() and not value.requires_grad
    if isinstance(model, S3CENet):
        assert set(maps) == {f"stage{stage}" for stage in model.backbone.after}
        alone = model.attention(**rows(batch, slice(2, 3)))
        assert all(torch.equal(value[0], maps[name][2]) for name, value in alone.items())
    assert torch.equal(embed(model, batch), before) and _hooks(model) == hooks


def _hooks(model: nn.Module) -> int:
    return sum(len(part._forward_hooks) for part in model.modules())


@pytest.mark.parametrize("modality, channels", [("events", 2), ("frames", 3)])
def test_wrong_shapes_are_named(case, modality, channels):
    model = make(case)
    if modality not in model.modalities:
        pytest.skip(f"{case} takes no {modality}")
    good = (2, T, channels, *SIZE)
    for shape in (good[:-1], (2, T, channels + 1, *SIZE), good[1:], (2, 1, *good[1:])):
        with pytest.raises(ValueError, match=rf"{modality} of .*expected \[B, T, {channels}, H, W\]") as error:
            model(**inputs(model, B=2) | {modality: torch.zeros(shape)})
        assert str(shape) in str(error.value)


def test_who_takes_events_spikes_but_the_analogue_twin_and_networks_of_frames(case, model):
    analogue = CASES[case][0] == "resnet18_events" or "inputs" in CASES[case][1]
    assert bool(spiking_layers(model)) == ("events" in model.modalities and not analogue)


def test_unknown_model():
    with pytest.raises(ValueError, match=r"unknown model 'resnet19'; choose one of s3ce_net, .*, sdcl"):
        build_model("resnet19", 4)


@pytest.mark.parametrize("classes", [1, 0, -3])
@pytest.mark.parametrize("name", MODELS)
def test_one_identity(name, classes):
    with pytest.raises(ValueError, match=f"{classes} training identities.*at least 2"):
        build_model(name, classes)


@pytest.mark.parametrize("name", MODELS)
def test_unknown_options_are_named(name):
    with pytest.raises((TypeError, ValueError), match="heigth"):
        build_model(name, 4, **SMALL.get(name, {}), heigth=4)


@pytest.mark.parametrize("option, fields", [("neuron", {"kind": "if", "tua": 2.0}), ("sampling", {"temporl": 2})])
def test_unknown_fields_of_options_are_named(option, fields):
    with pytest.raises((TypeError, ValueError), match=r"tua|temporl"):
        build_model("s3ce_net", 4, **{option: fields})


@pytest.mark.parametrize("case", CASES)
def test_options_are_not_changed_by_building(case):
    """Presets share their option dicts between runs."""
    name, options = CASES[case]
    options = deepcopy(SMALL.get(name, {}) | options)
    before = deepcopy(options)
    build_model(name, CLASSES, **options)
    assert options == before


def test_heads_must_agree_in_number():
    one = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="2 features, 1 logits"):
        ReidOutput([one, one], [one])
    assert ReidOutput([one, one], [one, one]).weights == [1.0, 1.0]
