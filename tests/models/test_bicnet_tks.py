"""BiCnet-TKS: two branches of one network, the published size and cost, a look inside."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from redrawn import wake
from torch.utils.flop_counter import FlopCounterMode

from reidlib.efficiency import count_parameters
from reidlib.models import build_model
from reidlib.models.bicnet_tks import BiCnetTKS

SIZE, T = (64, 32), 8
SMALL = {"backbone": "resnet18", "width": 4, "size": SIZE}
TWO_BRANCHES = {"csp": (), "dao": None, "tks": ()}


def bicnet(seed=0, **options) -> BiCnetTKS:
    torch.manual_seed(seed)
    return build_model("bicnet_tks", 5, **SMALL | options)


def clips(B=2, T=T, seed=0, channels=3) -> torch.Tensor:
    return torch.randn(B, T, channels, *SIZE, generator=torch.Generator().manual_seed(seed))


def stages(model: BiCnetTKS, x: torch.Tensor) -> torch.Tensor:
    for stage in (1, 2, 3, 4):
        x = getattr(model.backbone.trunk, f"layer{stage}")(x)
    return x


@pytest.mark.parametrize("small", ["pooled", "resized"])
@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_two_branches_are_the_mean_of_two_means(small, pooling):
    """Frame by frame, (6.1): frames 0 and 4 are big, all others small."""
    model, x = bicnet(small=small, pooling=pooling, embedding="feature", **TWO_BRANCHES).eval(), clips()
    trunk = model.backbone.trunk
    pool = {"max": lambda m: m.amax((2, 3)), "mean": lambda m: m.mean((2, 3))}[pooling]
    found = {"big": [], "small": []}
    with torch.no_grad():
        for t in range(T):
            kind, picture = ("small", "big")[t % 4 == 0], x[:, t]
            if kind == "small" and small == "resized":
                picture = F.interpolate(picture, (32, 16), mode="bilinear")
            maps = trunk.maxpool(trunk.relu(trunk.bn1(trunk.conv1(picture))))
            if kind == "small" and small == "pooled":
                maps = F.max_pool2d(maps, 2)
            found[kind].append(pool(stages(model, maps)))
        expected = (sum(found["big"]) / 2 + sum(found["small"]) / 6) / 2
        torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("areas", ["positions", "stripes"])
def test_dao_and_tks_change_nothing_at_first(areas):
    x = clips()
    model, plain = bicnet(areas=areas).eval(), bicnet(dao=None, tks=()).eval()
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if not name.startswith(("dao.", "tks."))})
    with torch.no_grad():
        assert torch.equal(model(x), plain(x))
        assert not torch.allclose(wake(model)(x), plain(x), atol=1e-3)


def test_blocks_stand_behind_their_stages():
    """Small maps get the details first, then both kinds attend, then the kernels."""
    model, x = wake(bicnet(dao=3, tks=(2, 3))).eval(), clips()
    with torch.no_grad():
        big, small = model._stem(x)
        for stage in (1, 2, 3, 4):
            big, small = model.backbone.stage(stage, big), model.backbone.stage(stage, small)
            if stage < 4:
                small = small + model.csp[str(stage)](big)
            if stage == 3:
                big, small = model.dao["3"](big, small)
            if stage in (2, 3):
                big, small = model.tks[str(stage)](big, small)
        feature = (big.amax((3, 4)).mean(1) + small.amax((3, 4)).mean(1)) / 2
        torch.testing.assert_close(model(x), model.neck.norm(feature))


@pytest.mark.parametrize("alpha, steps", [(1, 2), (2, 6), (3, 4), (3, 12), (4, 5)])
def test_clips_of_any_number_of_groups(alpha, steps):
    model = bicnet(alpha=alpha)
    output = model.train()(clips(T=steps))
    assert output.features[0].shape == (2, 32) and set(output.losses) == ({"divergence3"} if alpha > 1 else set())
    assert model.eval()(clips(T=steps)).isfinite().all()


def test_a_clip_is_filled_up_from_its_beginning():
    model, x = wake(bicnet()).eval(), clips(T=6)
    with torch.no_grad():
        torch.testing.assert_close(model(x), model(torch.cat((x, x[:, :2]), 1)))
        torch.testing.assert_close(model(x[:, :1]), model(x[:, [0, 0, 0, 0]]))
    with pytest.raises(ValueError, match="clips of 6 steps: with alpha=3 training needs a number divisible by 4"):
        model.train()(x)


@pytest.mark.parametrize("size", [(32, 32), (96, 64), (160, 96)])
def test_any_size_divisible_by_32(size):
    x = torch.randn(2, 4, 3, *size)
    for areas in ("positions", "stripes"):
        assert wake(bicnet(size=size, areas=areas)).train()(x).features[0].isfinite().all()


def test_the_divergence_is_weighted():
    x = clips()
    whole, half = (bicnet(divergence=weight).train()(x).losses["divergence3"] for weight in (0.01, 0.005))
    torch.testing.assert_close(whole, 2 * half)
    seen = {}
    bicnet().train()._branches(x, seen)
    torch.testing.assert_close(whole, 0.01 * seen["divergence3"])
    assert bicnet(divergence=0).train()(x).losses == bicnet(dao=None).train()(x).losses == {}


# Size and cost


def millions(**options) -> float:
    """Parameters without neck and classifier."""
    with torch.device("meta"):
        model = build_model("bicnet_tks", 5, **options)
    return (count_parameters(model) - count_parameters(model.neck)) / 1e6


@cache
def giga_macs(alpha: int = 3, **options) -> float:
    """Multiply-accumulates per frame at 256 x 128, the thesis' GFLOPs."""
    with torch.device("meta"):
        model = build_model("bicnet_tks", 5, alpha=alpha, **options).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            assert model(torch.zeros(1, 1 + alpha, 3, 256, 128)).shape == (1, 2048)
    return counter.get_total_flops() / 2e9 / (1 + alpha)


