"""The DAG of dvc.yaml, run in parallel and, with a profile, on a cluster: `snakemake -j 4`.

There is one rule for each DVC stage, made from dvc.yaml itself, and DVC decides what is stale
by its hashes. Each rule leaves a marker; those of stale stages and of all that follows from
them are taken away here, before Snakemake looks.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import networkx as nx
from dvc.repo import Repo

MARKERS = Path(".snakemake/stages")

if workflow.is_main_process:
    subprocess.run([sys.executable, "workflow/stages/lock.py"], check=True)
repo = Repo(_wait_for_lock=True)
with repo.lock:  # a job reads dvc.lock here, which another may be writing
    graph = repo.index.graph  # an edge points from a stage to what it depends on


def marker(stage):
    return str(MARKERS / f"{stage.addressing}.done")


if workflow.is_main_process:  # jobs read this file again: they must find the markers as they are
    repo.reproduce("validate")
    status = repo.status()
    # The first stage has just run, and always will.
    stale = {s for s in graph if s.addressing in status and not s.always_changed}
    stale |= {later for stage in stale for later in nx.ancestors(graph, stage)}
    MARKERS.mkdir(parents=True, exist_ok=True)
    for stage in graph:
        path = Path(marker(stage))
        if stage in stale:
            path.unlink(missing_ok=True)
        else:
            path.touch()
            os.utime(path, (0, 0))  # all of one age, so that none is newer than what follows it


rule all:
    default_target: True
    input:
        [marker(stage) for stage in graph],


for stage in graph:

    rule:
        name:
            re.sub(r"\W", "_", stage.addressing)
        input:
            [marker(needed) for needed in graph.successors(stage)],
        output:
            touch(marker(stage)),
        params:
            stage=stage.addressing,
        message:
            f"{stage.addressing}: {stage.desc}"
        shell:
            "dvc --wait-for-lock repro --single-item {params.stage:q}"
