"""RFCnet: at first the plain baseline, its losses from labels of parts, the published size and cost, a look inside."""

import pytest
import torch
import torch.nn.functional as F
from redrawn import redraw, wake
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from reidlib.efficiency import count_parameters
from reidlib.models import build_model
from reidlib.models.layers.part_labels import cut_classes, cut_fractions, foreground_target
from reidlib.models.layers.partition import cut_loss
from reidlib.models.rfcnet import RFCnet, foreground_loss, stage_size

SIZE, T = (64, 32), 3
SMALL = {"backbone": "resnet18", "width": 4, "size": SIZE}


def rfcnet(seed=0, **options) -> RFCnet:
    torch.manual_seed(seed)
    return build_model("rfcnet", 5, **SMALL | options)


def clips(B=2, seed=0, channels=3) -> torch.Tensor:
    return torch.randn(B, T, channels, *SIZE, generator=torch.Generator().manual_seed(seed))


def people(B=2, missing=False) -> torch.Tensor:
    """A body of four bands, not in the middle; missing: the lower half unknown."""
    parts = torch.zeros(B, T, *SIZE, dtype=torch.uint8)
    for label, (first, last) in enumerate(((8, 16), (16, 36), (36, 52), (52, 60)), start=1):
        parts[..., first:last, 4:20] = label
    if missing:
        parts[..., 30:, :] = 255
    return parts


@pytest.mark.parametrize("options", [{}, {"order": "parallel"}, {"trfc": False, "stages": (1, 4)}, {"adaptive": False}], ids=str)
def test_at_first_it_is_the_plain_baseline(options):
    model, x = rfcnet(**options).eval(), clips()
    plain = build_model("resnet_frames", 5, backbone="resnet18", width=4).eval()
    weights = {name.replace("backbone.trunk.", "backbone."): value for name, value in model.state_dict().items() if ".after." not in name}
    plain.load_state_dict(weights)
    with torch.no_grad():
        assert torch.equal(model(x), plain(x))
        assert not torch.allclose(wake(model)(x), plain(x))


