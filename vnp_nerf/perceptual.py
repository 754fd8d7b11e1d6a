"""LPIPS (Zhang et al. 2018), where its weights are on the machine already: nothing is fetched."""

import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

Backbone = Literal["alex", "vgg", "squeeze"]
FILES: dict[Backbone, tuple[str, str]] = {
    "alex": ("AlexNet_Weights", "alexnet"),
    "vgg": ("VGG16_Weights", "vgg16"),
    "squeeze": ("SqueezeNet1_1_Weights", "squeezenet1_1"),
}
"""torchvision's weights of each backbone; the first that is there is taken. Papers mostly report `alex` or
`vgg`, and numbers of different backbones do not compare.
"""


def weights_file(backbone: Backbone) -> Path:
    """Where torch keeps a backbone's weights once they were fetched."""
    import torchvision.models

    weights: Any = getattr(torchvision.models, FILES[backbone][0]).DEFAULT
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name


class Perceptual:
    """LPIPS on one backbone, whose weights must be there (`find_perceptual`). Lower is nearer."""

    def __init__(self, backbone: Backbone) -> None:
        self.name = f"lpips_{backbone}"
        """What its rows are called."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchmetrics warns about packages that this needs not
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

            self._measure = LearnedPerceptualImagePatchSimilarity(backbone, normalize=True).eval()

    @torch.inference_mode()
    def __call__(self, prediction: Float[Tensor, "H W 3"], truth: Float[Tensor, "H W 3"]) -> float:
        """Of two pictures, clamped to 0 and 1."""
        pictures = (
            rearrange(picture.float().clamp(0, 1), "H W rgb -> 1 rgb H W") for picture in (prediction, truth)
        )
        return float(self._measure(*pictures))


def find_perceptual() -> Perceptual | None:
    """LPIPS on the first backbone whose weights are there; None where none is."""
    for backbone in FILES:
        if weights_file(backbone).is_file():
            return Perceptual(backbone)
    return None
