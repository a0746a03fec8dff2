"""Runs one benchmark: `python -m benchmarks NAME [--only PARTS] [--json]`, and what else it takes; `--list` names them.

Never decides whether a figure is good.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from pathlib import Path

NAMES = tuple(sorted(p.stem.replace("_", "-") for p in Path(__file__).parent.glob("[a-z]*.py")))


def main() -> None:
    """Prints a table, and with `--json` one JSON object as the last line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES)
    parser.add_argument("--only", help="some parts of one that has parts, by their names with commas between")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--list", action="store_true", help="name the benchmarks")
    options, rest = parser.parse_known_args()
    if options.list or options.name is None:
        print("\n".join(NAMES))
        return
    module = importlib.import_module(f"benchmarks.{options.name.replace('-', '_')}")
    if rest and not hasattr(module, "arguments"):
        parser.error(f"{options.name} takes no {' '.join(rest)}")
    if hasattr(module, "arguments"):
        result = module.run(module.arguments(rest))
    elif options.only is None:
        result = module.run()
    else:
        parts = getattr(module, "PARTS", ())
        chosen = tuple(options.only.split(","))
        if not set(chosen) <= set(parts):
            parser.error(f"{options.name} has these parts: {', '.join(parts) or 'none'}")
        result = module.run(chosen)
    rows = module.table(result)
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    out = sys.stderr if options.json else sys.stdout
    print(f"{options.name}: {module.DOC}", file=out)
    for row in rows:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), file=out)
    if options.json:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
        print(json.dumps({"benchmark": options.name, "machine": machine, **result}))


if __name__ == "__main__":
    main()
