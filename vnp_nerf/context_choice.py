"""Which views of a scene the model sees, where nobody says it."""

from vnp_core.errors import ViewCountError
from vnp_nerf.scene import Scene

DEFAULT_CONTEXT = 3


def choose_context(scene: Scene, indices: tuple[int, ...] | None, count: int | None) -> tuple[int, ...]:
    """The views that the model sees: those given, or `count` of the scene's train views, evenly spread."""
    if indices is not None:
        bad = [index for index in indices if not 0 <= index < len(scene)]
        if bad or not indices:
            raise ViewCountError(
                f"scene {scene.path} has views 0 to {len(scene) - 1}, but the context asks for "
                f"{list(indices)}; give numbers in that range"
            )
        return tuple(indices)
    candidates = scene.views_in("train")
    if count is None:
        count = min(DEFAULT_CONTEXT, len(candidates))
    if not 1 <= count <= len(candidates):
        raise ViewCountError(
            f"scene {scene.path} has {len(candidates)} views to choose a context from, but {count} were "
            f"asked for; ask for 1 to {len(candidates)}"
        )
    return tuple(candidates[place * len(candidates) // count] for place in range(count))
