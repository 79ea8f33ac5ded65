"""Work on many utterances, spread over processes of one thread each."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

Job = TypeVar("Job")
Result = TypeVar("Result")

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def spread(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int,
    title: str,
) -> Iterator[Result]:
    """`function(job)` for every job, as they finish, from at most `workers` processes.

    `function` is a module's own and its exceptions end the run. The processes are fresh: they
    share nothing with this one, and numeric libraries in them use one thread, so that a result
    depends neither on the number of workers nor on what this process did before.
    """
    if not jobs:
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    with _single_threaded():
        pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context)
        try:
            futures = [pool.submit(function, job) for job in jobs]
            for future in tqdm(
                as_completed(futures), total=len(jobs), desc=title, unit="job", disable=None
            ):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def kernels(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """What tells OpenBLAS which processor this is, unless somebody has: a copy older than the
    processor, as in NumPy 1, takes it for one of 2004 and multiplies at a quarter of the speed."""
    if "OPENBLAS_CORETYPE" in os.environ or not cpuinfo.exists():
        return {}
    flags = set(cpuinfo.read_text(encoding="utf-8").split())
    for name, needed in (("SkylakeX", "avx512f avx512dq avx512vl"), ("Haswell", "avx2 fma")):
        if flags.issuperset(needed.split()):
            return {"OPENBLAS_CORETYPE": name}
    return {}


@contextmanager
def _single_threaded() -> Iterator[None]:
    # Libraries read these when they are loaded, which is before any code of ours runs there.
    told = dict.fromkeys(THREAD_VARIABLES, "1") | kernels()
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
