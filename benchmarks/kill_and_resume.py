"""Kill a search with SIGKILL at random moments, resume it, and compare with an uninterrupted run.

    python benchmarks/kill_and_resume.py [--kills 20]

Every round starts a search in a new process group, kills it at a random moment of its life and reads the trials
that survived; then it resumes to the end. The front must be identical to the last bit, and no trial that was
recorded may be missing or changed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from nas.search.run import Run

NAS = Path(sys.executable).with_name("nas")
COMMAND = ["search", "--space", "mbconv", "--target", "pixel4", "--seed", "7"]


def search(out: Path) -> subprocess.Popen[bytes]:
    arguments = [NAS, *COMMAND, "--out", out]
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def trials(folder: Path) -> list[tuple[bytes, str]]:
    history = Run.open(folder).history()
    records = history.metrics.to_dict(orient="records")
    return [(code.tobytes(), repr(record)) for code, record in zip(history.codes, records, strict=True)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    kills = parser.parse_args().kills
    rng = np.random.default_rng()
    failures = 0
    with tempfile.TemporaryDirectory() as root:
        whole = Path(root) / "uninterrupted"
        start = time.perf_counter()
        search(whole).wait()
        duration = time.perf_counter() - start
        expected_trials, expected_front = trials(whole), (whole / "front.csv").read_bytes()
        print(f"uninterrupted: {len(expected_trials)} trials in {duration:.1f} s")
        for i in range(kills):
            folder, moment = Path(root) / f"killed{i}", rng.uniform(0, duration)
            process = search(folder)
            time.sleep(moment)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kept = trials(folder) if folder.exists() else []
            verb = ["resume", folder] if folder.exists() else [*COMMAND, "--out", folder]
            subprocess.run([NAS, *verb], check=True, capture_output=True)
            after = trials(folder)
            same = (folder / "front.csv").read_bytes() == expected_front
            intact = after[: len(kept)] == kept and after == expected_trials
            failures += not (same and intact)
            print(f"killed after {moment:4.1f} s with {len(kept):6d} trials kept: front identical {same}, "
                  f"trials intact {intact}", flush=True)  # fmt: skip
    print(f"{kills - failures} of {kills} kills survived without a difference")
    return failures


if __name__ == "__main__":
    sys.exit(main())
