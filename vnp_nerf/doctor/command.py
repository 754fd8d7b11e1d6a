"""`vnp-doctor`: one line for each thing that vnp-nerf stands on, what is wrong with it, and what to type."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from vnp_nerf.doctor import installation, machine
from vnp_nerf.doctor.findings import Examination, Finding, examined, exit_code

EXAMINATIONS: dict[str, Examination] = {
    "python": installation.python,
    "torch": installation.torch,
    "device": machine.device,
    "bf16 and AMX": machine.bfloat16,
    "threads": machine.threads,
    "nerfstudio": installation.nerfstudio,
    "packages": installation.packages,
    "ffmpeg": installation.ffmpeg,
    "system libraries": installation.system_libraries,
    "weights": installation.weights,
    "memory": machine.memory,
    "disk": machine.disk,
}
"""In the order in which they are told."""

_EPILOG = """\
Each line: ok, note (it works, and could work better) or wrong; what is there; what to type.

exit codes: 0 if nothing is wrong, 20 if something is, 2 for arguments that are not understood."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script. It needs the standard library alone, so that it runs where little else does."""
    parser = argparse.ArgumentParser(
        prog="vnp-doctor",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    parser.add_argument("--quiet", action="store_true", help="print what is wrong alone")
    options = parser.parse_args(arguments)
    findings: list[Finding] = []
    for name, examination in EXAMINATIONS.items():
        found = examined(name, examination)
        findings += found
        told = [finding for finding in found if finding.state == "wrong" or not options.quiet]
        if told and not options.json:
            print("\n".join(finding.line() for finding in told), flush=True)
    code = exit_code(findings)
    if options.json:
        report = {"findings": [asdict(finding) for finding in findings], "exit_code": code}
        print(json.dumps(report, indent=1))
    return code


if __name__ == "__main__":
    sys.exit(main())
