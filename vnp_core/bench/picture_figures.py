"""Figures of pictures: what was known, what models make of it, and the truth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from vnp_core.bench.completion import Completion
from vnp_core.bench.extra import import_extra
from vnp_core.bench.figures import Plots
