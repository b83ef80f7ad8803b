"""`tests/on-call`: the shifts, each in a process of its own and all at once; then what came of them, as a page of the docs."""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys

from conftest import ROOT

from . import report
from .shift import Shift
from .trouble import LENGTH, SHIFTS

PAGE = ROOT / "docs" / "on-call.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/on-call", description="Two hours of on-call, at three intensities of trouble.")
    parser.add_argument("--minutes", type=float, default=LENGTH, help="end the shifts after so many minutes")
    parser.add_argument(
        "--pace", type=float, default=1.0, help="how many of the plan's minutes pass in one; the rules' own times stay what they are"
    )
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target" / "on-call", help="where all that is left lies")
    parser.add_argument("--shift", choices=SHIFTS, help="one shift only, and no page")
    parser.add_argument("--report", action="store_true", help="write the page from what the last run left")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    if arguments.shift:
        Shift(arguments.shift, folder / arguments.shift, arguments.minutes, arguments.pace).run()
        return 0
    if not arguments.report:
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, "-m", "on_call", "--folder", folder, "--minutes", str(arguments.minutes), "--pace", str(arguments.pace)]
        command.append("--shift")
        shifts = [subprocess.Popen([*command, name]) for name in SHIFTS]
        if any([shift.wait() for shift in shifts]):
            print("a shift failed; what it left is in", folder, file=sys.stderr)
            return 1
    results = [json.loads((folder / name / "result.json").read_text()) for name in SHIFTS]
    page = report.page(results)
    if arguments.minutes < LENGTH and not arguments.report:
        print(page)
    else:
        PAGE.write_text(page)
        print("written:", PAGE.relative_to(ROOT))
    return 0


sys.exit(main())