SIZES = {  # table and row: options, millions by the specification's arithmetic, as printed
    "6.2 TB": (TWO_BRANCHES, 23.51, 23.5),
    "6.2 TB + CSP": ({"dao": None, "tks": ()}, 27.64, 27.6),
    "6.2 BiCnet": ({"tks": ()}, 27.65, 27.6),
    "6.2 fixed fusion": ({"fusion": "fixed"}, 29.22, 29.1),
    "6.2 BiCnet-TKS": ({}, 29.27, 29.2),
    "6.5 one kernel, 3": ({"kernels": (3,)}, 28.43, 28.3),
    "6.5 one kernel, 5": ({"kernels": (5,)}, 28.43, 28.3),
    "6.5 one kernel, 7": ({"kernels": (7,)}, 28.43, 28.3),
    "6.5 two kernels": ({"kernels": (3, 7)}, 29.27, 29.2),
    "6.5 three kernels": ({"kernels": 3}, 30.07, 30.0),
    "6.6 stage 1": ({"tks": (1,)}, 28.05, 28.0),
    "6.6 stage 2": ({"tks": (2,)}, 29.27, 29.2),
    "6.6 stage 3": ({"tks": (3,)}, 34.14, 34.1),
    "6.6 stage 4": ({"tks": (4,)}, 53.60, 53.5),
    "6.6 stages 2 and 3": ({"tks": (2, 3)}, 35.76, 35.7),
}


@pytest.mark.parametrize("row", SIZES)
def test_published_size(row):
    """To the last digit with the release's stripes."""
    options, arithmetic, printed = SIZES[row]
    found = millions(areas="stripes", **options)
    assert round(found, 2) == arithmetic and found == pytest.approx(printed, abs=0.151)


def test_attention_to_all_positions_is_hardly_larger():
    assert round(millions(), 2) == 29.27 and millions() - millions(areas="stripes") == pytest.approx(0.002, abs=1e-4)


@pytest.mark.parametrize(
    "alpha, pooled, resized, printed", [(1, 2.562, 2.533, 2.57), (2, 2.065, 2.027, 2.07), (3, 1.817, 1.773, 1.81), (4, 1.668, 1.621, 1.67)]
)
def test_cost_of_two_branches(alpha, pooled, resized, printed):
    """Table 6.4: maps pooled behind the stem fit the printed figures to 0.01, resized frames do not."""
    found = [giga_macs(alpha, small=small, **TWO_BRANCHES) for small in ("pooled", "resized")]
    assert found == pytest.approx([pooled, resized], abs=0.0006)
    assert abs(found[0] - printed) < 0.01 < abs(found[1] - printed)


def test_cost_of_the_blocks():
    """Table 6.2: CSP and fixed fusion as printed. TKS costs 0.0126 per frame; the printed 0.10 of selective fusion is that of a clip."""
    plain, csp, fixed, whole = (giga_macs(**options) for options in (TWO_BRANCHES, {"dao": None, "tks": ()}, {"fusion": "fixed"}, {}))
    assert csp == pytest.approx(1.89, abs=0.005) and fixed == pytest.approx(1.91, abs=0.006)
    assert csp - plain == pytest.approx(0.0755, abs=1e-4) and whole - csp == pytest.approx(0.0126, abs=1e-4)
    assert csp + 8 * (whole - csp) == pytest.approx(1.99, abs=0.005)


# Around it


def test_inner_views_show_the_test_time_network():
    model, x = wake(bicnet()).train(), clips()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    views = model.inner_views(x)
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    shapes = {"kernels2": (2, 2, 8), "attention_big3": (2, 2, 4, 2), "attention_small3": (2, 6, 2, 1)}
    assert {name: tuple(value.shape) for name, value in views.items()} == shapes
    for name, dims in (("kernels2", 1), ("attention_big3", (2, 3)), ("attention_small3", (2, 3))):
        sums = views[name].sum(dims)
        torch.testing.assert_close(sums, torch.ones_like(sums))
    again = model.eval().inner_views(x)
    assert all(torch.equal(value, again[name]) for name, value in views.items()) and not model.training
    assert bicnet(areas="stripes").inner_views(x)["attention_big3"].shape == (2, 2, 2, 1)


def test_it_reads_events_as_well():
    model, x = wake(bicnet(inputs=("events",))).train(), clips(channels=2)
    assert model.modalities == ("events",)
    output = model(events=x)
    sum(output.losses.values(), output.logits[0].square().sum()).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters() if p.requires_grad)
    assert model.eval()(events=x).shape == (2, 32)
    with pytest.raises(ValueError, match="takes events, but events are not given"):
        model()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"frames of 32 x 32 pixels, but this model was built for size=\(64, 32\)"):
        bicnet()(clips()[..., :32, :])
    for options, message in (
        ({"alpha": 0}, "alpha 0: at least 1"),
        ({"small": "cropped"}, "unknown small 'cropped'"),
        ({"csp": (1, 5)}, r"csp \(1, 5\), dao 3, tks \(2,\): stages are"),
        ({"size": (64, 40)}, r"size \(64, 40\): both must be divisible by 32"),
        ({"kernels": (4,)}, "odd and at least 3"),
        ({"areas": "rows"}, "unknown areas 'rows'"),
        ({"embedding": "end"}, "unknown embedding 'end'"),
        ({"inputs": ("events", "frames")}, "one kind of clip"),
    ):
        with pytest.raises(ValueError, match=message):
            bicnet(**options)
