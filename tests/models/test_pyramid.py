"""The pyramid and its heads: which levels a clip allows, how streams join, what each head sees."""

import pytest
import torch
from redrawn import redraw

from reidlib.models.layers import pyramid
from reidlib.models.layers.pyramid import Pyramid, PyramidHead, ResidualMerge

C, H, W = 8, 2, 2


def maps(*names: str, B=3, T=8, seed=0) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {name: torch.rand(B, T, C, H, W, generator=g) for name in names}


def head(streams=("frames",), seed=0, **options) -> PyramidHead:
    torch.manual_seed(seed)
    return redraw(PyramidHead(5, C, H * W, streams, **options), seed).eval()


@pytest.fixture(autouse=True)
def nothing_said_yet():
    pyramid._say_once.cache_clear()


@pytest.mark.parametrize("kind", ["ffb", "residual"])
@pytest.mark.parametrize("T, lengths", [(8, [4, 2, 1]), (16, [8, 4, 2]), (12, [6, 3]), (6, [3]), (2, [1])])
def test_every_level_halves_the_steps(kind, T, lengths, capsys):
    torch.manual_seed(0)
    found = Pyramid(C, H * W, ("frames",), kind=kind).eval()(maps("frames", T=T))
    assert [x.shape[1] for x in found] == lengths
    said = capsys.readouterr().out
    assert said.startswith(f"clips of {T} steps allow {len(lengths)} of 3 pyramid levels") if len(lengths) < 3 else said == ""


def test_fewer_levels_are_told_once_per_length(capsys):
    model = Pyramid(C, H * W, ("frames",), levels=2).eval()
    for T in (6, 6, 5, 6):
        model(maps("frames", T=T))
    assert capsys.readouterr().out.splitlines() == [
        "clips of 6 steps allow 1 of 2 pyramid levels (each halves them): the others stay unused",
        "clips of 5 steps allow 0 of 2 pyramid levels (each halves them): the others stay unused",
    ]


@pytest.mark.parametrize("kind, T", [("none", 8), ("ffb", 5)])
def test_without_levels_the_streams_are_added(kind, T, capsys):
    given = maps("events", "frames", T=T)
    (found,) = Pyramid(C, H * W, ("events", "frames"), kind=kind).eval()(given)
    torch.testing.assert_close(found, given["events"] + given["frames"])
    assert bool(capsys.readouterr().out) == (kind != "none")


def test_streams_keep_to_themselves_and_the_joint_one_sees_their_sum():
    torch.manual_seed(0)
    model = redraw(Pyramid(C, H * W, ("events", "frames"), levels=2)).eval()
    given, merges = maps("events", "frames", T=4), model.merges
    assert set(merges) == {"events", "frames", "joint"} and len(merges["joint"]) == 2
    with torch.no_grad():
        e, f = given["events"], given["frames"]
        e1, f1, j1 = merges["events"][0](e), merges["frames"][0](f), merges["joint"][0](e + f)
        e2, f2, j2 = merges["events"][1](e1), merges["frames"][1](f1), merges["joint"][1](e1 + f1 + j1)
        first, second = model(given)
    torch.testing.assert_close(first, e1 + f1 + j1)
    torch.testing.assert_close(second, e2 + f2 + j2)
    assert torch.equal(given["events"], e)


def test_the_residual_block_is_the_mean_plus_a_correction():
    torch.manual_seed(0)
    block, x = redraw(ResidualMerge(C)).eval(), maps("frames", T=4)["frames"]
    with torch.no_grad():
        found = block(x)
        mean = (x[:, 0::2] + x[:, 1::2]) / 2
        torch.testing.assert_close(found, torch.relu(mean + block.convolve(mean.flatten(0, 1)).unflatten(0, mean.shape[:2])))


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("metric", ["neck", "feature"])
def test_heads_see_the_mean_over_the_levels_so_far(pooling, metric):
    model, given = head(pooling=pooling, metric=metric), maps("frames")
    with torch.no_grad():
        pooled = [x.mean((1, 3, 4)) if pooling == "mean" else x.amax((3, 4)).mean(1) for x in model.pyramid(given)]
        model.training = True  # the heads only: BatchNorm keeps its statistics
        output = model(given)
    assert output.weights == [1 / 3] * 3
    for level, (shown, logits, neck) in enumerate(zip(output.features, output.logits, model.necks, strict=True), start=1):
        feature = sum(pooled[:level]) / level
        torch.testing.assert_close(shown, neck.norm(feature) if metric == "neck" else feature)
        torch.testing.assert_close(logits, neck.norm(feature) @ neck.classifier.weight.T + neck.classifier.bias)


@pytest.mark.parametrize("T, used", [(8, 3), (4, 2), (6, 1), (5, 1)])
def test_the_embedding_is_the_last_heads(T, used):
    neck, feature, given = head(), head(embedding="feature"), maps("frames", T=T)
    with torch.no_grad():
        levels = [x.mean((1, 3, 4)) for x in neck.pyramid(given)]
        torch.testing.assert_close(feature(given), sum(levels) / len(levels))
        torch.testing.assert_close(neck(given), neck.necks[used - 1].norm(sum(levels) / len(levels)))
        neck.train()
        assert len(neck(given).logits) == used and sum(neck(given).weights) == pytest.approx(1)


def test_heads_without_a_pyramid():
    model = head(("events", "frames"), pyramid="none")
    assert len(model.necks) == 1 and not list(model.pyramid.parameters())


def test_options_are_checked():
    with pytest.raises(ValueError, match="unknown pyramid 'ladder'; choose one of none, residual, ffb"):
        head(pyramid="ladder")
    with pytest.raises(ValueError, match="0 pyramid levels"):
        head(levels=0)
    for name in ("metric", "embedding"):
        with pytest.raises(ValueError, match=f"unknown {name} 'middle'; choose neck or feature"):
            head(**{name: "middle"})
    with pytest.raises(ValueError, match="unknown pooling 'sum'"):
        head(pooling="sum")(maps("frames"))
