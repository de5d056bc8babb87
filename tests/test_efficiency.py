"""Operation counts against hand computation and a plain loop, agreement with SpikingJelly, memory and latency."""

from itertools import product

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based.op_counter import ACCounter, DispatchCounterMode, MACCounter
from torch import nn

from reidlib.efficiency import count_parameters, energy_mj, latency, operations, peak_memory_of_training_step, throughput
from reidlib.models.layers.alignment import Alignment
from reidlib.models.layers.event_mapping import EventMapping, to_rows
from reidlib.models.layers.nearest_events import find_nearest


def bernoulli(*shape, rate=0.3, seed=0):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def uses_by_loop(x, conv):
    """Accumulates of a convolution from the definition: every value k meets each kernel tap that exists, k times."""
    total = 0
    channels, height, width = x.shape[1:]
    for b in range(x.shape[0]):
        for c in range(channels):
            for row in range(height):
                for column in range(width):
                    taps = 0
                    for i in range(conv.kernel_size[0]):
                        for j in range(conv.kernel_size[1]):
                            y, y_rest = divmod(row + conv.padding[0] - i * conv.dilation[0], conv.stride[0])
                            z, z_rest = divmod(column + conv.padding[1] - j * conv.dilation[1], conv.stride[1])
                            rows = (height + 2 * conv.padding[0] - conv.dilation[0] * (conv.kernel_size[0] - 1) - 1) // conv.stride[0] + 1
                            columns = (width + 2 * conv.padding[1] - conv.dilation[1] * (conv.kernel_size[1] - 1) - 1) // conv.stride[1] + 1
                            taps += y_rest == z_rest == 0 and 0 <= y < rows and 0 <= z < columns
                    total += int(x[b, c, row, column]) * taps * conv.out_channels // conv.groups
    return total


