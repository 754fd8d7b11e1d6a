"""Two processes with half a batch each have the gradients of one process with all of it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = """
import sys
from dataclasses import replace
from unittest import mock

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from smallest import SMALLEST
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vnp_core.latents import LatentConfig
from vnp_nerf.batches import TrainBatch
from vnp_nerf.cameras import orbit_cameras, pixel_rays
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.views import Views

# Means over scenes are means over processes only where no term has a floor, and all scenes have one
# objective.
CONFIG = replace(
    SMALLEST, latents=LatentConfig(levels=2, dim=4, hidden=8), train_samples=8, bfloat16=False,
    likelihood_weight=0.1,
)
SIDE, RAYS = 16, 12


def batch_of(scenes):
    generator = torch.Generator().manual_seed(0)
    cameras = orbit_cameras(4, 4.0, 25.0, 30.0, SIDE, SIDE)
    poses, intrinsics, sizes = cameras.camera_to_world, cameras.intrinsics, cameras.sizes
    rgba = torch.rand(2, 4, 4, SIDE, SIDE, generator=generator)
    pixels = torch.randint(SIDE, (2, RAYS, 2), generator=generator)
    every = Views(
        rgba, poses[None].repeat(2, 1, 1, 1), intrinsics[None].repeat(2, 1, 1), sizes[None].repeat(2, 1, 1),
        torch.ones(2, 4, dtype=torch.bool),
    )
    targets = every.select_views([2, 3])
    origins, directions = pixel_rays(targets.camera_to_world[:, :1], targets.intrinsics[:, :1], pixels + 0.5)
    seen = torch.stack([targets.rgba[s, 0][:, pixels[s, :, 1], pixels[s, :, 0]].T for s in range(2)])
    part = slice(scenes[0], scenes[-1] + 1)
    return TrainBatch(
        every.select_views([0, 1]).select_scenes(part), targets.select_scenes(part),
        origins[part].contiguous(), directions[part], seen[part],
        (torch.rand(2, RAYS, generator=generator) < 0.3)[part], [str(scene) for scene in scenes],
    )


class Loss(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.model = RadianceModel(CONFIG)

    def forward(self, batch):
        with mock.patch("torch.rand", lambda *shape, **_: torch.full(shape, 0.5)):
            outputs = self.model.train_outputs(batch, None)
        return sum(self.model.loss_terms(outputs, batch, 10).values())


def gradients(module):
    return {n.removeprefix("module."): p.grad for n, p in module.named_parameters() if p.grad is not None}


def work(rank, port, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", world_size=2, rank=rank)
    module = DistributedDataParallel(Loss(), find_unused_parameters=True)
    module(batch_of([rank])).backward()
    torch.save(gradients(module), f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    folder, port = sys.argv[1], int(sys.argv[2])
    alone = Loss()
    alone(batch_of([0, 1])).backward()
    torch.save(gradients(alone), f"{folder}/alone.pt")
    mp.spawn(work, nprocs=2, args=(port, folder))
"""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.equivalence("two processes and one")
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_gradients_of_two_processes_are_those_of_the_joined_batch(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tmp_path), str(free_port())]
    places = [str(Path(__file__).resolve().parents[1] / "shared"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    alone, *ranks = (torch.load(tmp_path / f"{name}.pt") for name in ("alone", 0, 1))
    assert len(alone) > 20
    assert any(float(value.abs().max()) > 1e-3 for value in alone.values())
    for shared in ranks:
        assert shared.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(shared[name], value, rtol=1e-4, atol=1e-6, msg=name)
