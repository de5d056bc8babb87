"""TCLNet: learners in turn, heads of their own, the published sizes (specification, section 2)."""

import pytest
import torch
import torch.nn.functional as F
from redrawn import wake
from torch.utils.flop_counter import FlopCounterMode

from reidlib.efficiency import count_parameters
from reidlib.losses import ReidLoss
from reidlib.models import build_model

SIZE = (64, 32)
SMALL = {"backbone": "resnet18", "width": 4}


def make(seed=0, **options):
    torch.manual_seed(seed)
    return build_model("tclnet", 5, **SMALL | options)


def clips(B=3, T=4, channels=3, seed=0):
    return torch.rand(B, T, channels, *SIZE, generator=torch.Generator().manual_seed(seed))


def slow_features(model, clip, learners):
    """(3.1) to (3.4) of one clip `[T, 3, H, W]`, frame by frame, with the model's own backbone and SEO."""
    x = model.backbone.stem(clip[None])
    for stage in (1, 2, 3):
        x = model.backbone.stage(stage, x)
    by_learner = [[] for _ in range(learners)]
    for start in range(0, len(clip), learners):
        used = []
        for n in range(learners):
            maps = model.seo(x[:, start + n], used)
            for block in model.backbone.trunk.layer4[:-1]:
                maps = block(maps)
            maps = (model.backbone.trunk.layer4[-1] if n == 0 else model.later[n - 1])(maps)
            used.append(maps.mean((2, 3)))
            by_learner[n].append(used[-1] if model.pooling == "mean" else maps.amax((2, 3)))
    return [torch.stack(vectors).mean(0)[0] for vectors in by_learner]


@pytest.mark.parametrize("options", [{}, {"seo_reading": "released", "tsb_reading": "released", "pooling": "max"}], ids=str)
@pytest.mark.parametrize("learners, steps", [(2, 4), (3, 6), (2, 2)])
def test_the_embedding_is_what_the_learners_say_in_turn(options, learners, steps):
    model, x = wake(make(learners=learners, **options)).eval(), clips(2, steps)
    for later in model.later:  # copies at first
        torch.nn.init.normal_(later.conv1.weight, std=0.2)
    with torch.no_grad():
        found = model(frames=x)
        for clip, embedding in zip(x, found, strict=True):
            parts = slow_features(model, clip, learners)
            parts = [F.normalize(neck.norm(part[None]), dim=1)[0] for neck, part in zip(model.necks, parts, strict=True)]
            torch.testing.assert_close(embedding, torch.cat(parts), rtol=1e-4, atol=1e-5)


def test_features_before_the_neck():
    model, x = wake(make(embedding="feature", metric="feature")), clips()
    with torch.no_grad():
        seen = model.train()(frames=x).features
        embedding = model.eval()(frames=x)
        for n, clip in enumerate(x):
            parts = slow_features(model, clip, 2)
            torch.testing.assert_close(embedding[n], torch.cat([F.normalize(part, dim=0) for part in parts]), rtol=1e-4, atol=1e-5)
    assert [feature.shape for feature in seen] == [(3, 32)] * 2


def test_one_learner_without_boosting_is_the_baseline():
    torch.manual_seed(0)
    baseline = build_model("resnet_frames", 5, backbone="resnet18", width=4)
    model, x = make(learners=1, tsb=()), clips(T=3)
    model.necks[0].load_state_dict(baseline.neck.state_dict())
    assert torch.equal(model.train()(frames=x).logits[0], baseline.train()(frames=x).logits[0])
    torch.testing.assert_close(model.eval()(frames=x), F.normalize(baseline.eval()(frames=x), dim=1))


@pytest.mark.parametrize("blocks", [{"tsb": (1, 2, 3)}, {"tsb": (), "ia": (2, 3)}, {"ia": (2,), "tsb_reading": "released"}], ids=str)
def test_blocks_change_nothing_at_first(blocks):
    model, plain, x = make(seo=False, **blocks).eval(), make(seo=False, tsb=()).eval(), clips()
    with torch.no_grad():
        assert torch.equal(model(frames=x), plain(frames=x))
        assert not torch.allclose(wake(model)(frames=x), plain(frames=x), atol=1e-3)


def test_learners_start_as_copies_and_differ_by_what_they_see():
    model = make(learners=3)
    for later in model.later:
        own = model.backbone.trunk.layer4[-1].state_dict()
        assert all(torch.equal(value, own[name]) for name, value in later.state_dict().items())
    assert not {id(p) for p in model.later.parameters()} & {id(p) for p in model.backbone.parameters()}


def test_losses_of_the_learners_are_summed():
    output, people = make().train()(frames=clips(4)), torch.tensor([0, 0, 1, 2])
    both = ReidLoss()(output, people)
    alone = []
    for n in range(2):
        output.weights = [float(n == 0), float(n == 1)]
        alone.append(ReidLoss()(output, people)["total"])
    torch.testing.assert_close(both["total"], alone[0] + alone[1])


