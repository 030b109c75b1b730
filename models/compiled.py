"""Functions that run as machine code: what works pixel by pixel or point by point in every frame.

On patches of a few thousand pixels NumPy spends its time between its operations. Numba compiles each function
at its first call and keeps the result beside the source (or in ``NUMBA_CACHE_DIR``, or in the user's cache),
so that only the first start after an installation takes seconds longer.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from numba.core import sigutils
from numba.core.caching import FunctionCache

__all__ = ["compiled", "float32", "uint8"]

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])
_ENDING: Final = (signal.SIGINT, signal.SIGTERM)
_LOCK: Final = "compiled.lock"
#: Who holds the lock writes two small files; Ctrl-C waits meanwhile, so that nobody waits for ever.
_LOCK_S: Final = 5.0


class _Cache(FunctionCache):
    """Numba's cache; one that cannot be written (a full disk) costs the next start its time, no more.

    Numba reads the index of a function's signatures, chooses the next file's name, and writes both, without a
    lock. So two processes that keep different signatures at once choose the same name, and from then on one
    signature's arrays are given to the other's machine code.
    """

    _wrong = False  # the index names another signature's machine code

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            self._impl.locator.ensure_cache_path()
            with _alone_in(self.cache_path):
                if self._wrong:  # else both signatures would go on taking each other's place
                    self.flush()
                    self._wrong = False
                super().save_overload(sig, data)
        except OSError as error:
            logger.warning("Compiled functions could not be kept for the next start: %s", error)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        kept = super().load_overload(sig, target_context)
        if kept is not None and tuple(kept.signature.args) != tuple(sigutils.normalize_signature(sig)[0]):
            self._wrong = True  # from before there was a lock; it is compiled and kept anew
            return None
        return kept


@contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """Let one thread of one process at a time through, for a folder.

    Raises:
        OSError: the folder cannot be written, or others go on and on.
    """
    end = time.monotonic() + _LOCK_S
    lock = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TimeoutError(f"{folder} stays locked") from None
                time.sleep(0.02)
        try:
            yield
        finally:
            # Not by closing it alone: a process forked meanwhile has the lock as well.
            fcntl.flock(lock, fcntl.LOCK_UN)
    finally:
        os.close(lock)


def compiled(function: Function) -> Function:
    """Compile a function, without Python's lock; it must keep to what Numba knows of Python and NumPy.

    Division by zero gives infinity or NaN, as in NumPy. No index is checked: what comes from outside has to
    be brought within bounds first. That is why arithmetic is strict: LLVM's ``nsz`` lets NaN through a clamp.
    """
    dispatcher: Any = numba.njit(nogil=True, error_model="numpy")(function)
    dispatcher.compile = _uninterrupted(dispatcher.compile)
    try:
        dispatcher._cache = _Cache(function)
    except RuntimeError:  # no folder at all may be written
        logger.warning("%s is compiled anew at each start: no folder can be written", function.__qualname__)
    return cast("Function", dispatcher)


def _uninterrupted(compiling: Function) -> Function:
    @wraps(compiling)
    def whole(*arguments: Any) -> Any:
        with interrupts_wait():
            return compiling(*arguments)

    return cast("Function", whole)


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Have Python's handlers of Ctrl-C and SIGTERM wait for the end of the block.

    LLVM calls back into Python while it takes machine code in. What a handler raises there is lost, and LLVM
    goes on without what it asked for, into a segmentation fault.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread alone
        return
    came: list[tuple[int, Any]] = []
    handlers: dict[int, Callable[[int, Any], Any]] = {}
    for ending in _ENDING:
        if callable(handler := signal.getsignal(ending)):
            handlers[ending] = handler
            signal.signal(ending, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number, frame in came:
            handlers[number](number, frame)


def float32(array: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """An array as compiled functions take it: another type, or one that cannot be written, is copied.

    They would be compiled anew for it, and a call would stand still for seconds.
    """
    return np.require(array, np.float32, ["C", "W"])


def uint8(array: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """See :func:`float32`."""
    return np.require(array, np.uint8, ["C", "W"])
