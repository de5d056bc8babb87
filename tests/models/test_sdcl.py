"""SDCL as a whole: what enters the embedding, its two controls, what it lets be seen, and its options."""

import pytest
import torch
from torch import nn

from reidlib.efficiency import operations
from reidlib.models import build_model, spiking_layers
from reidlib.models.layers.event_mapping import EventMapping
from reidlib.models.layers.nearest_events import GRID, find_nearest

SIZE, T = (64, 32), 4
SMALL = {"backbone": "resnet18", "width": 4, "size": SIZE, "levels": 2}


def sdcl(seed=0, **options):
    """With BatchNorm statistics that fit the data, so that every path, the spiking one too, has something to say."""
    torch.manual_seed(seed)
    model = build_model("sdcl", 5, **SMALL | options).train()
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
    batch = clips(B=4, seed=50, size=options.get("size", SIZE))
    with torch.no_grad():
        for momentum in (1.0, 1.0, 0.1):  # statistics of the layers below settle first
            for norm in norms:
                norm.momentum = momentum
            model(**{name: batch[name] for name in model.modalities})
    return model.eval()


def clips(B=2, T=T, seed=0, size=SIZE, rate=0.3) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    events = 2 * torch.rand(B, T, 2, *size, generator=g) * (torch.rand(B, T, 1, *size, generator=g) < rate)
    return {"events": events, "frames": torch.rand(B, T, 3, *size, generator=g)}


def embed(model, batch) -> torch.Tensor:
    with torch.inference_mode():
        found = model(**batch)
    return found / found.norm(dim=1, keepdim=True)


def test_swapping_x_and_y_of_the_events_changes_the_embedding():
    """The release feeds its network transposed events and nobody noticed."""
    model, batch = sdcl(size=(32, 32)), clips(size=(32, 32))
    swapped = batch | {"events": batch["events"].transpose(3, 4)}
    assert (embed(model, swapped) - embed(model, batch)).norm(dim=1).min() > 1e-3


@pytest.mark.parametrize("fusion", ["none", "concat", "add", "attention", "alignment"])
def test_both_modalities_enter_the_embedding(fusion):
    model, batch, other = sdcl(fusion=fusion), clips(), clips(seed=5)
    found = embed(model, batch)
    for name in ("events", "frames"):
        assert (embed(model, batch | {name: other[name]}) - found).norm(dim=1).min() > 1e-3, name


@pytest.mark.parametrize("name", ["events", "frames"])
def test_a_tracklet_does_not_see_the_others_events_or_frames(name):
    model, batch, other = sdcl(), clips(B=3), clips(B=3, seed=5)
    changed = batch | {name: other[name].clone()}
    changed[name][1] = batch[name][1]
    found, again = embed(model, batch), embed(model, changed)
    torch.testing.assert_close(again[1], found[1], rtol=0, atol=2e-6)
    assert (again[0] - found[0]).norm() > 1e-3


def test_steps_are_in_time():
    """The spiking layers run over the steps: other frames first is another clip."""
    model, batch = sdcl(modalities=("events",)), clips()
    turned = {"events": batch["events"].flip(1)}
    assert (embed(model, turned) - embed(model, {"events": batch["events"]})).norm(dim=1).min() > 1e-3


def test_frames_alone_are_psta():
    control = sdcl(modalities=["frames"])
    psta = build_model("psta", 5, **SMALL).eval()
    assert control.modalities == ("frames",)
    psta.load_state_dict(control.state_dict())
    batch = {"frames": clips()["frames"]}
    assert torch.equal(embed(control, batch), embed(psta, batch))


@pytest.mark.parametrize("kept, removed", [("frames", "events"), ("events", "frames")])
def test_a_control_is_the_same_network_without_the_other_path(kept, removed):
    whole = {name: value.shape for name, value in sdcl().state_dict().items()}
    control = sdcl(modalities=(kept,))
    own = {name: value.shape for name, value in control.state_dict().items()}
    assert own.items() <= whole.items()
    branch = {"events": "event_branch.", "frames": "frame_branch."}[removed]
    parts = (branch, "fusion.", f"head.pyramid.merges.{removed}.", "head.pyramid.merges.joint.")
    assert whole.keys() - own.keys() == {name for name in whole if name.startswith(parts)}
    assert embed(control, {kept: clips()[kept]}).shape == (2, 32)


def test_modalities_come_in_one_order():
    assert sdcl(modalities=("frames", "events")).modalities == ("events", "frames")


def test_clips_of_any_length():
    model = sdcl(levels=3)
    for steps in (1, 3, 6, 8):
        assert embed(model, clips(T=steps)).isfinite().all()


def test_silent_steps_and_lone_events_are_ordinary():
    """Also in training, where a batch may hold fewer events than a statistic needs."""
    model, batch = sdcl(), clips()
    batch["events"][:, 1:] = 0
    batch["events"][:, 0].flatten(1)[:, 5:] = 0
    assert embed(model, batch).isfinite().all()
    for count in (0, 1):
        events = torch.zeros_like(batch["events"])
        events.flatten()[:count] = 1
        output = model.train()(events=events, frames=batch["frames"])
        sum(logits.square().sum() for logits in output.logits).backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_inner_views_are_the_forward_pass():
    model, batch = sdcl(), clips()
    views = model.inner_views(**batch)
    assert set(views.maps) == {
        *("spiking1", "spiking2", "mapping1", "mapping2", "mapping3"),
        *("events", "frames", "events aligned", "frames aligned"),
    }
    for name, value in views.maps.items():
        size = SIZE if name[-1] in "123" else (4, 2)
        assert value.shape == (2, T, 4 if name[-1] in "123" else 32, *size) and not value.requires_grad, name
    with torch.no_grad():
        aligned = {"events": views.maps["events aligned"], "frames": views.maps["frames aligned"]}
        torch.testing.assert_close(model.head(aligned), model(**batch))
        flat = {name: views.maps[name].flatten(0, 1) for name in ("frames", "events")}
        torch.testing.assert_close(model.fusion(**flat)[0], views.maps["frames aligned"].flatten(0, 1))
    assert set(views.maps["spiking2"].unique().tolist()) == {0.0, 1.0}
    silent = ~(batch["events"] != 0).any(2, keepdim=True)
    for name in ("mapping1", "mapping2", "mapping3"):
        assert views.maps[name].max() > 0 and (views.maps[name] * silent).max() == 0  # nothing where no event is


