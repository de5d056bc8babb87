"""STCnet against its equations: what it may look at, what it must keep, who gets which gradient."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reidlib.models.layers.discriminators import Discriminator, fooling_loss, telling_loss
from reidlib.models.layers.stcnet import SpatialGenerator, patch_attention
from reidlib.models.stcnet import CompletionLoss, STCnet

SIZE, N = (24, 12), 4
SMALL = {"width": 4, "size": SIZE, "dilations": (2,)}


def make(seed: int = 0, **options) -> STCnet:
    torch.manual_seed(seed)
    return STCnet(**SMALL | options)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1


def batch(n: int = N, seed: int = 0) -> dict[str, Tensor]:
    """Frames with a third missing, another one in each."""
    mask = torch.zeros(n, 1, *SIZE, dtype=torch.bool)
    for i in range(n):
        mask[i, :, 8 * (i % 3) : 8 * (i % 3) + 8] = True
    names = ("frames", "previous", "following")
    return {name: drawn(n, 3, *SIZE, seed=seed + i) for i, name in enumerate(names)} | {"mask": mask}


def run(net: STCnet, given: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return net(**given)


def patch_at(maps: Tensor, y: int, x: int, reach: int) -> Tensor:
    """The patch of `[C, H, W]` around a place, zero beyond the border."""
    _, H, W = maps.shape
    rows = [[maps[:, b, a] if 0 <= b < H and 0 <= a < W else maps.new_zeros(len(maps)) for a in around(x, reach)] for b in around(y, reach)]
    return torch.stack([torch.stack(row) for row in rows])  # [patch, patch, C]


def around(place: int, reach: int) -> range:
    return range(place - reach, place + reach + 1)


@pytest.mark.parametrize("patch, sharpness", [(3, 1.0), (3, 10.0), (1, 2.0)])
def test_patch_attention_equals_4_1_and_4_2_position_by_position(patch, sharpness):
    own, other = drawn(2, 5, 4, 3, seed=1).double(), drawn(2, 5, 4, 3, seed=2).double()
    found, weights = patch_attention(own, other, patch, sharpness)
    reach, places = patch // 2, [(y, x) for y in range(4) for x in range(3)]
    for n in range(2):
        mixed = {}
        for i, (y, x) in enumerate(places):
            f = patch_at(own[n], y, x, reach)
            patches = [patch_at(other[n], b, a, reach) for b, a in places]
            cosines = torch.stack([(f * r).sum() / (f.norm() * r.norm()) for r in patches])
            s = (sharpness * cosines).exp() / (sharpness * cosines).exp().sum()
            torch.testing.assert_close(weights[n, i], s)
            mixed[y, x] = sum(share * r for share, r in zip(s, patches, strict=True))
        for y, x in places:  # every patch that covers the place has its say
            said = [mixed[b, a][y - b + reach, x - a + reach] for b, a in places if abs(b - y) <= reach and abs(a - x) <= reach]
            torch.testing.assert_close(found[n, :, y, x], torch.stack(said).mean(0))


def test_sharp_attention_finds_moved_patches():
    """A map that is its neighbour moved by one row is put together again, but for the rows that are not there."""
    other = drawn(1, 6, 8, 5)
    own = other.roll(1, 2)
    found, weights = patch_attention(own, other, sharpness=300.0)
    torch.testing.assert_close(found[:, :, 3:-2], own[:, :, 3:-2], rtol=0, atol=0.02)
    assert weights[0].argmax(1).view(8, 5)[3, 2] == 2 * 5 + 2


@pytest.mark.parametrize("options", [{}, {"temporal": False}])
def test_pixels_outside_the_mask_stay_exactly_and_those_inside_are_in_range(options):
    given = batch()
    for made in run(make(**options), given):
        assert made.shape == (N, 3, *SIZE)
        kept = ~given["mask"].expand_as(made)
        assert torch.equal(made[kept], given["frames"][kept])
        assert not torch.equal(made[~kept], given["frames"][~kept]) and made[~kept].abs().max() <= 1


def test_what_is_hidden_is_not_looked_at_and_the_neighbours_are():
    net, given = make(), batch()
    first, final = run(net, given)
    other = given | {"frames": torch.where(given["mask"], drawn(N, 3, *SIZE, seed=9), given["frames"])}
    assert all(torch.equal(a, b) for a, b in zip(run(net, other), (first, final), strict=True))
    for name in ("previous", "following"):
        again, moved = run(net, given | {name: drawn(N, 3, *SIZE, seed=9)})
        assert torch.equal(again, first) and not torch.equal(moved, final)


def test_before_and_after_are_told_apart():
    net, given = make(), batch()
    swapped = given | {"previous": given["following"], "following": given["previous"]}
    assert not torch.equal(run(net, given)[1], run(net, swapped)[1])


def test_the_spatial_generator_is_4_3():
    net, given = make(), batch()
    masked = torch.where(given["mask"], 0.0, given["frames"])
    with torch.no_grad():
        expected = given["mask"] * net.spatial(masked) + ~given["mask"] * masked
    torch.testing.assert_close(run(net, given)[0], expected)


def losses(net: STCnet, loss: CompletionLoss | None = None) -> tuple[dict[str, Tensor], Tensor]:
    given, loss = batch(), loss or CompletionLoss()
    first, final = net(**given)
    guider = final.mean((2, 3)) @ drawn(3, 5)  # a stand-in that has a gradient
    frames, mask, labels = given["frames"], given["mask"], torch.tensor([0, 1, 2, 4])
    return loss.generators(net, first, final, frames, mask, guider, labels), loss.critics(net, final, frames, mask)


@pytest.mark.parametrize("options", [{}, {"temporal": False}, {"critics": ("global",)}])
@pytest.mark.parametrize("form", ["minimax", "non_saturating"])
def test_gradient_reaches_every_generator_and_every_discriminator(options, form):
    net = make(**options)
    terms, critics = losses(net, CompletionLoss(form=form))
    generators = set(net.generators())
    terms["total"].backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 and p.grad.isfinite().all() for p in generators)
    net.zero_grad(set_to_none=True)
    critics.backward()
    for name, p in net.named_parameters():
        assert (p.grad is None) if p in generators else p.grad.abs().max() > 0, name
    assert {name.split(".")[0] for name, p in net.named_parameters() if p not in generators} == {"critics"}


def test_every_term_alone_teaches_the_temporal_generator():
    for name in ("reconstruction", "local", "global", "identity"):
        net = make()
        losses(net)[0][name].backward()
        assert all(p.grad.abs().max() > 0 for p in net.temporal.parameters()), name


def test_the_temporal_generator_learns_what_only_the_neighbours_know():
    """Thirds of random greys g in [-0.8, 0.8]: from the frame alone no guess is better than E|g| / 3 = 0.133; the neighbours show them."""
    net, mask, errors = make(critics=(), sharpness=10.0), batch(6)["mask"], []
    optimizer, g = torch.optim.Adam(net.parameters(), 5e-3, fused=True), torch.Generator().manual_seed(0)
    for _ in range(40):
        frames = (1.6 * torch.rand(6, 3, 3, 1, generator=g) - 0.8).repeat_interleave(8, 2).expand(-1, -1, -1, SIZE[1])
        wrong = torch.stack([(made - frames).abs().mean() for made in net(frames, mask, frames, frames)])
        optimizer.zero_grad()
        wrong.sum().backward()
        optimizer.step()
        errors.append(wrong.detach())
    first, final = torch.stack(errors[-10:]).mean(0).tolist()
    assert first == pytest.approx(0.8 / 2 / 3, rel=0.15) and final < 0.95 * first


def test_losses_are_4_4_to_4_7():
    net, given = make(), batch()
    first, final = run(net, given)
    frames, mask, logits, labels = given["frames"], given["mask"], drawn(N, 5), torch.tensor([0, 1, 2, 4])
    terms = CompletionLoss(0.01, 0.2).generators(net, first, final, frames, mask, logits, labels)
    with torch.no_grad():
        local, whole = (net.critics[name](mask * final if name == "local" else final).sigmoid() for name in ("local", "global"))
        real = [net.critics[name](mask * frames if name == "local" else frames).sigmoid() for name in ("local", "global")]
        critics = CompletionLoss.critics(net, final, frames, mask)
    expected = {
        "reconstruction": (first - frames).abs().mean() + (final - frames).abs().mean(),
        "local": 0.01 * (1 - local).log().mean(),
        "global": 0.01 * (1 - whole).log().mean(),
        "identity": -0.2 * logits.log_softmax(1)[range(N), labels].mean(),
    }
    assert list(terms) == ["total", *expected]
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    torch.testing.assert_close(terms["total"], sum(expected.values()))
    game = sum(-(true.log() + (1 - made).log()).mean() for true, made in zip(real, (local, whole), strict=True))
    torch.testing.assert_close(critics, game)


def test_the_game_by_hand():
    real, made = torch.tensor([0.0, 2.0]), torch.tensor([-1.0, 0.0])
    sure = [math.log(1 / (1 + math.exp(-x))) for x in (0.0, 2.0)], [math.log(1 - 1 / (1 + math.exp(-x))) for x in (-1.0, 0.0)]
    assert telling_loss(real, made).item() == pytest.approx(-sum(sure[0]) / 2 - sum(sure[1]) / 2)
    assert fooling_loss(made).item() == pytest.approx(sum(sure[1]) / 2)
    assert fooling_loss(made, "non_saturating").item() == pytest.approx(F.binary_cross_entropy_with_logits(made, torch.ones(2)).item())


def test_a_frame_does_not_see_its_batch_mates_in_any_mode():
    net, given, others = make(), batch(), batch(seed=20)
    mixed = {name: torch.cat([others[name][:2], value[1:2]]) for name, value in given.items()}
    for mode in (True, False):
        net.train(mode)
        for whole, alone, among in zip(run(net, given), run(net, {k: v[1:2] for k, v in given.items()}), run(net, mixed), strict=True):
            torch.testing.assert_close(alone[0], whole[1], rtol=0, atol=1e-6)
            torch.testing.assert_close(among[2], whole[1], rtol=0, atol=1e-6)


def test_save_and_load_and_seeds(tmp_path):
    net = make()
    torch.save(net.state_dict(), tmp_path / "net.pt")
    other = make(seed=5)
    assert not torch.equal(run(other, batch())[1], run(net, batch())[1])
    other.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    assert torch.equal(run(other, batch())[1], run(net, batch())[1])
    assert torch.equal(run(make(), batch())[1], run(net, batch())[1])


def test_inner_views_are_the_forward_pass_and_show_where_the_hole_looks():
    net, given = make(), batch()
    given["mask"][3] = False
    views = net.inner_views(**given)
    first, final = run(net, given)
    assert torch.equal(views.spatial, first) and torch.equal(views.completed, final) and not views.completed.requires_grad
    assert views.attention.shape == (N, 2, 6, 3)
    torch.testing.assert_close(views.attention[:3].sum((2, 3)), torch.ones(3, 2))
    assert not views.attention[3].any() and torch.equal(views.completed[3], given["frames"][3])
    seen = {}
    with torch.no_grad():
        net(**given, seen=seen)
    torch.testing.assert_close(views.attention[1, 0].flatten(), seen["attention"][1, 0, 6:12].mean(0))  # rows 2 and 3 of 6 are the third
    assert make(temporal=False).inner_views(**given).attention is None


def test_the_discriminator_fits_any_size():
    torch.manual_seed(0)
    for size in ((24, 12), (13, 7), (128, 64)):
        critic = Discriminator(size, 4)
        assert critic(drawn(2, 3, *size)).shape == (2,)


def test_an_untrained_generator_does_not_saturate():
    torch.manual_seed(0)
    made = SpatialGenerator(16)(drawn(2, 3, 64, 32)).detach()
    assert 0.01 < made.std() < 0.5 and made.abs().max() < 0.99


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": (24, 13)}, r"multiples of 4, not \(24, 13\)"),
        ({"size": (0, 4)}, r"multiples of 4"),
        ({"patch": 2}, "patch 2 odd"),
        ({"width": 0}, "width 0 must be positive"),
        ({"critics": ("locale",)}, r"unknown discriminators \('locale',\); choose some of local, global"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"frames": torch.zeros(N, 3, 12, 24)}, r"frames torch.float32 \(4, 3, 12, 24\): expected floats \[N, 3, 24, 12\]"),
        ({"previous": torch.zeros(1, 3, *SIZE)}, r"previous torch.float32 \(1, 3, 24, 12\)"),
        ({"following": torch.zeros(N, 3, *SIZE, dtype=torch.uint8)}, "following torch.uint8"),
        ({"mask": torch.zeros(N, 1, *SIZE)}, "mask torch.float32 .*True where a pixel is missing"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        make()(**batch() | change)


def test_bad_losses_are_named():
    with pytest.raises(ValueError, match="adversarial -1"):
        CompletionLoss(adversarial=-1)
    with pytest.raises(ValueError, match=r"unknown form 'maximin'.*minimax, non_saturating"):
        CompletionLoss(form="maximin")
    with pytest.raises(ValueError, match="unknown form 'maximin'"):
        fooling_loss(torch.zeros(2), "maximin")
