"""The methods that `ns-train` lists: vnp-nerf, vnp-nerf-tiny and vnp-nerf-paper."""

from typing import Literal

import torch
from nerfstudio.configs.base_config import LocalWriterConfig, LoggingConfig, MachineConfig
from nerfstudio.engine.optimizers import OptimizerConfig
from nerfstudio.plugins.types import MethodSpecification

from vnp_core.encoder import EncoderConfig
from vnp_core.latents import LatentConfig
from vnp_nerf.batches import BatchConfig
from vnp_nerf.face.datamanager import VNPDataManagerConfig
from vnp_nerf.face.model import VNPModelConfig, VNPPaperModelConfig
from vnp_nerf.face.pipeline import VNPPipelineConfig
from vnp_nerf.face.schedulers import AdamWConfig, MuonConfig, WarmupCosineConfig
from vnp_nerf.face.trainer import VNPTrainerConfig
from vnp_nerf.radiance import RadianceConfig


def _device() -> Literal["cuda", "cpu"]:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _method(
    name: str,
    model: VNPModelConfig,
    batches: BatchConfig,
    steps: int,
    optimizer: OptimizerConfig,
    matrices: OptimizerConfig,
) -> VNPTrainerConfig:
    return VNPTrainerConfig(
        method_name=name,
        machine=MachineConfig(device_type=_device()),
        logging=LoggingConfig(
            steps_per_log=50, local_writer=LocalWriterConfig(enable=False), profiler="none"
        ),
        vis="tensorboard",
        pipeline=VNPPipelineConfig(datamanager=VNPDataManagerConfig(batches=batches), model=model),
        optimizers={
            "matrices": {"optimizer": matrices, "scheduler": WarmupCosineConfig()},
            "others": {"optimizer": optimizer, "scheduler": WarmupCosineConfig()},
        },
        mixed_precision=False,  # the scene model computes in bfloat16 by itself, on the CPU too
        max_num_iterations=steps,
        steps_per_save=1000,
        steps_per_eval_batch=250,
        steps_per_eval_image=1000,
        steps_per_eval_all_images=2500,
    )


vnp_nerf = MethodSpecification(
    config=_method(
        "vnp-nerf",
        VNPModelConfig(),
        BatchConfig(scenes_per_batch=16, rays_per_scene=256, context_share=0.25),
        20_000,
        AdamWConfig(),
        MuonConfig(),
    ),
    description="Versatile Neural Processes: a radiance field of a new object from a few posed pictures",
)

vnp_nerf_tiny = MethodSpecification(
    config=_method(
        "vnp-nerf-tiny",
        VNPModelConfig(
            radiance=RadianceConfig(
                canvas=32,
                encoder=EncoderConfig(width=96, layers=2, heads=4, hidden=192),
                latents=LatentConfig(levels=2, dim=8, hidden=96),
                plane_cells=8,
                plane_resolution=16,
                plane_channels=12,
                plane_layers=1,
                local_channels=12,
                local_width=24,
                width=48,
                train_samples=24,
                render_samples=48,
            )
        ),
        BatchConfig(scenes_per_batch=8, rays_per_scene=256, context_share=0.25),
        3_000,
        AdamWConfig(),
        MuonConfig(),
    ),
    description="vnp-nerf, small enough to train on two CPU cores",
)

vnp_nerf_paper = MethodSpecification(
    config=_method(
        "vnp-nerf-paper",
        VNPPaperModelConfig(),
        BatchConfig(scenes_per_batch=32, rays_per_scene=128, min_context_views=1, max_context_views=1),
        100_000,
        AdamWConfig(lr=1e-4),
        AdamWConfig(lr=1e-4),
    ),
    description="The released model of the Versatile Neural Processes paper, on a GPU",
)
