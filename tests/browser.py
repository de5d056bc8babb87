"""Headless Chromium over its DevTools pipe, with the network switched off: what a page does when it is opened."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless=new --remote-debugging-pipe --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"
    " --no-default-browser-check --disable-background-networking --disable-extensions --disable-component-update --hide-scrollbars"
)


def find_browser() -> str | None:
    """Path of an installed Chromium or Chrome."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Browser:
    """`with Browser() as browser: browser.visit(page, width)`; every answer is waited for at most `limit` seconds."""

    def __init__(self, limit: float = 30):
        self.limit, self.count, self.buffer, self.events = limit, 0, b"", []

    def __enter__(self) -> Self:
        self.profile = tempfile.TemporaryDirectory(prefix="reidlib-browser-", ignore_cleanup_errors=True)
        to_browser, self.write_end = os.pipe()
        self.read_end, from_browser = os.pipe()
        # Chromium reads commands on 3 and answers on 4; the pipes' own ends must not be those numbers.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (to_browser, from_browser)]
        command = f'exec "$0" "$@" 3<&{ends[0]} 4>&{ends[1]}'
        arguments = [find_browser(), *OPTIONS.split(), f"--user-data-dir={self.profile.name}", "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", command, *arguments],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for end in (to_browser, from_browser, *ends):
            os.close(end)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        return self

    def __exit__(self, *_) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.write_end)
        os.close(self.read_end)
        self.profile.cleanup()

    def call(self, method: str, **parameters) -> dict:
        """Send one command and wait for its answer; events that come meanwhile are kept in `events`."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if getattr(self, "session", None):
            message["sessionId"] = self.session
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self.limit
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def visit(self, page: Path, width: int, height: int = 900, picture: Path | None = None, dark: bool = False) -> dict:
        """Open `page` at `width` CSS pixels: `{"problems": [...], "overflow": pixels, "images": n, "requests": [...]}`."""
        self.events = []
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page.resolve().as_uri())
        deadline = time.monotonic() + self.limit
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive(deadline))
        script = """(async () => {
            for (const image of document.images) { image.loading = 'eager'; }
            await Promise.all([...document.images].map(image => image.decode().catch(() => 0)));
            const page = document.documentElement, folds = [...document.querySelectorAll('details')], open = folds.map(fold => fold.open);
            folds.forEach(fold => { fold.open = true; });
            const wide = page.scrollWidth;  // innerWidth would grow with it on a phone
            folds.forEach((fold, i) => { fold.open = open[i]; });
            return {wide, images: document.images.length,
                    broken: [...document.images].filter(image => !image.naturalWidth).map(image => image.src.slice(-80))};
        })()"""
        seen = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)["result"]["value"]
        if picture:
            content = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": width, "height": min(content["height"], 12000), "scale": 1}
            data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
            picture.write_bytes(base64.b64decode(data))
        requests = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        outside = [url for url in requests if not url.startswith(("file:", "data:"))]
        problems = [f"asks the network for {url}" for url in outside] + [f"broken image {source}" for source in seen["broken"]]
        return {"problems": problems + self._complaints(), "overflow": seen["wide"] - width, "images": seen["images"], "requests": requests}

    def _complaints(self) -> list[str]:
        """Errors and warnings on the console, uncaught exceptions, failed loads."""
        found = []
        for event in self.events:
            method, parameters = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(f"exception: {parameters['exceptionDetails'].get('text')}")
            elif method == "Runtime.consoleAPICalled" and parameters["type"] in {"error", "warning", "assert"}:
                found.append(f"console: {[value.get('value') for value in parameters['args']]}")
            elif method == "Log.entryAdded" and parameters["entry"]["level"] in {"error", "warning"}:
                found.append(f"log: {parameters['entry']['text']}")
            elif method == "Network.loadingFailed":
                found.append(f"load failed: {parameters.get('errorText')}")
        return found

    def _receive(self, deadline: float) -> dict:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read_end], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self.read_end, 1 << 20) if ready else b""
            if not data:
                raise TimeoutError(f"the browser gave no answer within {self.limit} s (exit status {self.process.poll()})")
            self.buffer += data
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)
