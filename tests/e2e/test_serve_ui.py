"""The web page: what is sent for it, and in a real Chromium what it does with a real server.

With --screenshot FILE: make the picture that the README shows, and nothing else.
"""

import base64
import json
import re
import sys
import threading
import time

import qwchromium
from qwserve import Server
from qwtest import SOURCE, Scratch, check

UI = SOURCE / "src/server/ui"
STORY = "Tell me a story."
SUM = r"\d+ \+ \d+ = \d+"  # the small model is not good at second questions

HOSTILE = r"""
<script>window.pwned = 1</script> <img src=x onerror="window.pwned = 1"> <svg onload="window.pwned=1">
<iframe src="javascript:window.pwned=1"></iframe> <style>body{display:none}</style> <base href="https://elsewhere.invalid/">

[a](javascript:window.pwned=1) [b](JaVaScRiPt:window.pwned=1) [c](  javascript&colon;window.pwned=1)
[d](data:text/html,<script>window.pwned=1</script>) [e](vbscript:x) [f](//elsewhere.invalid/x) [g](\x01javascript:1)
[h](https://ok.invalid/"onmouseover="window.pwned=1) [i](https://ok.invalid/'><script>window.pwned=1</script>)
![x](https://elsewhere.invalid/pixel.png) ![y](javascript:window.pwned=1) <javascript:window.pwned=1>
[![z](https://elsewhere.invalid/a.png)](https://elsewhere.invalid/b)

# <img src=x onerror=window.pwned=1>

> - <object data="https://elsewhere.invalid/"></object>
>   1. `</code><script>window.pwned=1</script>`

| <b onclick=window.pwned=1>a | b |
|---|:-:|
| <script>window.pwned=1</script> | ![p](https://elsewhere.invalid/p.png) |

```html"onload="window.pwned=1
</code></pre><script>window.pwned=1</script>
```

**bold *both* bold** ~~gone~~ `code` https://ok.invalid/path_(x). A https://ok.invalid/?q=<script>
"""

# {name: text} that takes a careless parser minutes, or a careless renderer its stack.
HUGE = {
    "stars": "'*'.repeat(20000) + 'a' + '*'.repeat(20000)",
    "alternating": "'*_'.repeat(20000)",
    "stars and words": "'*a '.repeat(20000)",
    "closers": "'a* '.repeat(20000)",
    "brackets": "'['.repeat(60000)",
    "links": "'[]('.repeat(15000)",
    "nested links": "'[a'.repeat(15000) + '](https://ok.invalid)'.repeat(15000)",
    "backticks": "Array.from({length: 500}, (_, i) => '`'.repeat(i + 1)).join(' ')",
    "angles": "'<'.repeat(60000)",
    "quotes": "'> '.repeat(20000) + 'a'",
    "list": "'- '.repeat(20000) + 'a'",
    "indented list": "Array.from({length: 400}, (_, i) => ' '.repeat(2 * i) + '- a').join('\\n')",
    "blanks": "'# ' + ' '.repeat(60000) + 'x'",
    "table": "'|a'.repeat(20000) + '\\n' + '|-'.repeat(20000)",
    "fences": "'```\\n'.repeat(4001)",
    "lines": "'a\\n'.repeat(20000)",
    "strings": "'```c\\n' + '\"\\\\'.repeat(20000) + '\\n```'",
}

ALLOWED_TAGS = set("""article div span p h2 h3 h4 h5 h6 ul ol li blockquote hr strong em del code pre a br table thead
    tbody tr th td details summary button svg path input""".split())
ALLOWED_ATTRIBUTES = set("""class dir id role hidden open type title aria-label aria-hidden tabindex href target rel start
    disabled checked viewBox d""".split())


