"""The SLURM profile: its rules are those of the Snakefile, and a cluster of this one machine, which
keeps no account of jobs, runs the stages.
"""

import contextlib
import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML
from test_dag import TRAINING, Clone, finished, fresh  # noqa: F401  (fixtures)
from test_share import change_a_lambda, free_port

ROOT = Path(__file__).parents[2]
PROFILE = Path("workflow/profiles/slurm")
SLURM_CONF = Path("/etc/slurm/slurm.conf")  # jobs look nowhere else
CONFIGURATION = """\
ClusterName=ecc
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=64000
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def test_the_profile_names_rules_of_the_snakefile() -> None:
    text = (ROOT / PROFILE / "config.yaml").read_text(encoding="utf-8")
    (example,) = re.findall(r"^(# set-resources:\n(?:#   .*\n)+)", text, flags=re.MULTILINE)
    named = YAML(typ="safe").load(re.sub("^# ", "", example, flags=re.MULTILINE))["set-resources"]
    stages = [stage.addressing for stage in Repo(str(ROOT)).index.stages]
    training = {re.sub(r"\W", "_", stage) for stage in stages if stage.startswith("train@")}
    assert named and set(named) <= training


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[None]:
    """SLURM on this machine, without job accounting."""
    for program, package in (
        ("slurmctld", "slurm-wlm"),
        ("slurmd", "slurm-wlm"),
        ("munged", "munge"),
    ):
        if not shutil.which(program, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin"):
            pytest.skip(f"program {program} not found; install {package}")
    if os.getuid() != 0:
        pytest.skip("not root, whom a node of SLURM needs")
    if SLURM_CONF.exists():
        pytest.skip(f"{SLURM_CONF} exists: this machine belongs to a cluster")
    key, socket_ = tmp_path / "key", tmp_path / "munge.socket"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    (tmp_path / "state").mkdir()
    (tmp_path / "spool").mkdir()
    configuration = tmp_path / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=socket.gethostname().partition(".")[0], user=getpass.getuser(), folder=tmp_path,
            controller=free_port(), node=free_port(),
        )
    )  # fmt: skip
    files = [f"--{name}-file={tmp_path}/munge.{name}" for name in ("pid", "log", "seed")]
    commands = [
        ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={socket_}", *files],
        ["slurmctld", "-D", "-f", str(configuration)],
        ["slurmd", "-D", "-f", str(configuration)],
    ]
    with contextlib.ExitStack() as stack:
        SLURM_CONF.symlink_to(configuration)
        stack.callback(SLURM_CONF.unlink)  # left behind, it would slow down every Snakemake
        environment = os.environ | {"PATH": f"{os.environ['PATH']}{os.pathsep}/usr/sbin"}
        log = stack.enter_context((tmp_path / "slurm.log").open("wb"))
        for command in commands:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            while command[0] == "munged" and not socket_.exists():
                assert process.poll() is None
                time.sleep(0.1)
        for _ in range(60):
            states = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True)
            if states.stdout.strip() == "idle":
                break
            time.sleep(0.5)
        else:
            pytest.fail((tmp_path / "slurm.log").read_text())
        yield


@pytest.mark.slow
def test_a_cluster_without_accounting_runs_the_study(cluster: None, fresh: Clone) -> None:  # noqa: F811
    model = change_a_lambda(fresh)
    content = YAML(typ="safe").load(fresh.path / "params.yaml")
    content["study"]["codecs"] = ["ecc", "opus"]
    YAML().dump(content, fresh.path / "params.yaml")
    # The stages take seconds: look sooner than is right for a cluster with users.
    snakemake = ["snakemake", "--workflow-profile", str(PROFILE)]
    snakemake += ["--slurm-init-seconds-before-status-checks", "12"]
    snakemake += ["--seconds-between-status-checks", "5"]
    try:
        ran = fresh.ran("timeout", "900", *snakemake)
    except AssertionError:
        for log in fresh.path.glob(".snakemake/slurm_logs/*/*.log"):
            print(log.read_text())
        raise
    assert ran & TRAINING == {f"train@{model}"}
    assert {"corpus", "encode@ecc", "decode@opus", "score@opus", "report"} <= ran
    assert fresh.ran("dvc", "repro", "--quiet") <= {"validate"}
