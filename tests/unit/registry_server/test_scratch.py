"""Directories for a while: what a killed process left goes, what another one uses stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from boxwright.registry.server.store.collector import rehearse
from boxwright.registry.server.store.scratch import scratch, sweep
from support.server import serving

HOLD = """
import sys, time
from pathlib import Path
from boxwright.registry.server.store.scratch import scratch
with scratch(Path(sys.argv[1])) as folder:
    (folder / "config.json").write_text("a token")
    print(folder, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_goes_and_a_living_ones_stays(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, tmp_path / "tmp"], stdout=subprocess.PIPE, text=True, env=environ
        )
        for _ in range(2)
    ]
    try:
        killed, living = (Path(process.stdout.readline().strip()) for process in processes if process.stdout)
        processes[0].send_signal(signal.SIGKILL)
        processes[0].wait()
        assert (killed / "config.json").exists()
        sweep(tmp_path / "tmp")
        assert os.listdir(tmp_path / "tmp") == [living.name] and (living / "config.json").exists()
        with scratch(tmp_path / "tmp") as mine:
            assert mine.stat().st_mode & 0o777 == 0o700 and living.exists()
        assert os.listdir(tmp_path / "tmp") == [living.name]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_rehearsal_of_the_collector_leaves_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "reg") as client:
        client.push_blob("a/x", b"layer")
        left = tmp_path / "reg/tmp/killed"
        left.mkdir(parents=True)
        rehearse(client.service.config, client.service.catalog, client.service.blobs)
        assert os.listdir(tmp_path / "reg/tmp") == []
