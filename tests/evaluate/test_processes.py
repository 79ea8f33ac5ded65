import math
import os

import pytest

from ecc.evaluate.processes import THREAD_VARIABLES, kernels, spread


def test_every_job_is_done_once():
    assert sorted(spread(math.factorial, list(range(8)), 2, "")) == [
        math.factorial(n) for n in range(8)
    ]


def test_no_job_starts_no_process():
    assert list(spread(os.getenv, [], 2, "")) == []


def test_workers_have_one_thread():
    assert list(spread(os.getenv, list(THREAD_VARIABLES), 1, "")) == ["1"] * len(THREAD_VARIABLES)


def test_an_exception_ends_the_run():
    with pytest.raises(ValueError, match="negative"):
        list(spread(math.factorial, [1, -1, 2], 1, ""))


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("fma avx2 avx512f avx512dq avx512vl", "SkylakeX"),
        ("avx2 fma avx512f", "Haswell"),
        ("sse2 avx", None),
    ],
)
def test_openblas_is_told_what_the_processor_can(tmp_path, monkeypatch, flags, name):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"flags\t\t: fpu {flags}\n")
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert kernels(cpuinfo).get("OPENBLAS_CORETYPE") == name
    assert kernels(tmp_path / "none") == {}
    expected = kernels().get("OPENBLAS_CORETYPE")
    assert list(spread(os.getenv, ["OPENBLAS_CORETYPE"], 1, "")) == [expected]
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    assert kernels(cpuinfo) == {}
