"""A page in a real browser: headless Chromium, spoken to over its pipe (Chrome DevTools Protocol).

`look(path)` opens a file and says what happened: script errors, messages, dialogs, requests that left, how wide it is,
its text. Nothing but the standard library is needed; where there is no Chromium the test is skipped.
"""

import atexit
import base64
import contextlib
import functools
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 120  # for one answer; a machine that is busy takes long to start a browser
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--metrics-recording-only",
    "--no-first-run",
    "--use-mock-keychain",
)
# Chromium reads commands from file descriptor 3 and answers on 4.
LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
MEASURE = """({
  width: document.documentElement.scrollWidth, view: document.documentElement.clientWidth,
  title: document.title, dark: matchMedia("(prefers-color-scheme: dark)").matches,
})"""
READ = """(selectors => {
  for (const part of document.querySelectorAll("details")) part.open = true;
  const texts = one => [...document.querySelectorAll(one)].map(element => element.innerText);
  const found = Object.fromEntries(selectors.map(one => [one, texts(one)]));
  return {text: document.body.innerText, found};
})"""


@dataclass
class Seen:
    """What a browser saw of a page.

    Attributes:
        errors: texts of exceptions of scripts, and of what the browser reports as errors (such as a refused request).
        console: texts of all other messages.
        dialogs: texts of alerts and the like.
        requests: addresses that were asked for, but for the page itself and what it carries (`data:`).
        width: pixels that were asked for.
        scroll_width: pixels that the page takes: more than `width` means that it scrolls sideways.
        title, text: of the page, with folded parts opened.
        found: dict, selector -> texts of the elements.
        value: what `run` came to.
    """

    width: int
    errors: list = field(default_factory=list)
    console: list = field(default_factory=list)
    dialogs: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    scroll_width: int = 0
    title: str = ""
    text: str = ""
    is_dark: bool = False
    found: dict = field(default_factory=dict)
    value: object = None

    @property
    def faults(self):
        """What no page of ours may have: a test asserts that it is empty."""
        listed = [f"error: {text}" for text in self.errors] + [f"message: {text}" for text in self.console]
        listed += [f"dialog: {text}" for text in self.dialogs] + [f"request: {text}" for text in self.requests]
        if self.scroll_width > self.width:
            listed.append(f"{self.scroll_width} pixels wide in a window of {self.width}")
        return listed


def look(path, width=1600, find=(), run=None, dark=False, media="screen", screenshot=None, height=1000):
    """Open a page in Chromium.

    Args:
        path: of the file.
        width, height: of the window, pixels.
        find: CSS selectors of elements whose texts are wanted.
        run: JavaScript expression, evaluated once the page is loaded, before its text is read; a promise is awaited.
        dark: bool, whether the reader prefers dark pages.
        media: `"screen"` or `"print"`.
        screenshot: path of a PNG of the whole page, or None.

    Returns: `Seen`. Skips the test where no Chromium is installed.
    """
    browser = _browser()
    with browser.page() as page:
        return page.look(pathlib.Path(path).resolve(), width, height, list(find), run, dark, media, screenshot)


