"""A headless Chromium for an end-to-end test, over the DevTools protocol through a pair of pipes.

Debian's package `chromium`; `find()` is None without it, and the test then skips.
"""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time

from qwtest import fail


def find():
    return next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)


class Browser:
    """One page of a fresh profile. `events` are those that came and nobody has looked at."""

    def __init__(self, profile, size=(1280, 800), dark=False):
        to_child, self.write_fd = os.pipe()
        self.read_fd, from_child = os.pipe()

        def wire():  # --remote-debugging-pipe reads 3 and writes 4
            a, b = os.dup(to_child), os.dup(from_child)
            os.dup2(a, 3)
            os.dup2(b, 4)

        argv = [find(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-extensions", "--mute-audio", "--hide-scrollbars", "--force-color-profile=srgb",
                "about:blank"]
        env = dict(os.environ, HOME=str(profile), XDG_CONFIG_HOME=str(profile), XDG_CACHE_HOME=str(profile))
        self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL, env=env, close_fds=False, preexec_fn=wire,
                                     start_new_session=True)
        os.close(to_child)
        os.close(from_child)
        self.ids, self.rest, self.events, self.session = itertools.count(1), b"", [], None
        self.requests, self.problems, self.on_request = [], [], None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t for t in targets if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        # Violations that need no request or script show in the page only.
        self.call("Page.addScriptToEvaluateOnNewDocument", source="""
            window.violations = [];
            addEventListener("securitypolicyviolation", e => violations.push(`${e.violatedDirective} ${e.blockedURI}`));
            """)
        self.media(dark)
        self.size(*size)

    # The protocol

    def call(self, method, **params):
        i = next(self.ids)
        message = {"id": i, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.write_fd, data):]
        end = time.monotonic() + 200
        while True:
            got = self._read(end, method)
            if got.get("id") == i:
                if "error" in got:
                    fail(f"{method}: {got['error']}")
                return got["result"]

    def _read(self, end, what):
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.read_fd], [], [], max(0, end - time.monotonic()))
            data = os.read(self.read_fd, 1 << 20) if ready else b""
            if not data:
                fail(f"the browser has {'closed' if ready else 'not answered'}: {what}; problems: {self.problems}")
            self.rest += data
        raw, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(raw)
        self._notice(message)
        return message

    def _notice(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            d = params["exceptionDetails"]
            self.problems.append(d.get("exception", {}).get("description") or d["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(f"{params['entry']['source']}: {params['entry']['text']}")
        elif method == "Page.javascriptDialogOpening":
            self.problems.append(f"a dialog: {params['message']}")
        if method:
            self.events.append((method, params))

    def event(self, name, timeout=60):
        """The parameters of the next event of that name."""
        end = time.monotonic() + timeout
        while True:
            for i, (method, params) in enumerate(self.events):
                if method == name:
                    del self.events[:i + 1]
                    return params
            self._read(end, name)

    # The page

    def open(self, url):
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.event("Page.loadEventFired")

    def reload(self):
        self.events.clear()
        self.call("Page.reload")
        self.event("Page.loadEventFired")

    def eval(self, code):
        """The value of an expression; promises are waited for."""
        r = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in r:
            d = r["exceptionDetails"]
            fail(f"{code}: {d.get('exception', {}).get('description') or d['text']}")
        return r["result"].get("value")

    def wait(self, condition, what=None, timeout=60):
        """Until the expression is true, looked at whenever the page draws; its value."""
        code = f"""new Promise((done) => {{
            const end = performance.now() + {timeout * 1000};
            const look = () => {{
                let value;
                try {{ value = ({condition}); }} catch {{ }}
                if (value || performance.now() > end) done(value instanceof Node || value); else requestAnimationFrame(look);
            }};
            look();
        }})"""
        value = self.eval(code)
        if not value:
            fail(f"{what or condition}: not within {timeout} s; problems: {self.problems}; "
                 f"the page: {self.eval('document.body.innerText')[-1500:]!r}")
        return value

    def key(self, key, text=None, modifiers=0):
        code = {"Enter": 13, "Escape": 27, "ArrowUp": 38, "Tab": 9}.get(key, ord(key[0].upper()))
        common = {"key": key, "code": key if len(key) > 1 else f"Key{key.upper()}", "windowsVirtualKeyCode": code,
                  "modifiers": modifiers}
        if key == "Enter" and text is None:
            text = "\r"
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def click(self, selector):
        """A real click in the middle of what the selector finds: it must be there and reachable."""
        box = self.wait(f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            if (!e) return null; e.scrollIntoView({{block: "nearest"}}); const r = e.getBoundingClientRect();
            const x = r.x + r.width / 2, y = r.y + r.height / 2, hit = document.elementFromPoint(x, y);
            return r.width && hit && (e.contains(hit) || hit.contains(e)) ? [x, y] : null; }})()""", f"click {selector}")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def size(self, width, height, mobile=False, scale=1):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)

    def media(self, dark):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png", optimizeForSpeed=False)["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))

    def close(self):
        os.close(self.write_fd)  # it ends when nobody speaks to it
        try:
            self.proc.wait(20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        os.close(self.read_fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
