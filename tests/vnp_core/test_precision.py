"""Which devices take bfloat16, and that others are spared it."""

from pathlib import Path

import pytest
import torch

from vnp_core import muon, precision
from vnp_core.precision import processor_flags, quick_in_bfloat16

CPUINFO = "processor\t: 0\n{name}\t\t: fpu {flags}\n\nprocessor\t: 1\n{name}\t\t: avx512_bf16\n"


@pytest.mark.parametrize(
    ("name", "flags", "quick"),
    [
        ("flags", "avx avx2 f16c", False),
        ("flags", "avx512f avx512vl", False),
        ("flags", "avx512f avx512_bf16", True),
        ("flags", "amx_bf16 amx_tile", True),
        ("Features", "asimd i8mm bf16", True),
        ("Features", "asimd", False),
    ],
)
def test_processors_tell_by_their_flags(monkeypatch, tmp_path: Path, name: str, flags: str, quick: bool):
    file = tmp_path / "cpuinfo"
    file.write_text(CPUINFO.format(name=name, flags=flags))
    monkeypatch.setattr(precision, "CPUINFO", file)
    assert quick_in_bfloat16("cpu") is quick
    assert quick_in_bfloat16(torch.device("cpu")) is quick


def test_a_system_that_does_not_say_so_is_not(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "nowhere")
    assert processor_flags(tmp_path / "nowhere") is None
    assert quick_in_bfloat16("cpu") is False


@pytest.mark.parametrize("card", [True, False])
def test_a_card_says_so_itself(monkeypatch, card: bool):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: card)
    assert quick_in_bfloat16("cuda:0") is card


def test_muon_rounds_where_that_is_quick(monkeypatch):
    matrix = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = []
    for quick in (True, False):
        monkeypatch.setattr(muon, "quick_in_bfloat16", lambda _, told=quick: told)
        found.append(muon.orthogonal_directions(matrix, (3.4445, -4.775, 2.0315), 5, 1e-7))
    assert [directions.dtype for directions in found] == [torch.bfloat16, torch.float32]
    torch.testing.assert_close(found[0].float(), found[1], atol=0.05, rtol=0.05)