def check_replies():
    """What is sent, without a browser."""
    with Server("--api-key", "K", "--root-path", "/chat") as s:
        status, headers, page = s.request("GET", "/")
        check(status == 200 and headers["Content-Type"] == "text/html; charset=utf-8", f"/: {status} {headers}")
        check(page == (UI / "index.html").read_bytes(), "the page is the file")
        csp = headers["Content-Security-Policy"]
        check("unsafe" not in csp and "default-src 'none'" in csp and "script-src 'self'" in csp and "http" not in csp, csp)
        check(headers["X-Content-Type-Options"] == "nosniff", str(headers))
        for path in ["/"] + [f"/ui/{f.name}" for f in UI.iterdir() if f.name != "index.html"]:
            for prefix in ("", "/chat"):
                status, headers, body = s.request("GET", prefix + path)
                check(status == 200 and body == (UI / (path[4:] or "index.html")).read_bytes(), f"{prefix + path}: {status}")
                check(headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-cache", path)
            for known in (headers["ETag"], f'"x", W/{headers["ETag"]}', "*"):
                status, again, body = s.request("GET", path, headers={"If-None-Match": known})
                check(status == 304 and body == b"" and again["ETag"] == headers["ETag"], f"{path}: {status} for {known}")
            check(s.request("GET", path, headers={"If-None-Match": '"0"'})[0] == 200, f"{path}: another version")
            status, head, body = s.request("HEAD", path)
            check(status == 200 and body == b"" and head["Content-Length"] == headers["Content-Length"], f"HEAD {path}")
        check(s.request("POST", "/")[0] == 405, "POST /")
        for path in ("/ui/", "/ui/nothere.js", "/ui/../server.h", "/ui", "//", "/index.html"):
            check(s.request("GET", path)[0] == 404, f"{path} is nothing")
        status, headers, _ = s.request("GET", "/chat?x")
        check(status == 307 and headers["Location"] == "/chat/", f"/chat: {status} {headers}")
        check(s.get("/v1/models")[0] == 401, "the API asks for the key")
        check("Route: /, Methods: GET" in s.log() and "Route: , " not in s.log(), "the list of routes")
    with Server("--no-ui") as s:
        for path in ("/", "/ui/app.js"):
            status, data = s.get(path)
            check(status == 404 and data == b'{"detail":"Not Found"}', f"--no-ui: {path}: {status} {data}")
        check(s.get("/health")[0] == 200, "--no-ui leaves the rest")


def check_sources():
    """No file of the page names another place; text never becomes markup."""
    for f in UI.iterdir():
        text = f.read_text()
        for address in re.findall(r"https?://[^\s\"'`)]+", text):
            check(address == "http://www.w3.org/2000/svg" or f.name.startswith("markdown"), f"{f.name}: {address}")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(", "new Function"):
            check(word not in text, f"{f.name}: {word}")
        check(" style=" not in text and " onclick=" not in text, f"{f.name}: inline code")


# In the browser

def say(b, text, wait=True):
    n = b.eval("document.querySelectorAll('.answer').length")
    b.wait("document.activeElement.id === 'input' || (document.querySelector('#input').focus(), false)")
    b.type(text)
    b.wait("!document.querySelector('#send').disabled", "the page knows a model to send to")
    b.key("Enter")
    if wait:
        b.wait(f"document.querySelectorAll('.answer .facts').length === {n + 1}", f"the answer to {text!r}")
        return last_answer(b)
    return b.wait(f"document.querySelectorAll('.answer').length === {n + 1}")


def last_answer(b):
    return b.eval("[...document.querySelectorAll('.answer .markdown')].at(-1).innerText")


def stored(b):
    return b.eval("JSON.parse(localStorage.getItem('qwench.list') ?? '[]').map(c => JSON.parse(localStorage.getItem('qwench.chat.' + c.id)))")


def endless(b):
    """Have answers go on until they are stopped."""
    b.eval("""{ const real = fetch; window.fetch = (url, options) => real(url, options?.body
        ? {...options, body: JSON.stringify({...JSON.parse(options.body), ignore_eos: true})} : options); true }""")


def check_chat(b, s):
    b.open(f"http://127.0.0.1:{s.port}/")
    b.wait("document.querySelector('#model-name').textContent === 'tiny'")
    check(b.eval("document.title") == "tiny – qwench", "the title")
    check(say(b, "What is 47 + 38?") == "47 + 38 = 85", f"the answer: {last_answer(b)!r}")
    check("Ones:" not in b.eval("document.body.innerText"), "thinking is folded")
    b.click(".thinking summary")
    b.wait("document.querySelector('.thinking-text').innerText.includes('Ones:')", "thinking unfolds")
    facts = b.eval("document.querySelector('.facts').textContent")
    # An answer that took no tenth of a second has no rate.
    check(re.fullmatch(r"[\d,]+ tokens · ([\d.]+ tokens/s · )?first after .+", facts), facts)

    # Without thinking; Shift+Enter is a new line.
    b.click(".chip")
    b.click("#input")
    b.type("What is")
    b.key("Enter", "\r", modifiers=8)
    b.type("21 + 30?")
    check(b.eval("document.querySelector('#input').value") == "What is\n21 + 30?", "a line break in the field")
    b.eval("document.querySelector('#input').value = ''")
    check(re.fullmatch(SUM, say(b, "What is 21 + 30?")), f"the answer: {last_answer(b)!r}")
    check(b.eval("document.querySelectorAll('.thinking:not([hidden])').length") == 1, "no thinking without it")

    # Answer again: with another temperature, of which the server is told.
    before = stored(b)[0]["messages"]
    b.eval("document.querySelector('#open-settings').click()")
    b.eval("""{ const e = document.querySelector('[data-number=temperature]'); e.value = "0.25";
        e.dispatchEvent(new Event('input', {bubbles: true})); true }""")
    b.click("#done-settings")
    b.events.clear()
    b.click(".answer:last-child .again")
    request = {"url": ""}
    while not request["url"].endswith("/v1/chat/completions"):  # the panel asks for /metrics
        request = b.event("Network.requestWillBeSent")["request"]
    sent = json.loads(request["postData"])
    check(sent["temperature"] == 0.25 and sent["chat_template_kwargs"] == {"enable_thinking": False}, str(sent))
    check([m["role"] for m in sent["messages"]] == ["user", "assistant", "user"] and "reasoning" not in sent["messages"][1], str(sent))
    b.wait("document.querySelectorAll('.answer .facts').length === 2 && document.querySelectorAll('.answer').length === 2")
    after = stored(b)[0]["messages"]
    check(len(after) == len(before) == 4 and after[:3] == before[:3], "an answer is replaced, not added")

    # Edit, by the keyboard: what came after is answered anew.
    b.eval("document.querySelector('#input').focus()")
    b.key("ArrowUp")
    b.wait("document.activeElement.closest('.editor')")
    b.eval("document.activeElement.select()")
    b.type("What is 11 + 12?")
    b.key("Enter")
    b.wait("document.querySelectorAll('.answer .facts').length === 2 && !document.querySelector('.editor')")
    check(re.fullmatch(SUM, last_answer(b)), f"the edited question: {last_answer(b)!r}")
    check(stored(b)[0]["messages"][2]["content"] == "What is 11 + 12?", "the question is the edited one")

    # Stop: what came stays, and the server is idle again.
    endless(b)
    say(b, STORY, wait=False)
    b.wait("[...document.querySelectorAll('.answer .markdown')].at(-1).innerText.length > 20", "text while it comes")
    check(b.eval("document.querySelector('#send').getAttribute('aria-label')") == "Stop", "the button stops")
    b.key("Escape")
    b.wait("[...document.querySelectorAll('.facts')].at(-1).textContent.startsWith('stopped')", "stopped")
    kept = last_answer(b)
    s.wait_idle()
    check(len(kept) > 20, "what came is kept")
    check(s.metric('vllm:request_success_total') >= 5, "the requests were real")

    # A new conversation; a reload while the answer comes keeps what was there.
    b.key("k", modifiers=2)
    b.wait("document.querySelectorAll('article').length === 0")
    say(b, "Tell me another story.", wait=False)
    b.wait("(JSON.parse(localStorage.getItem('qwench.chat.' + location.hash.slice(1)) ?? '{}').messages ?? [])[1]?.content.length > 20", "kept on the way")
    b.reload()
    b.wait("document.querySelectorAll('.answer .markdown')[0]?.innerText.length > 20", "the cut answer after a reload")
    check(b.eval("document.querySelector('#send').getAttribute('aria-label')") == "Send", "nothing runs after a reload")
    s.wait_idle()
    names = b.eval("[...document.querySelectorAll('#conversations .open')].map(e => e.textContent)")
    check(names == ["Tell me another story.", "What is 47 + 38?"], str(names))
    b.click("#conversations li:nth-child(2) .open")
    b.wait("document.querySelectorAll('.answer').length === 3")
    check(last_answer(b) == kept, "the first conversation is what it was")
    b.eval("window.confirm = () => true")
    b.eval("document.querySelector('#conversations li:nth-child(2) .tiny').click()")
    b.wait("document.querySelectorAll('#conversations li').length === 1 && document.querySelectorAll('article').length === 0")
    check(len(stored(b)) == 1 and b.eval("Object.keys(localStorage).filter(k => k.startsWith('qwench.chat.')).length") == 1,
          "deleted means gone")


def check_live(b, s):
    b.wait("document.querySelector('#m-answered').textContent !== '0' && document.querySelector('#m-answered').textContent !== '–'", "the panel's numbers")
    check(b.eval("document.querySelector('#m-running').textContent") == "0", "nothing runs")
    check(b.eval("document.querySelector('#m-ttft').textContent").endswith("s"), "a median")
    endless(b)
    say(b, STORY, wait=False)
    b.wait("document.querySelector('#m-running').textContent === '1' && parseFloat(document.querySelector('#m-generated').textContent) > 0",
           "a running request and its speed")
    b.click("#send")
    b.wait("document.querySelector('#m-running').textContent === '0'", "idle again")
    got = b.eval("""import(new URL('ui/live.js', document.baseURI)).then(({parseMetrics, quantile}) => {
        const { sums, buckets } = parseMetrics('# HELP x\\nx{a="b c"} 1\\nx{a="{}"} 2.5\\nh_bucket{le="1"} 2\\nh_bucket{le="+Inf"} 4\\nbad\\ny NaN\\n');
        const q = (p, m) => quantile(p, null, new Map(m));
        return [sums.get('x'), sums.has('y'), q(0.25, [...buckets.get('h_bucket')]), q(0.9, [...buckets.get('h_bucket')]),
            q(0.5, [[1, 0], [3, 10], [Infinity, 10]]), Number.isNaN(q(0.5, [[1, 0], [Infinity, 0]]))]; })""")
    check(got == [3.5, False, 0.5, 1, 2, True], f"the parser and the quantiles: {got}")


def check_hostile(b):
    # As text of both sides that was kept, and as a stream.
    b.eval(f"""localStorage.setItem('qwench.chat.hostile', JSON.stringify({{title: '<img src=x onerror=window.pwned=1>', system: '',
        messages: [{{role: 'user', content: {json.dumps(HOSTILE)}}}, {{role: 'assistant', content: {json.dumps(HOSTILE)},
        reasoning: {json.dumps(HOSTILE)}, error: '<img src=x onerror=window.pwned=1>', tokens: '<b>'}}, {{role: '<x>', content: 3}}, 7]}}));
        localStorage.setItem('qwench.list', JSON.stringify([{{id: 'hostile', title: '<img src=x onerror=window.pwned=1>'}}, null, {{id: 3}}]))""")
    b.eval("location.hash = 'hostile'")
    b.reload()
    b.wait("document.querySelectorAll('article').length === 2")
    b.eval("document.querySelector('.thinking').open = true")
    b.wait("document.querySelector('.thinking-text').children.length > 5")
    check_dom(b)
    for selector, text in (("strong", "bold both bold"), ("strong em", "both"), ("del", "gone"), ("td", "<script>window.pwned=1</script>")):
        check(b.eval(f"document.querySelector('.markdown {selector}').textContent") == text, f"{selector} is shown")
    links = b.eval("[...document.querySelectorAll('.markdown a')].map(a => a.href)")
    check("https://ok.invalid/path_(x)" in links and len(links) >= 6, str(links))

    chunk = {"choices": [{"index": 0, "delta": {"content": ""}}]}
    events = ""
    for key, text in (("reasoning", HOSTILE), ("content", HOSTILE)):
        for i in range(0, len(text), 7):
            chunk["choices"][0]["delta"] = {key: text[i:i + 7]}
            events += f"data: {json.dumps(chunk)}\n\n"
    for body, error in ((events + 'data: {"error": {"message": "<script>window.pwned=1</script>"}}\n\n', "<script>window.pwned=1</script>"),
                        (events + "data: {nonsense\n\n", "cannot be read"), (events, "closed before")):
        b.call("Fetch.enable", patterns=[{"urlPattern": "*/v1/chat/completions"}])
        say(b, "<b>hostile</b>", wait=False)
        paused = b.event("Fetch.requestPaused")
        b.call("Fetch.fulfillRequest", requestId=paused["requestId"], responseCode=200,
               responseHeaders=[{"name": "Content-Type", "value": "text/event-stream"}], body=base64.b64encode(body.encode()).decode())
        b.wait(f"[...document.querySelectorAll('.answer .error')].at(-1)?.textContent.includes({json.dumps(error)})", error)
        b.call("Fetch.disable")
        check_dom(b)
    slowest = (0, None)
    for name, code in HUGE.items():
        ms, depth = b.eval(f"""import(new URL('ui/markdown.js', document.baseURI)).then(({{MarkdownView}}) => {{
            const box = document.createElement('div'), start = performance.now();
            new MarkdownView(box).update({code});
            let depth = 0;
            for (const e of box.querySelectorAll('*')) {{ let d = 0; for (let p = e; p !== box; p = p.parentNode) d++; depth = Math.max(depth, d); }}
            return [performance.now() - start, depth]; }})""")
        slowest = max(slowest, (round(ms), name))
        check(ms < 5000 and depth < 60, f"{name}: {ms:.0f} ms, {depth} elements deep")
    print("the slowest of the huge texts: %d ms, %s" % slowest)
    # A view that grew is what one made at once is.
    same = b.eval(f"""import(new URL('ui/markdown.js', document.baseURI)).then(({{MarkdownView}}) => {{
        const text = {json.dumps(HOSTILE)}, grown = document.createElement('div'), whole = document.createElement('div');
        const view = new MarkdownView(grown);
        for (let i = 0; i <= text.length; i += 3) view.update(text.slice(0, i));
        view.update(text);
        new MarkdownView(whole).update(text);
        return grown.isEqualNode(whole); }})""")
    check(same, "a text that came in pieces looks as one that came whole")


def check_dom(b):
    tags, attributes, hrefs = b.eval("""(() => { const all = [...document.querySelectorAll('#messages *')];
        return [[...new Set(all.map(e => e.tagName.toLowerCase()))], [...new Set(all.flatMap(e => e.getAttributeNames()))],
            [...new Set(all.flatMap(e => e.hasAttribute('href') ? [e.protocol] : []))]]; })()""")
    check(set(tags) <= ALLOWED_TAGS, f"elements: {set(tags) - ALLOWED_TAGS}")
    check(set(attributes) <= ALLOWED_ATTRIBUTES, f"attributes: {set(attributes) - ALLOWED_ATTRIBUTES}")
    check(set(hrefs) <= {"https:", "http:", "mailto:"}, str(hrefs))
    check(b.eval("window.pwned") is None, "a script of the text ran")


def check_sizes(b):
    """No way to scroll sideways, whatever is shown; nothing without a name."""
    for width, height in ((390, 844), (320, 568), (844, 390), (1280, 800)):
        b.size(width, height, mobile=width < 1000)
        b.wait(f"innerWidth === {width}")
        for state in ("", "menu", "live", "open-settings"):
            if state:
                b.eval(f"document.querySelector('#{state}').click()")
            b.wait("document.documentElement.scrollWidth <= innerWidth && document.querySelector('#scroll').scrollWidth <= document.querySelector('#scroll').clientWidth",
                   f"{width} x {height} {state}: scrolls sideways", timeout=5)
            inputs = b.eval("[...document.querySelectorAll('#input, #send')].every(e => { const r = e.getBoundingClientRect(); return r.left >= 0 && r.right <= innerWidth && r.bottom <= innerHeight })")
            check(inputs, f"{width} x {height} {state}: the field and its button are on the screen")
            if state == "open-settings":
                b.click("#close-settings")
            elif state:
                b.eval(f"document.querySelector('#{state}').click()")
    b.eval("document.querySelector('#open-settings').click()")
    for node in b.call("Accessibility.getFullAXTree")["nodes"]:
        role = node.get("role", {}).get("value")
        if role in ("button", "textbox", "checkbox", "combobox", "spinbutton", "link", "progressbar", "image") and not node["ignored"]:
            name = node.get("name", {}).get("value", "")
            check(name.strip(), f"a {role} without a name: {node}")
    b.click("#close-settings")


def check_key(b):
    """Behind a prefix, with a key."""
    with Server("--api-key", "secret", "--root-path", "/a/b") as s:
        b.open(f"http://127.0.0.1:{s.port}/a/b")
        check(b.eval("location.pathname") == "/a/b/", "to the page below the prefix")
        b.wait("document.querySelector('#banner-text').textContent.includes('asks for an API key')", "the question for the key")
        b.wait("document.activeElement.id === 'key'")
        b.type("wrong")
        b.key("Enter")
        b.wait("document.querySelector('#banner-text').textContent.includes('does not take')", "a wrong key")
        b.type("secret")
        b.key("Enter")
        b.wait("document.querySelector('#banner').hidden && document.querySelector('#model-name').textContent === 'tiny'")
        check(re.fullmatch(SUM, say(b, "What is 12 + 34?")), f"with the key: {last_answer(b)!r}")
        b.reload()
        b.wait("document.querySelector('#model-name').textContent === 'tiny'", "the key is kept")
        check(b.eval("localStorage.getItem('qwench.key')") is None, "but not for ever")
        b.problems = [p for p in b.problems if "401" not in p]
    # And with no server at all.
    say(b, "What is 6 + 6?", wait=False)
    b.wait("document.querySelector('.answer:last-child .error')?.textContent === 'The server cannot be reached.'", "no server")
    b.problems = [p for p in b.problems if "ERR_CONNECTION" not in p]


def check_browser():
    if not qwchromium.find():
        print("chromium is not installed: the page was not tried in a browser")
        return
    with Scratch() as tmp, qwchromium.Browser(tmp / "profile") as b:
        with Server() as s:
            check_chat(b, s)
            check_live(b, s)
            check_hostile(b)
            check_sizes(b)
        violations = b.eval("window.violations")
        check_key(b)
        violations += b.eval("window.violations")
        check(not violations, f"the policy was violated: {violations}")
        check(not b.problems, f"problems: {b.problems}")
        elsewhere = [u for u in b.requests if not u.startswith(("http://127.0.0.1:", "about:"))]
        check(not elsewhere, f"requests to elsewhere: {elsewhere}")
    print("in Chromium: chat, stop, again, edit, reload, hostile text, sizes, keys")


def make_screenshot(path):
    stop = threading.Event()
    with Scratch() as tmp, Server("--max-num-seqs", 4) as s, qwchromium.Browser(tmp / "profile", size=(1280, 800)) as b:

        def load(k):
            while not stop.is_set():
                s.post("/v1/chat/completions", {"messages": [{"role": "user", "content": f"What is {k} + {int(time.time() * 7) % 50 + 10}?"}]})
                stop.wait(0.3 * k)

        threads = [threading.Thread(target=load, args=(k,), daemon=True) for k in range(1, 4)]
        b.open(f"http://127.0.0.1:{s.port}/")
        b.wait("document.querySelector('#model-name').textContent")
        for t in threads:
            t.start()
        for question in ("What is 12 + 70?", "What is the capital of Italy?"):
            say(b, question)
            b.key("k", modifiers=2)
        say(b, "What is 47 + 38?")
        b.eval("[...document.querySelectorAll('.thinking')].at(-1).open = true")
        b.wait("document.querySelector('#chart .line').getAttribute('d').split('L').length > 45", timeout=180)
        b.call("Input.dispatchMouseEvent", type="mouseMoved", x=640, y=640)
        b.eval("document.querySelector('#scroll').scrollTop = 1e6")
        b.screenshot(path)
        stop.set()
        for t in threads:
            t.join()


if sys.argv[1:2] == ["--screenshot"]:
    make_screenshot(sys.argv[2])
else:
    check_sources()
    check_replies()
    check_browser()
    print("the page")
