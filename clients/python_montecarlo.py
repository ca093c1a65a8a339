"""The example of docs/systems/montecarlo.md: a Python program asks for an integral, and workers of this checkout answer it."""

import pathlib
import re
import signal
import subprocess
import sys

from checks import BROKERS, check, equal, main

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target" / "debug" / "millstream"


def example():
    page = (ROOT / "docs" / "systems" / "montecarlo.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.S)[1]
    return code.replace("127.0.0.1:9092", BROKERS)


@check
def the_example_of_the_page_gets_its_answer():
    words = [PROGRAM, "--brokers", BROKERS, "montecarlo"]
    services = [
        subprocess.Popen([*words, service], stderr=subprocess.DEVNULL)
        for service in ("coordinator", "worker")
    ]
    try:
        # The topics are there once a client has looked for them.
        ask = [PROGRAM, "--brokers", BROKERS, "integrate", "x0", "--json"]
        subprocess.run(ask, check=True, stdout=subprocess.DEVNULL, timeout=60)
        done = subprocess.run(
            [sys.executable, "-c", example()], check=True, capture_output=True, text=True, timeout=60
        )
        status, value = done.stdout.split()[:2]
        equal(status, "converged")
        # The integral of exp(-2 r^2) over the plane is pi/2; asked for to a millionth.
        equal(abs(float(value) - 1.5707963267948966) < 1e-5, True)
    finally:
        for service in services:
            service.send_signal(signal.SIGTERM)
        for service in services:
            equal(service.wait(20), 0)


main("montecarlo")
