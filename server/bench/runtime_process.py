"""One generator in a process of its own: times, the machine's peak in the same runtime, and memory.

Run as ``python -m server.bench.runtime_process frame NAME SIZE FRAMES`` or ``... generator NAME SIZE BATCHES
ROUNDS THREADS``; prints JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from server.bench.networks import Name, gflops_of_a_frame, make_generator
from server.bench.results import Times
from server.errors import UserError

__all__ = ["held_bytes", "measure_frame", "measure_generator", "peak_gflops", "use_threads"]

#: The large convolution: 256 channels to 256, 3x3, on 64x64 places; 4.8 GFLOPs.
_CHANNELS, _SIDE = 256, 64
_OPERATIONS: Final = 2 * _CHANNELS * _CHANNELS * 9 * _SIDE * _SIDE


def measure_generator(
    name: Name, size: int, batches: Sequence[int], rounds: int, threads: int
) -> list[Times]:
    """Measure in a fresh process, so that its memory is this generator's alone.

    Args:
        batches: numbers of frames generated together; runtimes that do not batch make them one by one.
        rounds: repetitions of each.
        threads: of the runtime; the inference process gives it one.

    Raises:
        UserError: the process failed; its last words are in the message.
    """
    return _measured("generator", name, size, ",".join(map(str, batches)), rounds, threads)


def measure_frame(name: Name, size: int, frames: int) -> list[Times]:
    """Each step of a driver's frame (:func:`server.bench.stages.time_frame`) in a fresh process.

    In one process with others, a generator that is measured later is slower: by a fifth.

    Raises:
        UserError: the process failed; its last words are in the message.
    """
    return _measured("frame", name, size, frames)


def _measured(what: str, name: Name, *arguments: object) -> list[Times]:
    module = [sys.executable, "-W", "ignore", "-m", "server.bench.runtime_process"]
    done = subprocess.run(
        [*module, what, name, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(f"{name} could not be measured: {done.stderr.strip()[-500:]}")
    return [Times(**one) for one in json.loads(done.stdout.splitlines()[-1])]


def peak_gflops(name: Name, threads: int = 1, seconds: float = 1.0) -> float:
    """What this machine does in a large convolution, GFLOP/s: the best of many runs.

    Args:
        name: whose runtime and precision.
        threads: of it.
        seconds: how long to try.
    """
    run = _torch_convolution(threads) if name is Name.TORCH else _openvino_convolution(name, threads)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - began)
    return _OPERATIONS / best / 1e9


def held_bytes(value: Any) -> int:
    """Bytes of all arrays and tensors that an object holds, each piece of memory once."""
    seen: set[int] = set()

    def count(inner: Any) -> int:
        if id(inner) in seen:
            return 0
        seen.add(id(inner))
        if isinstance(inner, np.ndarray):
            return count(inner.base) if isinstance(inner.base, np.ndarray) else inner.nbytes
        if hasattr(inner, "untyped_storage"):
            storage = inner.untyped_storage()
            if storage.data_ptr() in seen:
                return 0
            seen.add(storage.data_ptr())
            return int(storage.nbytes())
        if isinstance(inner, dict):
            return sum(map(count, inner.values()))
        if isinstance(inner, list | tuple):
            return sum(map(count, inner))
        if hasattr(inner, "__dict__"):
            return count(vars(inner))
        return 0

    return count(value)


def _torch_convolution(threads: int) -> Callable[[], object]:
    import torch

    torch.set_num_threads(threads)
    convolution = torch.nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1)
    picture = torch.rand(1, _CHANNELS, _SIDE, _SIDE)

    def run() -> object:
        with torch.inference_mode():
            return convolution(picture)

    return run


def _openvino_convolution(name: Name, threads: int) -> Callable[[], object]:
    from models.marionette.openvino_int8 import quantised
    from models.marionette.openvino_runtime import bf16_is_fast
    from models.marionette.silent_openvino import core, openvino, ops

    random = np.random.default_rng(0)
    picture = random.random((1, _CHANNELS, _SIDE, _SIDE), np.float32)
    weight = random.standard_normal((_CHANNELS, _CHANNELS, 3, 3), np.float32)
    given = ops.parameter(picture.shape, np.float32)
    read, kernel = given, ops.constant(weight)
    # Around 8 bits, here in the conversions, as in calls (models.marionette.openvino_runtime).
    hint = "bf16" if name is Name.OPENVINO_BF16 or (name is Name.OPENVINO_INT8 and bf16_is_fast()) else "f32"
    if name is Name.OPENVINO_INT8:
        ranges = np.repeat(np.array([[0.0], [1.0]], np.float32), _CHANNELS, axis=1)
        read, kernel = quantised(given, weight, ranges)
    convolved = ops.convolution(read, kernel, [1, 1], [1, 1], [1, 1], [1, 1])
    options = {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = openvino.Model([convolved], [given])
    request = core.compile_model(model, "CPU", options).create_infer_request()
    return lambda: request.infer([picture], share_inputs=True)


def _measure_here(name: Name, size: int, batches: Sequence[int], rounds: int, threads: int) -> list[Times]:
    from server.bench.clip import astronaut
    from server.bench.stages import time_generator

    use_threads(name, threads)
    generator = make_generator(name, size, threads)
    image, landmarks = astronaut()
    target_kib = held_bytes(generator.encode_target(image[None], landmarks[None])) / 1024
    times = []
    for batch in batches:
        (one,) = time_generator(generator, [batch], rounds=max(3, rounds // batch))
        times.append(replace(one, memory_mib=_most_memory_mib(), target_kib=target_kib))
    if name is Name.MESH_WARP:
        return times
    gflops, peak = gflops_of_a_frame(), peak_gflops(name, threads)
    return [replace(one, gflops=gflops, peak_gflops=peak) for one in times]


def use_threads(name: Name, threads: int) -> None:
    """Torch's threads are a setting of the process."""
    if name is Name.TORCH:
        import torch

        torch.set_num_threads(threads)


def _most_memory_mib() -> float:
    """The most resident memory that this process had so far."""
    try:  # getrusage on Linux counts what the process was forked from as well
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (2**20 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Entry point."""
    what, name, size, *rest = sys.argv[1:]
    if what == "frame":
        from server.bench.stages import time_frame

        use_threads(Name(name), 1)
        times = time_frame(make_generator(Name(name), int(size)), frames=int(rest[0]))
    else:
        sizes = [int(batch) for batch in rest[0].split(",")]
        times = _measure_here(Name(name), int(size), sizes, int(rest[1]), int(rest[2]))
    print(json.dumps([asdict(one) for one in times]))


if __name__ == "__main__":
    main()
