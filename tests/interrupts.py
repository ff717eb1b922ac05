"""Ctrl-C, heard."""

import signal


def hear_ctrl_c(*also: signal.Signals) -> None:
    """End by KeyboardInterrupt at Ctrl-C, and at these too, so that what was started is stopped.

    A script's background job is born deaf to Ctrl-C, and so are its children: among them the box, which it stops.
    """
    for number in (signal.SIGINT, *also):
        signal.signal(number, signal.default_int_handler)
