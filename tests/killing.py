"""Killing a piece of work with signal 9 at one step after another: what must survive it at any instant."""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod"}


def killed(work: Callable[[], object], arm: Callable[[Callable[[], None]], None], at: int) -> bool:
    """Run `work` in a child that is killed when it takes its step number `at`; False if it ends before that.

    `arm` is called in the child with the function that counts a step.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the test runner are not needed in it
        child = os.fork()
    if child == 0:
        try:
            arm(_counter(at))
            work()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.__stderr__, flush=True)
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert status == 0, "the work failed by itself"
    return False


def changes_below(folder: Path) -> Callable[[Callable[[], None]], None]:
    """Arms a child: every file that is made, opened to be written, renamed or removed below a folder is a step."""

    def arm(step: Callable[[], None]) -> None:
        def seen(event: str, given: tuple) -> None:
            if event == "open":
                path, _, flags = given
                changing = (flags or 0) & (os.O_WRONLY | os.O_RDWR)
            else:
                path, changing = given[0] if given else None, event in CHANGES
            if changing and isinstance(path, str | os.PathLike) and str(path).startswith(str(folder)):
                step()

        sys.addaudithook(seen)

    return arm


def _counter(at: int) -> Callable[[], None]:
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return step