def test_frames_meet_in_time_completion_alone():
    """A clip in other order has the same embedding; a frame changed changes the others' share."""
    model, x = redraw(rfcnet()).eval(), clips()
    with torch.no_grad():
        torch.testing.assert_close(model(x[:, [2, 0, 1]]), model(x), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(model(x), torch.stack([model(x[:, t : t + 1]) for t in range(T)]).mean(0), atol=1e-2)
        single = redraw(rfcnet(trfc=False)).eval()
        torch.testing.assert_close(single(x), torch.stack([single(x[:, t : t + 1]) for t in range(T)]).mean(0), rtol=1e-4, atol=1e-4)


# Losses


@pytest.mark.parametrize("missing", [False, True])
def test_losses_are_those_of_5_13(missing):
    model, x, parts, seen = wake(rfcnet()).train(), clips(), people(missing=missing), {}
    losses = model(x, parts).losses
    assert set(losses) == {"cuts", "foreground", "similarity"}
    model.backbone(x, seen)
    fractions = cut_fractions(parts.flatten(0, 1), ((1,), (2,), (3,), (4,)), (False, False, True, True))
    cuts = foreground = 0.0
    for stage, (H, W) in ((2, (8, 4)), (3, (4, 2))):
        classes = [H - 3, H - 2, H - 1, W - 1]
        labels = cut_classes(fractions, [H, H, H, W], classes)
        assert (labels < 0).any() == missing
        cuts += cut_loss(seen[f"cuts{stage}"].flatten(0, 1), labels, classes) / 2
        target, known = foreground_target(parts.flatten(0, 1), (H, W))
        A = seen[f"foreground{stage}"].sigmoid().flatten(0, 1)
        entropy = -(target * A.log() + (1 - target) * (1 - A).log())
        foreground += (known * entropy).sum() / known.sum() / 2
    similarity = (seen["similarity2"] + seen["similarity3"]) / 2
    for name, expected in (("cuts", 0.1 * cuts), ("foreground", 0.5 * foreground), ("similarity", 0.05 * similarity)):
        torch.testing.assert_close(losses[name], expected, msg=name)
        assert losses[name] > 1e-3


def test_terms_are_there_only_with_what_they_need():
    x, parts = clips(), people()
    assert set(rfcnet().train()(x).losses) == {"similarity"}
    for options, names in (
        ({"adaptive": False}, {"foreground", "similarity"}),
        ({"foreground": "none"}, {"cuts", "similarity"}),
        ({"srfc": False}, {"cuts", "foreground"}),
        ({"cut_weight": 0}, {"foreground", "similarity"}),
        ({"foreground_weight": 0, "similarity_weight": 0}, {"cuts"}),
        ({"srfc": False, "trfc": False, "foreground": "modulated"}, {"foreground"}),
    ):
        assert set(rfcnet(**options).train()(x, parts).losses) == names
    assert "cuts" in rfcnet(regions=3).train()(x, parts).losses


def test_frames_without_any_label_teach_nothing():
    model = wake(rfcnet(similarity_weight=0)).train()
    losses = model(clips(), torch.full((2, T, *SIZE), 255)).losses
    assert {name: value.item() for name, value in losses.items()} == {"cuts": 0.0, "foreground": 0.0}


def test_other_labels_may_stand_for_the_bands():
    x, parts = clips(), people()
    renamed = torch.where(parts > 0, parts + 10, parts)
    own, other = rfcnet().train(), rfcnet(bands=[[11], [12], [13], [14]]).train()
    assert torch.equal(own(x, parts).losses["cuts"], other(x, renamed).losses["cuts"])
    assert own(x, renamed).losses["cuts"] == 0


def test_the_partition_learns_from_parts_alone():
    """What its masks are used for gives it no gradient; a few steps of L_k do move the cuts to the person."""
    model = rfcnet(stages=(2,), trfc=False).train()
    partition = model.backbone.after["2"][0].partition
    model(clips()).losses["similarity"].backward()
    assert all(p.grad is None for p in partition.parameters())
    clip, labels = clips(4), cut_fractions(people(4).flatten(0, 1), ((1,), (2,), (3,), (4,)), partition.halved)
    with torch.no_grad():
        maps = model.backbone.trunk.layer1(model.backbone.stem(clip).flatten(0, 1))
        maps = model.backbone.trunk.layer2(maps)
    labels = cut_classes(labels, partition.extents, partition.classes)
    optimizer = torch.optim.Adam(partition.parameters(), 0.02)
    for _ in range(30):
        optimizer.zero_grad()
        cut_loss(partition.logits(maps), labels, partition.classes).backward()
        optimizer.step()
    cuts = partition.decode(partition.logits(maps))
    assert cuts.float().mean(0).tolist() == pytest.approx([1, 3, 5, 1], abs=0.2)  # rows 16, 36, 52 of 64, column 12 of 32


def test_the_foreground_loss_ignores_what_is_unknown():
    logits, parts = torch.randn(2, 8, 4), people(1)[0, :2]
    hidden = parts.clone()
    hidden[:, 32:] = 255
    top = F.binary_cross_entropy_with_logits(logits[:, :4], foreground_target(parts, (8, 4))[0][:, :4])
    torch.testing.assert_close(foreground_loss(logits, hidden), top)


# Size and cost


def cost(T: int = 4, **options) -> tuple[float, float]:
    """Millions of parameters without neck and classifier, and giga-MACs per frame, at 256 x 128 (the thesis' way to count)."""
    with torch.device("meta"):
        model = build_model("rfcnet", 5, **options).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            assert model(torch.zeros(1, T, 3, 256, 128)).shape == (1, 2048)
    return (count_parameters(model) - count_parameters(model.neck)) / 1e6, counter.get_total_flops() / 2e9 / T


IMAGE = {"trfc": False, "T": 1}
TABLES = {  # printed parameters, those by the specification's arithmetic, printed GFLOPs
    "5.1 foreground": ({"stages": (2,), "srfc": False, "trfc": False, "foreground": "modulated"}, 23.5, 23.508, 4.06),
    "5.1 SRFC": ({"stages": (2,), "trfc": False}, 24.0, 23.97, 4.21),
    "5.1 TRFC": ({"stages": (2,), "srfc": False}, 23.8, None, 4.20),
    "5.1 TRFC without its partition": ({"stages": (2,), "srfc": False, "adaptive": False}, 23.8, 23.77, 4.20),
    "5.1 S-T-RFC, stage 2": ({"stages": (2,)}, 24.2, 24.23, 4.34),
    "5.1 stage 3": ({"stages": (3,)}, 26.2, 26.20, 4.34),
    "5.1 RFCnet": ({}, 26.9, 26.92, 4.62),
    "5.2 stage 1": ({"stages": (1,)} | IMAGE, 23.7, 23.72, 4.21),
    "5.2 SRFC, stage 2": ({"stages": (2,)} | IMAGE, 23.9, 23.97, 4.20),
    "5.2 stage 3": ({"stages": (3,)} | IMAGE, 25.2, 25.15, 4.20),
    "5.2 stage 4": ({"stages": (4,)} | IMAGE, 30.0, 30.01, 4.63),
    "5.2 RFCnet": (IMAGE, 25.6, 25.61, 4.34),
}


@pytest.mark.parametrize("row", TABLES)
def test_published_size_and_cost(row):
    """Tables 5.1 and 5.2; they round and truncate, and their baseline is printed as 4.06 where the convolutions cost 4.053."""
    options, printed, arithmetic, giga_macs = TABLES[row]
    millions, found = cost(**options)
    assert millions == pytest.approx(printed, abs=0.1)
    assert arithmetic is None or millions == pytest.approx(arithmetic, abs=0.01)
    assert found == pytest.approx(giga_macs, abs=0.02)


def test_three_forms_have_the_same_layers():
    shapes = [{name: p.shape for name, p in rfcnet(order=order).named_parameters()} for order in ("s-t", "t-s", "parallel")]
    assert shapes[0] == shapes[1] == shapes[2]


def test_stage_sizes_are_those_of_the_trunk():
    with torch.device("meta"):
        for size in ((64, 32), (100, 60), (33, 47)):
            backbone = build_model("rfcnet", 5, **SMALL | {"size": (64, 32)}).backbone
            x = backbone.stem(torch.zeros(1, 1, 3, *size))
            for stage in (1, 2, 3, 4):
                x = getattr(backbone.trunk, f"layer{stage}")(x.flatten(0, 1)).unflatten(0, (1, 1))
                assert tuple(x.shape[3:]) == stage_size(size, stage)


# Around it


def test_inner_views_show_the_test_time_network():
    model, x = wake(rfcnet()).train(), clips()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    views = model.inner_views(x)
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert set(views) == {"regions2", "foreground2", "completed2", "regions3", "foreground3", "completed3"}
    assert views["regions2"].shape == (2, T, 6, 8, 4) and torch.equal(views["regions2"].sum(2), torch.ones(2, T, 8, 4))
    assert views["foreground3"].shape == (2, T, 4, 2) and 0 <= views["foreground3"].min() < views["foreground3"].max() <= 1
    again = model.eval().inner_views(x)
    assert all(torch.equal(value, again[name]) for name, value in views.items()) and not model.training
    with torch.no_grad():
        x2 = model.backbone.stage(2, model.backbone.stage(1, model.backbone.stem(x)))
    torch.testing.assert_close(views["completed2"], x2.norm(dim=2))
    assert set(rfcnet(foreground="none", stages=(3,)).inner_views(x)) == {"regions3", "completed3"}


class Shift(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.by = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x, seen=None):
        return x + self.by


def test_further_blocks_stand_behind_its_own():
    model, x = rfcnet(after={2: [Shift], 4: [Shift, Shift]}).eval(), clips()
    assert [type(block).__name__ for block in model.backbone.after["2"]] == ["RegionCompletion", "Shift"]
    with torch.no_grad():
        plain = rfcnet().eval()
        plain.load_state_dict({name: value for name, value in model.state_dict().items() if not name.endswith(".by")})
        feature = plain.backbone.stage(
            4, plain.backbone.stage(3, plain.backbone.stage(2, plain.backbone.stage(1, plain.backbone.stem(x))) + 1)
        )
        torch.testing.assert_close(model(x), model.neck.norm((feature + 2).mean((1, 3, 4))))


def test_it_reads_events_as_well():
    model, x = wake(rfcnet(inputs=["events"])).train(), clips(channels=2)
    assert model.modalities == ("events",)
    output = model(events=x, parts=people())
    sum(output.losses.values(), output.logits[0].square().sum()).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters() if p.requires_grad)
    assert model.eval()(events=x).shape == (2, 32) and model.inner_views(events=x)["regions2"].shape == (2, T, 6, 8, 4)
    with pytest.raises(ValueError, match="takes events, but frames are given"):
        model(frames=clips(), events=x)


