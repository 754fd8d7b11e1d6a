"""Data for both of the face's lives: batches of many scenes to train on, and one focus scene for nerfstudio's
tools.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from einops import rearrange
from nerfstudio.cameras.cameras import Cameras as NerfstudioCameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.configs.dataparser_configs import AnnotatedDataParserUnion
from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManager, VanillaDataManagerConfig
from nerfstudio.data.utils.dataloaders import FixedIndicesEvalDataloader, RandIndicesEvalDataloader
from nerfstudio.utils import comms

from vnp_core.errors import ConfigError
from vnp_nerf.batches import BatchConfig, SceneSampler, TrainBatch
from vnp_nerf.context_choice import choose_context
from vnp_nerf.face.dataparser import VNPSceneDataParser, VNPSceneDataParserConfig, views_to_compare
from vnp_nerf.face.dataset import FocusDataset
from vnp_nerf.readers import open_scene
from vnp_nerf.scene import Scene
from vnp_nerf.views import Views


@dataclass
class VNPDataManagerConfig(VanillaDataManagerConfig):
    """Batches of many scenes for training, one focus scene for the tools."""

    _target: type = field(default_factory=lambda: VNPDataManager)
    dataparser: AnnotatedDataParserUnion = field(default_factory=VNPSceneDataParserConfig)
    """Reads the focus scene; only vnp-scene will do."""
    batches: BatchConfig = field(default_factory=BatchConfig)
    """What a training batch is made of."""
    seed: int = 0
    """Seed of the batches; process n of a data-parallel run draws with its own."""
    train_scenes: int | None = None
    """Train on this many scenes of the collection at most, a random sample under `seed` of which larger ones
    are supersets; all if not given.
    """
    eval_scenes: int = 16
    """Evaluate on this many scenes of the collection at most."""
    eval_views: int | None = None
    """Evaluate on this many views of each scene at most; all if not given."""


class VNPDataManager(VanillaDataManager[FocusDataset]):
    """See `VNPDataManagerConfig`."""

    config: VNPDataManagerConfig
    dataparser: VNPSceneDataParser

    def __init__(
        self,
        config: VNPDataManagerConfig,
        device: torch.device | str = "cpu",
        test_mode: Literal["test", "val", "inference"] = "val",
        world_size: int = 1,
        local_rank: int = 0,
        **kwargs: Any,
    ) -> None:
        if not isinstance(config.dataparser, VNPSceneDataParserConfig):
            raise ConfigError(
                f"vnp-nerf reads scenes with its own dataparser, vnp-scene, but "
                f"{type(config.dataparser).__name__} was chosen: leave it out; its folders are read as well"
            )
        self._samplers: dict[str, SceneSampler] = {}
        super().__init__(config, device, test_mode, world_size, local_rank, **kwargs)

    # -- the focus scene -----------------------------------------------------------------------------------

    def create_train_dataset(self) -> FocusDataset:
        """The context views and, for the tools, virtual cameras all about the object."""
        self.train_dataparser_outputs = self.dataparser.get_dataparser_outputs(
            split="train",
            orbit=cast(Any, self.test_mode != "val"),  # nerfstudio's annotation of these arguments is wrong
        )
        return super().create_train_dataset()

    def focus_context(self) -> Views:
        """The views of the focus scene that the model sees."""
        return Views.from_scene(self.dataparser.scene, self.dataparser.context)

    def iterate_eval_scenes(
        self, limit: int | None = None
    ) -> Iterator[tuple[Scene, tuple[int, ...], tuple[int, ...]]]:
        """Scenes with their context and the views to compare with. A focus scene chosen by name comes alone.

        For each the context is chosen by the same rule as the focus scene's.
        """
        parser = self.dataparser
        paths = parser.collection.split("val" if self.test_mode == "val" else "test")
        limit = self.config.eval_scenes if limit is None else min(limit, self.config.eval_scenes)
        if parser.config.scene is not None or len(paths) == 1:
            scenes: Iterator[Scene] = iter([parser.scene])
        else:
            scenes = (
                open_scene(path, parser.config.read, parser.collection.name_of(path))
                for path in paths[:limit]
            )
        for scene in scenes:
            context = choose_context(scene, parser.config.context, parser.config.num_context)
            yield scene, context, (views_to_compare(scene, context) or context)[: self.config.eval_views]

    def setup_train(self) -> None:
        """Training reads batches by itself; the tools sample rays from the focus scene's train cameras."""
        if self.test_mode != "val":
            super().setup_train()

    def setup_eval(self) -> None:
        """Nothing is loaded ahead of its use."""
        self.fixed_indices_eval_dataloader = FixedIndicesEvalDataloader(self.eval_dataset, device=self.device)
        self.eval_dataloader = RandIndicesEvalDataloader(self.eval_dataset, device=self.device)

    def next_eval_image(self, step: int) -> tuple[NerfstudioCameras, dict[str, Any]]:
        """One posed view of the focus scene, another at each call, with its alpha [H, W]."""
        posed = [place for place, view in enumerate(self.eval_dataset.views) if view is not None]
        place = posed[self.eval_count % len(posed)]
        self.eval_count += 1
        camera, batch = self.eval_dataloader.get_camera(place)
        batch["alpha"] = torch.from_numpy(self.eval_dataset.alpha(place)).float() / 255
        return camera, batch

    # -- many scenes ---------------------------------------------------------------------------------------

    def next_train(self, step: int) -> tuple[RayBundle, Any]:
        """Rays of many scenes with their `TrainBatch`; for the tools, rays of the focus scene."""
        if self.test_mode != "val":
            return super().next_train(step)
        self.train_count += 1
        return self._next_batch("train", step)

    def next_eval(self, step: int) -> tuple[RayBundle, TrainBatch]:
        """Rays of many scenes that are not trained on, if the collection has any."""
        return self._next_batch("eval", step)

    def get_train_rays_per_batch(self) -> int:
        """Rays in a batch: of all its scenes in training, of the focus scene in the tools."""
        if self.test_mode != "val":
            return super().get_train_rays_per_batch()
        return self.config.batches.scenes_per_batch * self.config.batches.rays_per_scene

    def _next_batch(self, kind: Literal["train", "eval"], step: int) -> tuple[RayBundle, TrainBatch]:
        if kind not in self._samplers:
            self._samplers[kind] = self._sampler(kind, step)
        batch = next(self._samplers[kind]).to(self.device)
        return _ray_bundle(batch), batch

    def _sampler(self, kind: Literal["train", "eval"], step: int) -> SceneSampler:
        paths = self.dataparser.collection.split("train" if kind == "train" else "val")
        if kind == "train" and self.config.train_scenes is not None:
            paths = scene_sample(paths, self.config.train_scenes, self.config.seed)
        seed = 2 * (self.config.seed + 1000 * comms.get_rank()) + (kind == "eval")
        return SceneSampler(paths, self.config.batches, seed, start=step, options=self.dataparser.config.read)


def scene_sample(paths: Sequence[Path], count: int, seed: int) -> tuple[Path, ...]:
    """`count` of the scenes, or all where there are fewer. Raises `ConfigError` for a count below 1."""
    if count < 1:
        raise ConfigError(f"train_scenes is {count}: train on 1 scene or more")
    order = np.random.default_rng(seed).permutation(len(paths))
    return tuple(paths[place] for place in order[:count])


def _ray_bundle(batch: TrainBatch) -> RayBundle:
    """The batch's rays in one row: nerfstudio counts them, the model reads the batch."""
    origins = rearrange(batch.origins, "B R xyz -> (B R) xyz")
    directions = rearrange(batch.directions, "B R xyz -> (B R) xyz")
    return RayBundle(origins=origins, directions=directions, pixel_area=torch.ones_like(origins[:, :1]))