def test_inner_views_show_where_events_and_alignment_look():
    model, batch = sdcl(), clips()
    views = model.inner_views(**batch)
    assert set(views.offsets) == {"mapping1", "mapping2", "mapping3"}
    mask = (batch["events"] != 0).any(2)
    nearest = find_nearest(mask.flatten(0, 1)).displacements().unflatten(0, (2, T)) - GRID[:, :, None, None]
    assert all(torch.equal(value.nan_to_num(99), nearest.nan_to_num(99)) for value in views.offsets.values())
    assert views.points.keys() == views.scores.keys() == {"e2f", "f2e"}
    alignment, (frames, events) = model.fusion.exchanges["f2e"], (views.maps[name].flatten(0, 1) for name in ("frames", "events"))
    with torch.no_grad():
        scores, shifts = alignment.sampling(events, frames)
    rows = torch.arange(4.0)[:, None].expand(4, 2)
    torch.testing.assert_close(views.points["f2e"].flatten(0, 1)[:, :, :, 0], shifts[:, :, :, 0] + rows)
    torch.testing.assert_close(views.scores["f2e"].flatten(0, 1), scores)
    assert views.points["e2f"].shape == (2, T, 8, 4, 2, 4, 2)


def test_inner_views_of_other_forms():
    learned = sdcl(modalities=("events",), offsets="learned", outside="regular", mappings=1, spiking=1)
    views = learned.inner_views(events=clips()["events"])
    assert set(views.maps) == {"spiking1", "mapping1", "events"} and views.points == views.scores == {}
    assert views.offsets["mapping1"].shape == (2, T, 9, 2, *SIZE) and views.offsets["mapping1"].isfinite().all()
    plain = sdcl(fusion="add", mappings=0).inner_views(**clips())
    assert not plain.offsets and not plain.points and {"mapping1"}.isdisjoint(plain.maps)
    assert set(sdcl(modalities=("frames",)).inner_views(frames=clips()["frames"]).maps) == {"frames"}


def test_looking_changes_nothing():
    model = sdcl().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = model.inner_views(**clips())
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    again = model.eval().inner_views(**clips())
    assert all(torch.equal(first.maps[name], again.maps[name]) for name in again.maps) and not model.training


@pytest.mark.parametrize("spiking, mappings", [(1, 0), (4, 4), (2, 1)])
def test_layers_are_counted(spiking, mappings):
    model = sdcl(spiking=spiking, mappings=mappings, event_width=3, neuron={"kind": "if"})
    assert len(spiking_layers(model)) == spiking
    found = [part for part in model.modules() if isinstance(part, EventMapping)]
    assert len(found) == mappings and all(part.conv.weight.shape == (3, 3, 3, 3) for part in found)
    assert embed(model, clips()).isfinite().all()


def test_operations_of_sdcl_are_counted():
    """Every product has a rule, and the events' first mapping is driven by spikes."""
    table = operations(sdcl(fusion="attention"), clips(B=1)).table
    mapped = table[table["layer"].str.contains(r"event_branch\.mappings\.0")]
    events = int((clips(B=1)["events"] != 0).any(2).sum())
    products = 9 * 4 * 4  # of a position: its nine neighbours, four channels in and out
    assert mapped["operand"].tolist() == ["spikes"] and mapped["dense"].item() == T * SIZE[0] * SIZE[1] * products
    assert 0 < mapped["acs"].item() < events * products


def test_bad_input_is_named():
    model, batch = sdcl(), clips()
    with pytest.raises(ValueError, match="takes events and frames, but events are not given"):
        model(frames=batch["frames"])
    with pytest.raises(ValueError, match="takes frames, but events are given"):
        sdcl(modalities=("frames",))(**batch)
    with pytest.raises(ValueError, match=r"events \(1, 4, .*\) and frames \(2, 4, .*\) must be of the same clips"):
        model(events=batch["events"][:1], frames=batch["frames"])
    with pytest.raises(ValueError, match=r"frames of 32 x 32 pixels, but this model was built for size=\(64, 32\)"):
        model(events=batch["events"], frames=batch["frames"][:, :, :, :32])


def test_options_are_checked():
    for options, message in (
        ({"modalities": ("sound",)}, r"modalities \('sound',\) must be one or both"),
        ({"modalities": ()}, "must be one or both"),
        ({"spiking": 5}, "5 spiking layers and 3 event mappings: there are 1 to 4 and 0 to 4"),
        ({"mappings": 5}, "2 spiking layers and 5 event mappings"),
        ({"channels": 24}, "multiple of 16 channels at its end, not 24"),
        ({"offsets": "far"}, "unknown offsets 'far'"),
        ({"fusion": "sum"}, "unknown fusion 'sum'"),
        ({"size": (64,)}, r"size must be \(height, width\) in pixels, not \(64,\)"),
        ({"size": (64, 0)}, "size must be"),
    ):
        with pytest.raises(ValueError, match=message):
            build_model("sdcl", 5, **SMALL | options)