def test_metric_and_embedding_have_their_place():
    model, x = rfcnet(metric="feature", embedding="feature").eval(), clips()
    with torch.no_grad():
        feature = model(x)
        assert torch.equal(rfcnet().eval()(x), rfcnet().neck.eval().norm(feature))
        output = model.train()(x)
        assert not torch.allclose(output.features[0].mean(0), torch.zeros(32), atol=1e-2)
        assert torch.allclose(rfcnet().train()(x).features[0].mean(0), torch.zeros(32), atol=1e-5)


def test_bad_input_is_named():
    model = rfcnet().train()
    with pytest.raises(ValueError, match=r"frames of 32 x 32 pixels, but this model was built for size=\(64, 32\)"):
        model(clips()[..., :32, :])
    with pytest.raises(ValueError, match=r"parts of shape \(2, 3, 64, 30\): .*\(2, 3, 64, 32\)"):
        model(clips(), people()[..., :30])
    with pytest.raises(ValueError, match=r"parts of type torch.float32: expected whole numbers"):
        model(clips(), people().float())
    for options, message in (
        ({"stages": (2, 5)}, r"after stages \(2, 5\)"),
        ({"stages": ()}, "choose some of"),
        ({"bands": ((1,), (2,))}, "2 bands"),
        ({"metric": "end"}, "unknown metric 'end'"),
        ({"inputs": ("sound",)}, "one kind of clip"),
        ({"regions": 9}, "9 regions"),
        ({"size": (32, 32)}, "a map of 2 x 2 is too small for 6 regions"),
    ):
        with pytest.raises(ValueError, match=message):
            rfcnet(**options)