def test_parts_are_supervised_where_ia_stands():
    model, parts = wake(make(ia=(2, 3))).train(), torch.randint(0, 5, (3, 4, *SIZE), generator=torch.Generator().manual_seed(0))
    output = model(frames=clips(), parts=parts)
    assert list(output.losses) == ["parts"] and output.losses["parts"] > 0
    with pytest.raises(ValueError, match="no block of this model has part maps"):
        make().train()(frames=clips(), parts=parts)


def test_clips_that_do_not_divide_are_completed_at_test_time_only():
    model, x = wake(make(learners=2)).eval(), clips(T=3)
    with torch.no_grad():
        assert torch.equal(model(frames=x), model(frames=x[:, [0, 1, 2, 0]]))
        assert torch.equal(model(frames=x[:, :1]), model(frames=x[:, [0, 0]]))
    with pytest.raises(ValueError, match=r"clips of 3 steps for 2 learners.*multiple"):
        model.train()(frames=x)


@pytest.mark.parametrize("steps", [4, 3])
def test_inner_views_are_those_of_test_time_and_move_nothing(steps):
    model, x = wake(make(ia=(3,), erased=(2, 1))), clips(T=steps)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    shown = model.train().inner_views(frames=x)
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    shapes = {"memory2": (steps, 8, 4), "parts3": (4, 4, 2), "erased": (4, 2), "correlation": (4, 2)}
    assert {name: tuple(value.shape[2:]) for name, value in shown.items()} == shapes
    assert all(value.shape[:2] == (3, steps) and not value.requires_grad for value in shown.values())
    assert (shown["erased"][:, 1::2].sum((2, 3)) == 2).all() and not shown["erased"][:, ::2].any()
    again = model.eval().inner_views(frames=x)
    assert all(torch.equal(shown[name], value) for name, value in again.items())
    one = model.inner_views(frames=x[1:2])
    torch.testing.assert_close(one["correlation"][0], shown["correlation"][1])
    assert torch.equal(one["erased"][0], shown["erased"][1])


def test_event_frames_in_place_of_frames():
    model = make(inputs=("events",)).eval()
    assert model.modalities == ("events",) and model(events=clips(channels=2)).shape == (3, 64)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"learners": 0}, "0 learners"),
        ({"tsb": (4,)}, r"tsb after stages \(4,\): legal are \(1, 2, 3\)"),
        ({"ia": (2, 4)}, r"ia after stages \(2, 4\)"),
        ({"seo_reading": "code"}, "unknown reading 'code'"),
        ({"tsb_reading": "printed"}, "unknown reading 'printed'"),
        ({"inputs": ()}, "one kind of clip"),
        ({"embedding": "necks"}, "unknown embedding 'necks'"),
    ],
)
def test_options_that_do_not_exist(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


#: Tables 3.1, 3.2 and 3.5: parameters in millions as counted and as printed, giga multiply-accumulates as printed above those of the
#: baseline. The thesis truncates (27.97 is its 27.9M); its 29.9M does not follow from its other figures, 30.07 does.
TABLE = {
    "baseline": ({"learners": 1, "tsb": ()}, 4, 23.51, 23.5, 0.000),
    "TSE without SEO": ({"seo": False, "tsb": ()}, 4, 27.97, 27.9, 0.000),
    "TSE": ({"tsb": ()}, 4, 30.07, None, 0.001),
    "TSE, 3 learners": ({"tsb": (), "learners": 3}, 12, 34.53, 34.5, 0.002),
    "TSE, 4 learners": ({"tsb": (), "learners": 4}, 12, 38.99, 38.9, 0.002),
    "TSB": ({"learners": 1}, 4, 23.51, 23.5, 0.002),
    "TCLNet": ({}, 4, 30.07, None, 0.004),
    "TSB at stage 1": ({"tsb": (1,)}, 4, 30.07, None, 0.006),
    "TSB at stage 3": ({"tsb": (3,)}, 4, 30.07, None, 0.003),
    "TSB at stages 2, 3": ({"tsb": (2, 3)}, 4, 30.07, None, 0.005),
    "released": ({"seo_reading": "released", "tsb_reading": "released"}, 4, 31.38, None, 0.004),
}
BASELINE = 4.0533


@pytest.mark.parametrize("name", TABLE)
def test_published_size_and_cost(name):
    """Without necks and classifiers; giga multiply-accumulates per frame at 256 x 128."""
    options, steps, millions, printed, more = TABLE[name]
    with torch.device("meta"):
        model = build_model("tclnet", 625, **options).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(frames=torch.zeros(1, steps, 3, 256, 128))
    counted = (count_parameters(model) - count_parameters(model.necks)) / 1e6
    assert round(counted, 2) == millions
    assert printed is None or int(10 * counted) / 10 == printed
    assert counter.get_total_flops() / 2e9 / steps - BASELINE == pytest.approx(more, abs=0.0017)
