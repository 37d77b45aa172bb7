"""`--minutes N`: the tests that can begin within so many minutes, a part of them each time; the others are counted.

For the slow tests, which on a slow machine take longer than a run of CI may. Which file comes first is drawn for each
run, so that what one run leaves out another has.
"""

import time
import zlib

import pytest

LEFT_OUT = "the time is over"


def pytest_addoption(parser):
    parser.addoption("--minutes", type=float, help="Leave out, and count, tests that have not begun by then.")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--minutes") is None or not items:
        return
    worker = getattr(config, "workerinput", None) or {}
    drawn = worker.get("testrunuid", str(time.time()))  # the same in all workers, which must agree on the order
    files = list(dict.fromkeys(item.path for item in items))
    first = zlib.crc32(drawn.encode()) % len(files)
    places = {path: (place - first) % len(files) for place, path in enumerate(files)}
    items.sort(key=lambda item: places[item.path])


def pytest_sessionstart(session):
    session.config.began = time.monotonic()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    minutes = item.config.getoption("--minutes")
    if minutes is not None and time.monotonic() - item.config.began > 60 * minutes:
        pytest.skip(LEFT_OUT)


def pytest_terminal_summary(terminalreporter, config):
    skipped = terminalreporter.stats.get("skipped", [])
    left_out = [one for one in skipped if isinstance(one.longrepr, tuple) and LEFT_OUT in one.longrepr[2]]
    if left_out:
        files = sorted({one.nodeid.partition("::")[0] for one in left_out})
        terminalreporter.write_line(
            f"LEFT OUT: {len(left_out)} tests had not begun after {config.getoption('--minutes'):g} minutes, of "
            f"{', '.join(files)}"
        )
