"""Clips a second of every network at the demo's sizes, its share of this machine's peak, and what channels last in memory gain.

    python benchmarks/networks.py [--rounds 3] [--names s3ce_net,sdcl,...]

Share of the roofline: floating-point operations of the products (counted densely, a training step as three forward passes) over the
time, relative to one large matrix product in the same run. The rest is memory traffic and small operators: the note names the largest.
"""

from copy import deepcopy

import torch
from networks_of_the_demo import BATCH, clips, embedding, matrix_product_speed, network, training_step, where_time_goes
from pairs import Line, fastest, main, milliseconds

from reidlib.efficiency import operations

NAMES = "s3ce_net,sew_resnet18,resnet18_events,sdcl,psta,resnet_frames,ianet,tclnet,rfcnet,bicnet_tks,vrstc"


def of_network(name: str, peak: float, rounds: int) -> list[Line]:
    model = network(name)
    batch = clips(model)
    forward = 2 * operations(model, {key: value[:4] for key, value in batch.items()}).totals["dense"] * BATCH / 4
    plain = deepcopy(model).to(memory_format=torch.contiguous_format)
    lines = []
    for what, make, passes in (("training step", training_step, 3), ("embedding", embedding, 1)):
        best = fastest({"last": make(model, batch), "first": make(plain, batch)}, rounds)
        share = passes * forward / best["last"] / peak
        speed = f"{BATCH / best['last']:.0f} clips/s at {peak / 1e9:.0f} GFLOP/s peak; {where_time_goes(make(model, batch))}"
        lines.append(Line(name, f"{what}: share of the roofline", "one matrix product", share, "", speed))
        gained = best["first"] / best["last"]
        lines.append(
            Line(name, f"{what}: channels last in memory", "channels first", gained, "", milliseconds(best["last"], best["first"]))
        )
    return lines


def measure(options) -> list[Line]:
    torch.set_num_threads(1)
    peak = matrix_product_speed()
    return [line for name in options.names.split(",") for line in of_network(name, peak, options.rounds)]


if __name__ == "__main__":
    main(measure, __doc__, rounds=3, names=NAMES)
