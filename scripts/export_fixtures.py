#!/usr/bin/env python3
"""Writes tests/fixtures from the Python packages the losses follow (scripts/requirements.txt).

    python scripts/export_fixtures.py [FAMILY ...]

Rerunning gives the same bytes.
"""

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent / "fixtures"


def main():
    families = sorted(p.stem for p in HERE.glob("*.py") if p.stem != "common")
    wanted = sys.argv[1:] or families
    unknown = sorted(set(wanted) - set(families))
    if unknown:
        sys.exit(f"no such family: {', '.join(unknown)}; there are {', '.join(families)}")
    sys.path.insert(0, str(HERE))
    for family in wanted:
        importlib.import_module(family).main()


if __name__ == "__main__":
    main()
