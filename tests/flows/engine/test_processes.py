"""The processes of a run end with it."""

import subprocess
import sys
from pathlib import Path

from tests.support.project import ROOT
from tests.support.wait import until

DRIVER = """
import sys
from pathlib import Path
from flows.engine.processes import Processes
with Processes(Path(sys.argv[1])) as processes:
    processes.run("exec python -m writing", print, print)
"""
WRITING = """
import os, time
from pathlib import Path
Path("stage.new").write_text(str(os.getpid()))
Path("stage.new").rename("stage")
time.sleep(600)
"""

PROVING = """
import sys
import polars as pl
from pathlib import Path
from tasks import package, problems
rows = pl.DataFrame({"id": ["1"], "text": ["late"], "label": ["delivery"]})
package.serve.__file__ = sys.argv[1]
package.repeat(problems.load("text_classification"), Path(), rows, rows)
"""


def test_a_stage_ends_with_a_killed_run_although_the_process_that_forked_it_is_busy(tmp_path: Path) -> None:
    (tmp_path / "writing.py").write_text(WRITING)
    # what is imported for later stages after the first was forked: here without an end
    (tmp_path / "polars.py").write_text("import time\ntime.sleep(600)\n")
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, tmp_path], cwd=ROOT)
    until((tmp_path / "stage").exists)
    stage = int((tmp_path / "stage").read_text())
    server = int(Path(f"/proc/{stage}/stat").read_text().split()[3])
    driver.kill()
    driver.wait()
    until(lambda: not any(Path(f"/proc/{process}").exists() for process in (stage, server)))


def test_the_process_that_proves_a_package_ends_with_a_killed_stage(tmp_path: Path) -> None:
    # a package that takes long to load
    (tmp_path / "writing.py").write_text(f"import os\nos.chdir({str(tmp_path)!r})\n{WRITING}")
    stage = subprocess.Popen([sys.executable, "-c", PROVING, tmp_path / "writing.py"], cwd=ROOT)
    until((tmp_path / "stage").exists)
    serving = int((tmp_path / "stage").read_text())
    stage.kill()
    stage.wait()
    until(lambda: not Path(f"/proc/{serving}").exists())