def find_chromium():
    """Path of Chromium: `$CHROMIUM`, else the first that is installed; None without one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@functools.cache
def _start():
    browser = Browser(find_chromium())
    atexit.register(browser.close)
    return browser


def _browser():
    if find_chromium() is None:
        pytest.skip("no Chromium: apt-get install chromium, or say where it is with $CHROMIUM")
    return _start()


class Browser:
    """A Chromium process with an empty profile, for all tests of this process."""

    def __init__(self, path):
        self._folder = tempfile.mkdtemp(prefix="browser-")
        theirs_in, self._commands = os.pipe()
        self._answers, theirs_out = os.pipe()
        sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        command = [path, *FLAGS, *sandbox, f"--user-data-dir={self._folder}", "about:blank"]
        # By a small program, as `preexec_fn` would fork this process, and JAX warns of that. Descriptors above 4, so
        # that none is overwritten before it is copied.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAUNCH, str(theirs_in), str(theirs_out), *command],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONWARNINGS": ""},
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._last, self.events = b"", 0, []

    def close(self):
        """End it. What it leaves is removed."""
        self._process.kill()
        self._process.wait()
        for descriptor in (self._commands, self._answers):
            os.close(descriptor)
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def page(self):
        """A new tab, closed at the end."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        try:
            yield Tab(self, session)
        finally:
            self.call("Target.closeTarget", targetId=target)

    def call(self, method, session=None, **parameters):
        """Ask for something and wait for the answer; events that come meanwhile are kept."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        os.write(self._commands, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._happened(answer)

    def wait(self, method, session):
        """Wait until an event has come."""
        while not any(event["method"] == method and event.get("sessionId") == session for event in self.events):
            self._happened(self._read())

    def _happened(self, event):
        if "method" not in event:
            return
        self.events.append(event)
        if event["method"] == "Page.javascriptDialogOpening":  # which holds the page until someone answers
            self._last += 1
            message = {"id": self._last, "method": "Page.handleJavaScriptDialog", "params": {"accept": False}}
            os.write(self._commands, json.dumps(message | {"sessionId": event["sessionId"]}).encode() + b"\0")

    def _read(self):
        end = time.monotonic() + SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self._answers, 1 << 20) if ready else b""
            if not data:
                code = self._process.poll()
                raise RuntimeError(f"Chromium does not answer ({'running' if code is None else f'ended with {code}'})")
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)


class Tab:
    """One tab of the browser."""

    def __init__(self, browser, session):
        self._browser, self._session = browser, session

    def look(self, path, width, height, find, run, dark, media, screenshot):
        """See `look`."""
        self._browser.events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        failed = self._call("Page.navigate", url=path.as_uri()).get("errorText")
        if failed:
            raise RuntimeError(f"{path}: {failed}")
        self._browser.wait("Page.loadEventFired", self._session)
        seen = Seen(width)
        if run is not None:
            seen.value = self._evaluate(run)
        measured = self._evaluate(MEASURE)
        seen.scroll_width, seen.title, seen.is_dark = measured["width"], measured["title"], measured["dark"]
        if screenshot is not None:
            self._shoot(screenshot)
        read = self._evaluate(f"{READ}({json.dumps(find)})")
        seen.text, seen.found = read["text"], read["found"]
        seen.scroll_width = max(seen.scroll_width, self._evaluate(MEASURE)["width"])  # with folded parts open too
        # A request that the page's policy refused has not left; the refusal is an error.
        refused = {
            event["params"]["requestId"]
            for event in self._browser.events
            if event["method"] == "Network.loadingFailed" and event["params"].get("blockedReason") == "csp"
        }
        for event in self._browser.events:
            if event["params"].get("requestId") not in refused:
                _note(seen, event["method"], event["params"], path.as_uri())
        return seen

    def _shoot(self, path):
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))

    def _evaluate(self, expression):
        told = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self._call("Runtime.evaluate", **told)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {_text_of(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    def _call(self, method, **parameters):
        return self._browser.call(method, self._session, **parameters)


def _note(seen, method, parameters, address):
    if method == "Runtime.exceptionThrown":
        seen.errors.append(_text_of(parameters["exceptionDetails"]))
    elif method == "Log.entryAdded":
        entry = parameters["entry"]
        (seen.errors if entry["level"] == "error" else seen.console).append(entry["text"])
    elif method == "Runtime.consoleAPICalled":
        seen.console.append(" ".join(str(one.get("value", one.get("description"))) for one in parameters["args"]))
    elif method == "Page.javascriptDialogOpening":
        seen.dialogs.append(parameters["message"])
    elif method == "Network.requestWillBeSent":
        asked = parameters["request"]["url"]
        if asked.partition("#")[0] != address and not asked.startswith("data:"):
            seen.requests.append(asked)


def _text_of(details):
    return details.get("exception", {}).get("description") or details["text"]
