"""What of a spiking network NIR can hold, and that the graph is that network. Without nir and nirtorch the graphs are not written."""

import pytest
import torch
from spikingjelly.activation_based import functional
from torch import nn

from reidlib.exporting import nir_parts, reachable_stages, to_nir
from reidlib.exporting.nir_graph import _converted
from reidlib.models import build_model, spiking_layers

SIZE = (32, 16)
SMALL = {"width": 4, "depth": (1, 1, 1, 1)}
LIF = {"kind": "lif", "decay_input": False}
VIDEO = {"width": 4, "backbone": "resnet18", "size": SIZE, "levels": 2}
#: Name, options, stages of what can be exported.
CASES = {
    "lif": ("sew_resnet18", SMALL | {"neuron": LIF}, 4),
    "if, two blocks, mean": ("sew_resnet18", SMALL | {"neuron": {"kind": "if"}, "depth": (2, 1, 1, 1), "pooling": "mean"}, 4),
    "plif": ("sew_resnet18", SMALL | {"neuron": LIF | {"kind": "plif"}}, 3),
    "up to an SSAM": ("s3ce_net", SMALL | {"neuron": LIF, "head_channels": 4, "sampling": None}, 2),
    "sdcl": ("sdcl", VIDEO | {"neuron": LIF}, 4),
}


def event_frames(B: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(B, 4, 2, *SIZE, generator=torch.Generator().manual_seed(seed)).clamp(min=0)


def made(name: str, options: dict) -> nn.Module:
    """With statistics that let all layers fire."""
    torch.manual_seed(0)
    model = build_model(name, 3, **options).train()
    inputs = {"events": event_frames(8, seed=1)}
    if "frames" in model.modalities:
        inputs["frames"] = torch.randn(8, 4, 3, *SIZE)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.momentum = 1.0
        for _ in range(2):
            model(**inputs)
    return model.eval()


@pytest.mark.parametrize("case", CASES)
def test_what_is_rewritten_fires_the_same_spikes(case):
    """BatchNorm in the convolutions, max pooling as an average and a neuron, SpikingJelly's own nodes: in double precision exactly."""
    name, options, stages = CASES[case]
    chain, _ = nir_parts(made(name, options).double(), stages)
    converted, expressed = _converted(chain)
    x = event_frames(seed=5).double().transpose(0, 1).contiguous()
    with torch.no_grad():
        functional.reset_net(chain)
        wanted = chain(x)
        assert torch.equal(converted(x), wanted) and 0.02 < wanted.mean() < 0.98 * wanted.max()
    leaves = {n for n, m in chain.named_modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.MaxPool2d)} | set(spiking_layers(chain))
    assert set(expressed) == leaves
    assert not any(isinstance(m, nn.BatchNorm2d | nn.MaxPool2d) for m in nn.ModuleList(called(converted)).modules())


def called(graph: torch.fx.GraphModule) -> list[nn.Module]:
    return [graph.get_submodule(node.target) for node in graph.graph.nodes if node.op == "call_module"]


@pytest.mark.parametrize("case", CASES)
def test_a_graph_read_back_is_the_network(case, tmp_path):
    nir = pytest.importorskip("nir")
    pytest.importorskip("nirtorch")
    name, options, stages = CASES[case]
    model = made(name, options)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = to_nir(model, tmp_path / "model.nir", event_frames(), stages, dt=0.05)
    assert found.differing == 0 and found.left_out
    graph = nir.read(tmp_path / "model.nir")
    kinds = [type(node).__name__ for node in graph.nodes.values()]
    assert set(kinds) <= {"Input", "Output", "Conv2d", "AvgPool2d", "LIF", "IF"}
    assert kinds.count("Conv2d") == list(found.expressed.values()).count("Conv2d") > 1
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_is_left_out_is_named():
    _, left_out = nir_parts(made(*CASES["up to an SSAM"][:2]), stages=2)
    assert {"backbone.after.2", "backbone.after.4", "backbone.stages.2", "backbone.stages.3", "neck.norm"} <= set(left_out)
    _, left_out = nir_parts(made(*CASES["sdcl"][:2]))
    assert {"event_branch.mappings.0", "event_branch.encoder", "frame_branch", "fusion", "head"} <= set(left_out)


def test_ssam_between_the_stages_makes_the_graph_impossible():
    model = build_model("s3ce_net", 3, **SMALL, head_channels=4)
    with pytest.raises(ValueError, match=r"backbone.after.2 stands between.*SSAM multiplies spike trains.*stages=2"):
        nir_parts(model)
    assert reachable_stages(model) == 2
    last = build_model("s3ce_net", 3, **SMALL, head_channels=4, ssam=(4,))
    assert reachable_stages(last) == 4 and "backbone.after.4" in nir_parts(last)[1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sew_resnet18", SMALL | {"neuron": {"kind": "ilif"}}, "neuron is a ILIFNode: NIR has IF and LIF"),
        ("sew_resnet18", SMALL | {"neuron": {"soft_reset": True}}, "neuron has a soft reset"),
        ("resnet18_events", SMALL, "has ReLU in place of spiking neurons"),
        ("psta", VIDEO, "PSTA has no spiking layers"),
        ("sdcl", VIDEO | {"modalities": ("frames",)}, "SDCL has no spiking layers"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(name, options, message):
    with pytest.raises(ValueError, match=message):
        nir_parts(build_model(name, 3, **options))


@pytest.mark.parametrize("stages", [0, 5])
def test_stages_must_be_there(stages):
    with pytest.raises(ValueError, match="this network has 1 to 4"):
        nir_parts(build_model("sew_resnet18", 3, **SMALL), stages)
