"""The console scripts, light enough to say at once that they start."""

from vnp_core.errors import exit_on_error
from vnp_nerf.console import run_command
from vnp_nerf.face.entry_points import check_nerfstudio


def vnp_export() -> None:
    """See `vnp_nerf.face.export_command`."""
    with exit_on_error():
        run_command("vnp_nerf.face.export_command", check_nerfstudio)


def vnp_infer() -> None:
    """See `vnp_nerf.infer`."""
    with exit_on_error():
        run_command("vnp_nerf.infer", check_nerfstudio)


def vnp_scenes() -> None:
    """See `vnp_nerf.checking.command`."""
    run_command("vnp_nerf.checking.command")
