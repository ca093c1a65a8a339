"""What the Python clients share: named checks, run in order, each with a deadline, one line per check."""

import os
import signal
import sys
import time
import traceback
import uuid

BROKERS = os.environ["BROKERS"]
DEADLINE = 60
# Of record timestamps, in ms. Records of long ago would fall to the retention of a broker that looks for such at that moment.
START = int(time.time() * 1000) - 60_000
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def fresh(word):
    """A topic or group name that no other run has used: the broker may be an old one."""
    return f"{word}-{uuid.uuid4().hex[:8]}"


def eventually(what, condition):
    """Polls until the condition gives something true, and returns that."""
    end = time.monotonic() + DEADLINE / 2
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"never happened: {what}")


def equal(found, wanted):
    assert found == wanted, f"found {found!r}, wanted {wanted!r}"


def main(client):
    def late(*_):
        raise AssertionError(f"not done after {DEADLINE} s")

    signal.signal(signal.SIGALRM, late)
    failed = 0
    only = sys.argv[1:]
    for function in CHECKS:
        if only and function.__name__ not in only:
            continue
        signal.alarm(DEADLINE)
        began = time.monotonic()
        try:
            function()
            outcome = "ok"
        except BaseException:
            traceback.print_exc()
            failed += 1
            outcome = "FAILED"
        signal.alarm(0)
        print(f"{outcome:7}{client}: {function.__name__.replace('_', ' ')} ({time.monotonic() - began:.1f} s)", flush=True)
    sys.stdout.flush()
    # Threads of a client that hangs must not keep a failed run alive.
    os._exit(1 if failed else 0)