class Net(nn.Module):
    """Conv on a real image, threshold, conv on spikes, SEW-like sum, conv on counts, linear on real means."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1, stride=2)
        self.third = nn.Conv2d(4, 6, 1, groups=2)
        self.linear = nn.Linear(6, 5)

    def forward(self, x):
        spikes = (self.norm(self.stem(x)) > 0).float()
        counts = F.max_pool2d(spikes, 2) + (self.second(spikes) > 0).float()  # 0, 1, 2
        self.seen = spikes, counts
        return self.linear(self.third(counts).mean((2, 3)))


def test_hand_computed_counts_of_a_small_net():
    torch.manual_seed(0)
    net = Net()
    result = operations(net, {"x": torch.randn(3, 2, 8, 6)})
    table = result.table.set_index("layer")
    spikes, counts = net.seen
    assert set(counts.unique().tolist()) == {0.0, 1.0, 2.0}
    assert table.operand.to_dict() == {"stem": "real", "second": "spikes", "third": "counts", "linear": "real"}
    assert table.dense.to_dict() == {"stem": 3 * 4 * 48 * 18, "second": 3 * 4 * 12 * 36, "third": 3 * 6 * 12 * 2, "linear": 3 * 6 * 5}
    assert table.macs.to_dict() == {"stem": 3 * 4 * 48 * 18, "second": 0, "third": 0, "linear": 90}
    assert table.acs["second"] == uses_by_loop(spikes, net.second)
    assert table.acs["third"] == counts.sum() * 3  # a 1 x 1 kernel of two groups: each count meets three outputs
    totals = result.totals
    assert totals["macs"] == 10458 and totals["acs"] == totals["synops"] == table.acs.sum()
    assert totals["energy_mj"] == pytest.approx((10458 * 4.6 + totals["acs"] * 0.9) * 1e-9) == energy_mj(10458, totals["acs"])
    assert totals["synops_spikingjelly"] == table.acs["second"]  # it takes the counts for multiply-accumulates
    assert net.training and all(module.training for module in net.modules())


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2)),
        nn.Conv2d(4, 8, 3, groups=2, stride=2),
        nn.Conv2d(4, 4, 3, groups=4),
    ],
)
def test_convolution_uses_equal_the_loop(conv):
    x = torch.randint(0, 4, (2, 4, 7, 6), generator=torch.Generator().manual_seed(0)).float()
    assert operations(conv, {"input": x}).totals["acs"] == uses_by_loop(x, conv)
    assert operations(conv, {"input": (x > 0).float()}).totals["acs"] == uses_by_loop(x > 0, conv)


class SpikingAttention(nn.Module):
    def forward(self, q, k, v):
        return q @ (k.transpose(-1, -2) @ v)


def test_attention_products_without_a_module():
    q, k, v = (bernoulli(2, 3, 10, 4, seed=seed) for seed in range(3))
    result = operations(SpikingAttention(), {"q": q, "k": k, "v": v})
    places = product(range(2), range(3), range(10), range(4), range(4))
    coincidences = sum(float(k[b, h, n, i] * v[b, h, n, j]) for b, h, n, i, j in places)
    # K^T V: one accumulate per coincidence; Q (K^T V): each spike of Q adds a row of 4 counts.
    assert result.totals["acs"] == coincidences + q.sum() * 4 == result.totals["synops_spikingjelly"]
    assert result.totals["dense"] == 2 * 6 * 10 * 4 * 4 and result.totals["macs"] == 0
    # Both sides of the second product are counts now: the cheaper of driving by 2 Q or by K^T V (each of its counts meets ten tokens).
    counts = operations(SpikingAttention(), {"q": 2 * q, "k": k, "v": v})
    assert counts.totals["acs"] == coincidences + min(2 * q.sum() * 4, coincidences * 10)
    real = operations(SpikingAttention(), {"q": q + 0.5, "k": k - 0.5, "v": v + 0.5})
    assert (real.totals["macs"], real.totals["acs"]) == (1920, 0)


@pytest.mark.parametrize("kind", ["spikes", "real"])
def test_agrees_with_spikingjelly_where_it_knows_the_case(kind):
    layers = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(5 * 16, 7), nn.Unflatten(1, (7, 1)))
    transposed = nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1)
    x = bernoulli(2, 3, 8, 8) if kind == "spikes" else torch.randn(2, 3, 8, 8)
    for model in (layers, transposed, nn.Linear(8, 4), nn.Linear(8, 4, bias=False), nn.Conv2d(3, 6, 3, groups=3)):
        macs, acs = MACCounter(), ACCounter()
        with torch.no_grad(), DispatchCounterMode([macs, acs]):
            model(x)
        ours = operations(model, {"input": x}).totals
        assert (ours["macs"], ours["acs"]) == (macs.get_total(), acs.get_total())


def test_silent_and_boolean_inputs_and_integers_beside_reals():
    linear = nn.Linear(6, 3)
    assert operations(linear, {"input": torch.zeros(4, 6)}).totals["acs"] == 0
    assert operations(linear, {"input": torch.full((4, 6), 3.0)}).totals["acs"] == 4 * 6 * 3 * 3
    assert operations(linear, {"input": torch.full((4, 6), -1.0)}).totals["macs"] == 72
    assert operations(linear, {"input": torch.full((4, 6), 0.5)}).totals["macs"] == 72


def test_calls_of_a_shared_layer_add_up_and_an_unknown_product_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4, bias=False)

        def forward(self, x):
            return self.layer(self.layer(x) + 0.1)

    table = operations(Twice(), {"x": torch.randn(2, 4)}).table
    assert table[["layer", "calls", "macs"]].to_numpy().tolist() == [["layer", 2, 64]]

    class Unknown(nn.Module):
        def forward(self, x):
            return torch.addmv(x[0], x, x[0])

    with pytest.raises(NotImplementedError, match="addmv"):
        operations(Unknown(), {"x": torch.randn(3, 3)})


def test_softmax_attention_is_real():
    class Attention(nn.Module):
        def forward(self, q, k, v):
            return F.scaled_dot_product_attention(q, k, v)

    q, k, v = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 8)
    totals = operations(Attention(), {"q": q, "k": k, "v": v}).totals
    assert totals["macs"] == totals["dense"] == 2 * 3 * 5 * 7 * (8 + 8)


def mapping_uses(maps, mask, outputs):
    """Accumulates and products of one event mapping from its definition: each position with events sees its nearest nine, tap by tap."""
    uses, seen = 0, 0
    for f, y, x in mask.nonzero().tolist():
        by_distance = sorted(
            mask[f].nonzero().tolist(), key=lambda p: (abs(p[0] - y) + abs(p[1] - x), (p[0] - y) ** 2 + (p[1] - x) ** 2, *p)
        )
        nearest = by_distance[:9]
        seen += len(nearest)
        uses += sum(int(maps[f, :, v, u].sum()) for v, u in nearest) * outputs
    return uses, seen


@pytest.mark.parametrize("outside", ["zero", "regular"])
def test_an_event_mapping_costs_its_definition(outside):
    class Mapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.mapping = EventMapping(5, outside=outside)

        def forward(self, maps):
            events = find_nearest(mask)
            return self.mapping(to_rows(maps, self.mapping.places(events)), events)

    mask = bernoulli(3, 6, 7, rate=0.4, seed=1).bool()
    mask[0] = False
    mask[0, 2:4, 3] = True  # two events alone: seven taps see nothing
    spikes = bernoulli(3, 5, 6, 7)
    uses, seen = mapping_uses(spikes, mask, 5)
    places, total = int(mask.sum()), 3 * 6 * 7 * 9 * 25
    assert seen < 9 * places
    for maps, macs, acs in ((spikes, 0, uses), (2 * spikes, 0, 2 * uses), (spikes + 0.5, seen * 25, 0)):
        table = operations(Mapped(), {"maps": maps}).table.set_index("layer")
        row = table.loc["mapping"]
        assert (row["macs"], row["acs"]) == (macs, acs) and row["operation"] == "convolution"
        if outside == "zero":
            assert row["dense"] == total and len(table) == 1
        else:
            assert row["dense"] == seen * 25 and table.loc["mapping.conv", "dense"] == total
    direct = operations(EventMapping(5), {"rows": to_rows(spikes, find_nearest(mask).places), "events": find_nearest(mask)})
    assert direct.totals["acs"] == uses and len(direct.table) == 1  # the layer itself as the model


def test_a_learned_mapping_is_a_deformable_convolution():
    mask, maps = bernoulli(2, 6, 7, rate=0.5).bool(), torch.randn(2, 5, 6, 7)
    events, mapping = find_nearest(mask), EventMapping(5, offsets="learned")
    table = operations(mapping, {"rows": to_rows(maps, events.places), "events": events}).table
    assert table["macs"].tolist() == [2 * 42 * 9 * 5 * 18, 2 * 42 * 9 * 25]  # its offsets, then the convolution at every position


def test_a_deformable_attention_counts_its_convolutions_and_its_weighted_sum():
    alignment = Alignment(16, heads=2, points=3)
    table = operations(alignment, {"receiver": torch.randn(2, 16, 4, 5), "giver": torch.randn(2, 16, 4, 5)}).table
    places = 2 * 4 * 5
    convolutions = 16 * 16 + 16 * 4 + 4 * 3 * 2 * 3 + 16 * 16
    assert table[["macs", "dense"]].sum().tolist() == [places * (convolutions + 16 * 3)] * 2
    assert table.set_index("operation").loc["attention", "macs"] == places * 16 * 3


def test_large_whole_numbers_are_rounded_reals():
    linear = nn.Linear(4, 4)
    assert operations(linear, {"input": torch.full((2, 4), 2.0**30)}).totals["macs"] == 32
    assert operations(linear, {"input": torch.full((2, 4), 100.0)}).totals["acs"] == 2 * 4 * 4 * 100


def test_parameters_shared_once_and_trainable():
    first = nn.Linear(3, 3)
    model = nn.Sequential(first, first, nn.BatchNorm1d(3))
    model[2].bias.requires_grad_(False)
    assert count_parameters(model) == 12 + 6 and count_parameters(model, trainable_only=True) == 15


def test_memory_of_a_hand_computed_net_and_nothing_changes():
    model = nn.Sequential(nn.Linear(10, 20), nn.Sigmoid(), nn.Linear(20, 5), nn.BatchNorm1d(5))
    model[0].weight.grad = torch.ones(20, 10)
    model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inputs, state = {"input": torch.randn(8, 10)}, torch.get_rng_state()
    memory = peak_memory_of_training_step(model, inputs)
    # Kept: the sigmoid's output (8 x 20, used by the next layer too), the norm's input (8 x 5), its mean and inverse deviation (5 + 5).
    kept = 4 * (8 * 20 + 8 * 5 + 10)
    assert kept <= memory.activations <= kept + 16
    assert memory.parameters == memory.gradients == 4 * count_parameters(model) and memory.device_peak is None
    assert memory.total == memory.activations + 2 * memory.parameters
    assert not model.training and torch.equal(model[0].weight.grad, torch.ones(20, 10)) and model[2].weight.grad is None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_memory_grows_with_the_batch_and_checkpointing_lowers_it():
    model = nn.Sequential(*[layer for _ in range(8) for layer in (nn.Linear(32, 32), nn.Tanh())])
    one, two = (peak_memory_of_training_step(model, {"input": torch.randn(n, 32)}).activations for n in (16, 32))
    assert two == 2 * one == 2 * 8 * 16 * 32 * 4

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = model

        def forward(self, input):
            return torch.utils.checkpoint.checkpoint_sequential(self.body, 4, input, use_reentrant=False)

    assert peak_memory_of_training_step(Checkpointed(), {"input": torch.randn(16, 32)}).activations < one


def test_unknown_output_needs_a_loss():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x):
            return {"a": self.layer(x)}

    with pytest.raises(TypeError, match="pass loss="):
        peak_memory_of_training_step(Pair(), {"x": torch.randn(2, 3)})
    assert peak_memory_of_training_step(Pair(), {"x": torch.randn(2, 3)}, loss=lambda out: out["a"].sum()).gradients == 48


def test_latency_and_throughput():
    model, inputs = nn.Linear(4, 4), {"input": torch.randn(6, 4)}
    measured = latency(model, inputs, repeats=3)
    assert 0 < measured.minimum <= measured.median < 1 and measured.repeats == 3
    assert throughput(model, inputs, repeats=3) > 6
    assert model.training
    with pytest.raises(ValueError, match="repeats=0"):
        latency(model, inputs, repeats=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_counts_equal_the_cpu_and_its_memory_holds_the_activations():
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, 3, padding=1, bias=False)
    x = bernoulli(16, 4, 64, 64)
    pd.testing.assert_frame_equal(operations(conv, {"input": x}).table, operations(conv.cuda(), {"input": x.cuda()}).table)
    model = nn.Sequential(nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh()).cuda()
    memory = peak_memory_of_training_step(model, {"input": torch.randn(4096, 256, device="cuda")})
    assert memory.activations == 2 * 4096 * 256 * 4
    assert memory.activations <= memory.device_peak < 4 * memory.activations + 2**25
    assert latency(model, {"input": torch.randn(64, 256, device="cuda")}, repeats=3).minimum > 0
