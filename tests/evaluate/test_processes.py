import math
import os

import pytest

from ecc.evaluate.processes import THREAD_VARIABLES, spread


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
