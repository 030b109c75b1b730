"""Machine code that is kept for the next start: always the signature's own, whoever keeps what at once."""

from __future__ import annotations

import fcntl
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import caching

from models import compiled as compiled_module
from models.compiled import compiled

MODULE = """
from models.compiled import compiled

@compiled
def total(values):
    sum = 0.0
    for k in range(len(values)):
        sum += values[k]
    return sum
"""
#: Sums every first, second, ... number: other steps through the memory are other signatures. An array that
#: was given to the other's machine code would be read without its steps.
SUMS = """
import sys
import numpy as np
from summing import total

numbers = np.zeros(4000)
numbers[::4] = 1.0
for step in map(int, sys.argv[1:]):
    assert total(numbers[::step]) == 1000.0, step
print(sum(total.stats.cache_hits.values()), sum(total.stats.cache_misses.values()))
"""
#: Between reading the index and writing it there is time for the other process.
SLOWLY = """
import sys, time
from pathlib import Path
from numba.core import caching
from models import compiled

folder, me, other = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
save, load_index = compiled._Cache.save_overload, caching.IndexDataCacheFile._load_index

def together(*arguments):
    (folder / me).touch()
    while not (folder / other).exists():
        time.sleep(0.005)
    save(*arguments)

def slowly(*arguments):
    index = load_index(*arguments)
    if sys._getframe(1).f_code.co_name == "save":
        time.sleep(0.5)
    return index

compiled._Cache.save_overload = together
caching.IndexDataCacheFile._load_index = slowly
sys.argv = ["", me]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a module to be compiled and, later, what is kept of it."""
    (tmp_path / "summing.py").write_text(MODULE)
    return tmp_path


def start(folder: Path, program: str, *arguments: object) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(folder), str(Path(__file__).parents[3])])
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": paths}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def kept(folder: Path, *steps: int) -> tuple[int, int]:
    """How many signatures were there already for a new process, and how many were not."""
    process = start(folder, SUMS, *steps)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    hits, misses = map(int, said.split())
    return hits, misses


def test_what_two_processes_keep_at_once_is_kept_by_both(folder: Path) -> None:
    processes = [start(folder, SLOWLY + SUMS, folder, me, other) for me, other in (("1", "2"), ("2", "1"))]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert kept(folder, 1, 2) == (2, 0)
    assert len(list(folder.glob("cache/*/*.nbc"))) == 2


def test_anothers_machine_code_is_not_taken_and_soon_replaced(folder: Path) -> None:
    """As processes left it that kept something at once when there was no lock yet."""
    assert kept(folder, 1, 2) == (0, 2)
    (index,) = folder.glob("cache/*/*.nbi")
    with index.open("rb") as file:
        version = pickle.load(file)
        stamp, names = pickle.loads(file.read())
    names = dict.fromkeys(names, max(names.values()))
    index.write_bytes(pickle.dumps(version, protocol=-1) + pickle.dumps((stamp, names), protocol=-1))
    assert kept(folder, 1, 2)[1] > 0
    kept(folder, 1, 2)
    assert kept(folder, 1, 2) == (2, 0)


def test_nobody_waits_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(caching.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiled_module, "_LOCK_S", 0.1)

    @compiled
    def half(x: float) -> float:
        return x / 2

    cache = Path(half._cache.cache_path)  # type: ignore[attr-defined]
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "compiled.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with caplog.at_level(logging.WARNING):
            assert half(84.0) == 42.0
    assert "could not be kept" in caplog.text
    assert not list(cache.glob("*.nbc"))
    assert half(84) == 42.0
    assert len(list(cache.glob("*.nbc"))) == 1
