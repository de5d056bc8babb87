"""STCnet: frames with hidden thirds are completed from the rest of the frame and from the frames around it.

R. Hou's thesis, chapter 4, after "VRSTC: Occlusion-Free Video Person Re-Identification" (Hou et al., CVPR 2019). Nothing was released
and parts of the text could not be recovered, so this is *our reading*; what was left open is an option.
"""

from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlib.models.layers.discriminators import FORMS, Discriminator, fooling_loss, telling_loss
from reidlib.models.layers.stcnet import DILATIONS, SHRINK, SpatialGenerator, TemporalGenerator

CRITICS = ("local", "global")


@dataclass(frozen=True)
class Completion:
    """Completed frames, to be looked at. spatial, completed: x1 of G_s and x2 of G_t, `[N, 3, H, W]`. attention: how much the
    positions of the hole look at each position of the frame before and after, `[N, 2, H/4, W/4]`, each map of sum 1; zeros where
    nothing is masked, None without a temporal generator."""

    spatial: Tensor
    completed: Tensor
    attention: Tensor | None


class STCnet(nn.Module):
    """Frames `[N, 3, H, W]` in [-1, 1] with masked pixels, and their neighbours in time -> the spatial and the final completion.

    (4.3): x = (1 - M) frame, x1 = M G_s(x) + (1 - M) x, x2 = M G_t(x1, previous, following) + (1 - M) x. Pixels outside the mask come
    out exactly as they went in, those under it are not looked at.
    width: channels of the encoders' first layer and of the discriminators'. size: (height, width) of the frames, multiples of 4; the
    published one is 128 x 64. dilations, patch, sharpness: see `TemporalGenerator`. temporal: False for the spatial generator alone.
    critics: which discriminators there are, "local" (the hole) and "global" (the frame).
    """

    def __init__(
        self,
        width: int = 32,
        size: tuple[int, int] = (128, 64),
        dilations: tuple[int, ...] = DILATIONS,
        patch: int = 3,
        sharpness: float = 1.0,
        temporal: bool = True,
        critics: tuple[str, ...] = CRITICS,
    ):
        super().__init__()
        self.size = tuple(size)
        if len(self.size) != 2 or min(self.size) < SHRINK or any(side % SHRINK for side in self.size):
            raise ValueError(f"STCnet completes frames whose height and width are multiples of {SHRINK}, not {self.size}")
        if width < 1 or patch < 1 or patch % 2 == 0:
            raise ValueError(f"width {width} must be positive and patch {patch} odd: a patch lies around its position")
        if not set(critics) <= set(CRITICS):
            raise ValueError(f"unknown discriminators {tuple(critics)}; choose some of {', '.join(CRITICS)}")
        self.spatial = SpatialGenerator(width, dilations)
        self.temporal = TemporalGenerator(width, dilations, patch, sharpness) if temporal else None
        self.critics = nn.ModuleDict({name: Discriminator(self.size, width) for name in CRITICS if name in critics})

    def forward(
        self, frames: Tensor, mask: Tensor, previous: Tensor, following: Tensor, seen: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """frames, previous, following `[N, 3, H, W]`; mask bool `[N, 1, H, W]` (or broadcastable), True where a pixel is missing."""
        self._check(frames, mask, previous, following)
        given = frames.masked_fill(mask, 0.0)
        first = torch.where(mask, self.spatial(given), given)
        if self.temporal is None:
            return first, first
        return first, torch.where(mask, self.temporal(first, previous, following, seen), given)

    def inner_views(self, frames: Tensor, mask: Tensor, previous: Tensor, following: Tensor) -> Completion:
        """Both completions and where the temporal generator looks; see `Completion`."""
        seen: dict[str, Tensor] = {}
        with torch.no_grad():
            first, final = self(frames, mask, previous, following, seen)
        if self.temporal is None:
            return Completion(first, final, None)
        H, W = self.size
        masked = F.max_pool2d(mask.expand(-1, 1, H, W).float(), SHRINK).flatten(1)[:, None, :, None]  # [N, 1, L, 1]
        looked = (seen["attention"] * masked).sum(2) / masked.sum(2).clamp_min(1)  # [N, 2, L]
        return Completion(first, final, looked.unflatten(2, (H // SHRINK, W // SHRINK)))

    def generators(self) -> list[nn.Parameter]:
        """The parameters that complete, without those that judge."""
        return [p for name, p in self.named_parameters() if not name.startswith("critics.")]

    def verdicts(self, frames: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Logits `[N]` of each discriminator: the global one sees the frames, the local one M * frames."""
        views = {"local": frames.masked_fill(~mask, 0.0), "global": frames}
        return {name: critic(views[name]) for name, critic in self.critics.items()}

    def _check(self, frames: Tensor, mask: Tensor, previous: Tensor, following: Tensor) -> None:
        for name, pictures in (("frames", frames), ("previous", previous), ("following", following)):
            if pictures.shape != (len(frames), 3, *self.size) or not pictures.is_floating_point():
                raise ValueError(f"{name} {pictures.dtype} {tuple(pictures.shape)}: expected floats [N, 3, {self.size[0]}, {self.size[1]}]")
        if mask.dtype != torch.bool or mask.ndim != 4:
            raise ValueError(f"mask {mask.dtype} {tuple(mask.shape)}: expected bool [N, 1, H, W], True where a pixel is missing")


@dataclass(frozen=True)
class CompletionLoss:
    """(4.7): L = L_r + adversarial * (L_a1 + L_a2) + identity * L_c.

    L_r of (4.4) is the mean over pixels here (our reading: with the sum the other two would not count at these weights). form: of the
    generators' side of the game, see `fooling_loss`."""

    adversarial: float = 1e-3
    identity: float = 1e-1
    form: str = "minimax"

    def __post_init__(self) -> None:
        if min(self.adversarial, self.identity) < 0:
            raise ValueError(f"weights adversarial {self.adversarial} and identity {self.identity} must be 0 or more")
        if self.form not in FORMS:
            raise ValueError(f"unknown form {self.form!r} of the adversarial loss; choose one of {', '.join(FORMS)}")

    def generators(
        self, net: STCnet, first: Tensor, final: Tensor, frames: Tensor, mask: Tensor, logits: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """Weighted terms and their `total` for the generators. frames: what was there before the hole; logits `[N, K]`: what the
        identity guider says of `final` (4.6); labels `[N]`: who it is."""
        completions = [first] if net.temporal is None else [first, final]
        terms = {"reconstruction": reduce(torch.add, [(made - frames).abs().mean() for made in completions])}
        for name, logit in net.verdicts(final, mask).items():
            terms[name] = self.adversarial * fooling_loss(logit, self.form)
        terms["identity"] = self.identity * F.cross_entropy(logits, labels)
        return {"total": reduce(torch.add, terms.values())} | terms

    @staticmethod
    def critics(net: STCnet, final: Tensor, frames: Tensor, mask: Tensor) -> Tensor:
        """The discriminators' own loss, a scalar; `final` is taken as it is, without gradient to the generators."""
        real, made = net.verdicts(frames, mask), net.verdicts(final.detach(), mask)
        return sum((telling_loss(real[name], made[name]) for name in real), start=frames.new_zeros(()))
