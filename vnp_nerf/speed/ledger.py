"""Times things and keeps the numbers, as rows of a results file."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from torch import Tensor

from vnp_core.bench.encoding_cost import fastest, peak_bytes
from vnp_core.bench.progress import Report
from vnp_core.results import Row
from vnp_nerf.cameras import Cameras, orbit_cameras, picture_rays
from vnp_nerf.memory_budget import MOST
from vnp_nerf.rendering import RayRenderer, Rendering, render_picture


class Ledger:
    """Collects rows while things are timed on one device; `report` is told what, and how much is done."""

    def __init__(self, model: str, device: torch.device, report: Report) -> None:
        self.model, self.device, self._report = model, device, report
        self.rows: list[Row] = []
        self.done = 0

    @contextmanager
    def step(self, what: str) -> Generator[None, None, None]:
        """Something that takes its time; each counts as one."""
        self._report(self.done, what)
        yield
        self.done += 1
        self._report(self.done, what)

    def note(self, task: str, condition: str, metric: str, value: float, model: str = "", n: int = 1) -> None:
        """Keeps one number, which is of `n` pictures, say."""
        self.rows.append(Row(model or self.model, task, "speed", condition, metric, value, None, n))

    def last(self, metric: str) -> float:
        """The number of this metric that was noted last."""
        return next(row.value for row in reversed(self.rows) if row.metric == metric)

    def time(
        self,
        task: str,
        condition: str,
        work: Callable[[], object],
        *,
        model: str = "",
        least: int = 3,
        scale: int = 1,
        memory: bool = True,
        warm: bool = True,
    ) -> float:
        """Seconds, and bytes, of some work; `scale` times as many seconds where the work is but a part.

        Bytes are the most that tensors held at once beyond weights and inputs. `warm`: run it once before,
        since kernels are chosen, and graphs compiled, at the first call.
        """

        def run() -> None:
            work()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

        with self.step(f"{model or self.model}: {task}, {condition}"):
            if warm:
                run()
            seconds = fastest(run, least=least) * scale
            self.note(task, condition, "seconds", seconds, model)
            if memory:
                self.note(task, condition, "peak_bytes", peak_bytes(run, self.device), model)
        return seconds


def cameras_around(count: int, size: int, device: torch.device) -> Cameras:
    """Cameras on a circle that see the whole ball from above and aside."""
    return orbit_cameras(count, 4.0, 25.0, 32.0, size, size).to(device)


def look(field: RayRenderer, cameras: Cameras, chunk: int = MOST) -> Tensor:
    """The first camera's picture [H, W, 3]; [H, W, K, 3] of K draws."""
    height, width = cameras.sizes[0].tolist()
    pose, intrinsics = cameras.camera_to_world[0], cameras.intrinsics[0]
    return render_picture(field, pose, intrinsics, height, width, chunk=chunk).rgb


def look_around(field: RayRenderer, cameras: Cameras, chunk: int) -> Tensor:
    """All cameras' pictures, of one size, [V, H, W, 3], their rays `chunk` at a time."""
    height, width = cameras.sizes[0].tolist()
    rays = [
        picture_rays(pose, intrinsics, height, width)
        for pose, intrinsics in zip(cameras.camera_to_world, cameras.intrinsics, strict=True)
    ]
    origins, directions = (torch.stack(part).flatten(0, 2) for part in zip(*rays, strict=True))
    parts = [field.render(o, d) for o, d in zip(origins.split(chunk), directions.split(chunk), strict=True)]
    return Rendering.cat(parts).rgb.unflatten(0, (len(cameras), height, width))
