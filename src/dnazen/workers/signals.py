"""What SIGTERM and Ctrl-C do: the work at hand is unwound, child processes end, the status tells.

SIGTERM, which schedulers, ``timeout`` and ``docker stop`` send, raises ``errors.Terminated``, a
kind of ``KeyboardInterrupt``: whoever cleans up after Ctrl-C, in a ``with`` or ``finally``, cleans
up after SIGTERM. Who can go on later says how by a note on the exception, which the command line
prints::

    try:
        work()
    except KeyboardInterrupt as stop:
        stop.add_note("add --resume to go on")
        raise
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from types import FrameType

from ..errors import Terminated

_KILL_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux's prctl."""


def unwind_on_sigterm() -> None:
    """Let SIGTERM raise ``Terminated`` in this process, and its children end with it.

    Children that are forked from here on leave signals to their parent: they ignore Ctrl-C, which a
    terminal sends to all of them, end at SIGTERM without a word, and are killed when the parent is.
    Other programs (``subprocess``) are not touched. To be called from the main thread.
    """
    signal.signal(signal.SIGTERM, _terminate)
    os.register_at_fork(before=_note_thread, after_in_child=_leave_signals_to_parent)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # one is enough; let the clean-up come to its end
    raise Terminated


_forked_by_main_thread = False


def _note_thread() -> None:
    global _forked_by_main_thread
    _forked_by_main_thread = threading.current_thread() is threading.main_thread()


def _leave_signals_to_parent() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The kernel counts the thread that forked as the parent, so only one that lasts may be it.
    if sys.platform == "linux" and _forked_by_main_thread:
        ctypes.CDLL(None).prctl(_KILL_WITH_PARENT, signal.SIGKILL)
