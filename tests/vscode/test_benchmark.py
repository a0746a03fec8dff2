"""The benchmark of the extension runs: its figures are for a person, who asks when it matters."""

from __future__ import annotations

import subprocess
import sys

from vscode import install


def test_it_gives_a_row_for_each_thing() -> None:
    few = ("--held", "500", "--seconds", "1", "--turns", "4")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "vscode", *few],
        cwd=install.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split("  ")[0] for line in done.stdout.splitlines()[2:]] == [
        "bundle",
        "package",
        "activation",
        "activation of Git, of VS Code's own",
        "stream, 500 tokens held",
        "at rest",
        "memory of the extension host, turns 2 to 4",
        "memory of the page, turns 2 to 4",
    ]
