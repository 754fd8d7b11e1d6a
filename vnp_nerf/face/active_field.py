"""What the tools look at: one context, encoded once for the weights as they are, and a field once a draw."""

from collections.abc import Callable
from typing import Any

import torch
from nerfstudio.utils.rich_utils import CONSOLE

from vnp_nerf.baked_field import BakedField
from vnp_nerf.baked_file import open_baked, source_hash
from vnp_nerf.culled_field import CulledField, DrawnFields
from vnp_nerf.execution import Execution
from vnp_nerf.paper import PaperField, PaperModel
from vnp_nerf.protocol import Field
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.views import Views


class ActiveField:
    """Keeps what can be kept between frames.

    The viewer's threads may stop in any line: every result is stored whole, in one assignment, and with the
    key that it is good for.
    """

    def __init__(self, model: RadianceModel | PaperModel, context: Callable[[], Views]) -> None:
        self.model, self.context = model, context
        self._encoded: tuple[Any, Views, Any] | None = None
        self._field: tuple[Any, Field] | None = None
        self._drawn: tuple[Any, DrawnFields] | None = None

    def forget(self) -> None:
        """Reads and encodes the context anew at the next use."""
        self._encoded = self._field = self._drawn = None

    @torch.no_grad()
    def field(self, config: Any) -> Field:
        """The field of a `VNPModelConfig`'s draw: made anew for other weights and for another draw only."""
        version = _version(self.model)
        key = (version, config.draw, config.culled, config.baked, config.precision, config.compiled)
        kept = self._field
        if kept is not None and kept[0] == key:
            return kept[1]
        field = self._make(config, *self._encode(version))
        self._field = (key, field)
        return field

    def has_draws(self, config: Any) -> bool:
        """Whether `drawn` gives any, without making them: a baked field is shown without the model."""
        if not isinstance(self.model, RadianceModel) or not config.samples:
            return False
        return config.baked is None or not isinstance(self.field(config), BakedField)

    @torch.no_grad()
    def drawn(self, config: Any) -> DrawnFields | None:
        """The draws of seeds 0, 1, ... that the config's `samples` asks for; None where there are none."""
        if not isinstance(self.model, RadianceModel) or not self.has_draws(config):
            return None
        version = _version(self.model)
        key = (version, config.samples, config.precision, config.compiled)
        kept = self._drawn
        if kept is not None and kept[0] == key:
            return kept[1]
        _, encoded = self._encode(version)
        execution = Execution(config.precision, config.compiled)
        drawn = DrawnFields.of_seeds(self.model, encoded, range(config.samples), execution)
        self._drawn = (key, drawn)
        return drawn

    def _encode(self, version: Any) -> tuple[Views, Any]:
        encoded = self._encoded
        if encoded is None or encoded[0] != version:
            views = self.context().to(next(self.model.parameters()).device)
            self._encoded = encoded = (version, views, self.model.encode(views))
        return encoded[1], encoded[2]

    def _make(self, config: Any, views: Views, encoded: Any) -> Field:
        # A generator of the CPU's draws the same latents for every device.
        generator = None if config.draw is None else torch.Generator().manual_seed(config.draw)
        if not isinstance(self.model, RadianceModel):
            return PaperField(self.model, encoded, generator, config.precision)
        if config.baked is not None and config.baked.is_file():
            grid, card = open_baked(config.baked)
            if card.source == source_hash(self.model, views, config.draw):
                return BakedField(grid.to(views.mask.device), self.model.config.ray_width)
            CONSOLE.print(f"{config.baked} was baked from other weights, views or draw: asking the network.")
        field = self.model.infer_field(encoded, generator=generator)
        execution = Execution(config.precision, config.compiled)
        return CulledField(field, execution=execution) if config.culled else field


def _version(model: Any) -> tuple[tuple[int, int], ...]:
    """Changes with every step of training and with every loading of weights."""
    return tuple((id(parameter), parameter._version) for parameter in model.parameters())
