"""S3CE-Net's training step and embedding against its spiking baseline, and its fast form against stock SpikingJelly.

    python benchmarks/s3ce_net.py [--rounds 5] [--clips 96] [--training 60]

At the demo's sizes; T = 32 has a quarter of the clips, so that as many event frames go through. The fast form: BatchNorm folded into
the convolutions, fused neurons, channels last in memory. Stock: SpikingJelly's own neurons, its layers as they come.
"""

from copy import deepcopy

import numpy as np
import torch
from networks_of_the_demo import BATCH, clips, embedding, network, training_step, where_time_goes
from pairs import Line, fastest, main, milliseconds
from spikingjelly.activation_based import neuron
from torch import nn

from reidlib.metrics import cosine_distances, rank
from reidlib.models import spiking_layers
from reidlib.models.folding import fold_batch_norm

BASELINE = "sew_resnet18"


def against_baseline(steps: int, rounds: int) -> list[Line]:
    models = {name: network(name) for name in ("s3ce_net", BASELINE)}
    batch, lines = clips(models[BASELINE], BATCH * 8 // steps, steps), []
    for what, make, target in (("training step", training_step, "<= 1.25"), ("embedding", embedding, "<= 1.15")):
        best = fastest({name: make(model, batch) for name, model in models.items()}, rounds)
        ratio = best["s3ce_net"] / best[BASELINE]
        note = f"{milliseconds(*best.values())} for {BATCH * 8 // steps} clips; {where_time_goes(make(models['s3ce_net'], batch))}"
        lines.append(Line("S3CE-Net", f"{what}, T = {steps}", "the spiking baseline", ratio, target, note))
    return lines


def stock(model: nn.Module) -> nn.Module:
    """A copy with SpikingJelly's own neurons, its tensors in torch's usual order."""
    other = deepcopy(model).to(memory_format=torch.contiguous_format)
    for name, layer in spiking_layers(model).items():
        own = neuron.LIFNode(layer.tau, layer.decay_input, layer.v_threshold, layer.v_reset, step_mode="m")
        other.set_submodule(name, own)
    return other.eval()


def spikes(model: nn.Module, batch: dict) -> dict[str, torch.Tensor]:
    seen, layers = {}, spiking_layers(model)
    handles = [layer.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out})) for name, layer in layers.items()]
    embedding(model, batch)()
    for handle in handles:
        handle.remove()
    return seen


def people(count: int, each: int = 4) -> dict[str, torch.Tensor]:
    """Clips of people: events at places of their own, one in ten elsewhere."""
    g = torch.Generator().manual_seed(1)
    model = network(BASELINE)
    own, noise = clips(model, count, seed=2)["events"].repeat_interleave(each, 0), clips(model, count * each, seed=3)["events"]
    return {"events": torch.where(torch.rand(own.shape, generator=g) < 0.9, own, noise)}


def trained(name: str, batch: dict[str, torch.Tensor], steps: int) -> nn.Module:
    """A network that has learned to tell these people apart: where it cannot, a rounding decides who is nearer."""
    model, people_of_a_batch = network(name), 6
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    count = len(batch["events"]) // 4
    for i in range(steps):
        rows = torch.randperm(count, generator=torch.Generator().manual_seed(i))[:people_of_a_batch]
        rows = (4 * rows[:, None] + torch.arange(4)).flatten()
        training_step(model, {"events": batch["events"][rows]}, labels=rows // 4)()
        optimizer.step()
    return model.eval()


def against_stock(options) -> list[Line]:
    lines = []
    batch, many = clips(network("s3ce_net")), people(options.clips // 4)
    for name in ("s3ce_net", BASELINE):
        plain = trained(name, many, options.training)
        folded, other = fold_batch_norm(plain, events=batch["events"][:1]), stock(plain)
        best = fastest(
            {key: embedding(model, batch) for key, model in (("folded", folded), ("ours", plain), ("stock", other))}, options.rounds
        )
        title = {"s3ce_net": "S3CE-Net", BASELINE: "spiking baseline"}[name]
        note = f"{milliseconds(best['folded'], best['stock'])}; without folding {milliseconds(best['ours'])}"
        lines.append(Line(title, "embedding, folded and fused", "stock SpikingJelly", best["stock"] / best["folded"], ">= 1.5", note))
        lines += agreement(title, folded, other, many)
    return lines


def agreement(title: str, folded: nn.Module, other: nn.Module, batch: dict) -> list[Line]:
    """How far the spikes and the ranking of two forms of a network agree."""
    expected, found = spikes(other, batch), spikes(folded, batch)
    differ = sum(int((found[key] != value).sum()) for key, value in expected.items())
    total, active = sum(value.numel() for value in expected.values()), sum(float(value.sum()) for value in expected.values())
    note = f"{differ} of {total:,}, of which {100 * active / total:.1f} % fire"
    lines = [Line(title, "share of spikes that differ, folded and fused", "stock SpikingJelly", differ / total, "<= 0.0001", note)]
    vectors = [embedding(model, batch)().numpy() for model in (other, folded)]
    ids = np.arange(len(vectors[0])) // 4
    query = np.arange(len(ids)) % 4 == 0
    scores = [rank(cosine_distances(v[query], v[~query]), ids[query], ids[~query]) for v in vectors]
    same = np.mean(scores[0].average_precision == scores[1].average_precision)
    note = f"mAP {100 * scores[0].mAP:.3f} and {100 * scores[1].mAP:.3f} %"
    return [*lines, Line(title, "share of queries with the same average precision", "stock SpikingJelly", float(same), ">= 1", note)]


def measure(options) -> list[Line]:
    torch.set_num_threads(1)
    return against_baseline(8, options.rounds) + against_baseline(32, options.rounds) + against_stock(options)


if __name__ == "__main__":
    main(measure, __doc__, rounds=5, clips=96, training=60)
