// The inside of a paragraph: emphasis, code, links (CommonMark 0.31, 6.1 to 6.7, as far as models
// use it). The text is a model's and trusted in nothing: it becomes text nodes and elements of a
// fixed set, links go to http, https and mailto only, images are links. Time is linear in the
// length, nesting is limited.

import { el } from "./dom.js";

const MAX_DEPTH = 12; // of elements; a browser lays out deeper ones by recursion
const PUNCTUATION = /[\p{P}\p{S}]/u;
const ESCAPABLE = /[!-/:-@[-`{-~]/;

/** Append `text` to `parent`. */
export function renderInline(parent, text, inLink = false, depth = 0) {
  const tokens = scan(text, inLink, depth);
  pairDelimiters(tokens);
  for (let t = tokens.next; t; t = t.next) parent.append(t.node ?? t.char.repeat(t.count));
}

/** The address if it may be a link's, else null. */
export function safeUrl(text) {
  if (!/^(https?:\/\/|mailto:)/i.test(text)) return null;
  try {
    const url = new URL(text);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function link(href) {
  return el("a", { href, title: href, target: "_blank", rel: "noopener noreferrer nofollow" });
}

// A list of tokens behind a head: {node, depth} or, for what may be emphasis, {char, count, ...}.
function scan(text, inLink, depth) {
  const head = {};
  let last = head, plain = "";
  const add = (t) => {
    t.prev = last;
    last = last.next = t;
  };
  const flush = () => {
    if (plain) add({ node: document.createTextNode(plain), depth: 0 });
    plain = "";
  };
  const addNode = (node, nodeDepth) => {
    flush();
    add({ node, depth: nodeDepth });
  };
  const brackets = matchBrackets(text);
  const noClose = new Set(); // lengths of backtick runs that close nothing from here on
  const n = text.length;
  for (let i = 0; i < n;) {
    const c = text[i];
    if (c === "\\" && i + 1 < n) {
      const next = text[i + 1];
      if (next === "\n") addNode(el("br"), 1);
      else plain += ESCAPABLE.test(next) ? next : c + next;
      i += 2;
    } else if (c === "`") {
      const run = runLength(text, i, "`");
      const end = noClose.has(run) ? -1 : closingRun(text, i + run, run);
      if (end < 0) {
        noClose.add(run);
        plain += text.slice(i, i + run);
        i += run;
      } else {
        addNode(el("code", { text: codeText(text.slice(i + run, end)) }), 1);
        i = end + run;
      }
    } else if (c === "*" || c === "_" || c === "~") {
      const run = runLength(text, i, c);
      flush();
      add(delimiter(text, i, run, c));
      i += run;
    } else if (c === "[" || (c === "!" && text[i + 1] === "[")) {
      const at = c === "!" ? i + 1 : i;
      const target = depth < MAX_DEPTH && !inLink ? linkTarget(text, brackets.get(at)) : null;
      if (target) {
        const a = link(target.href);
        const label = text.slice(at + 1, brackets.get(at));
        if (c === "!") a.textContent = label ? `Image: ${label}` : target.href;
        else renderInline(a, label || target.href, true, depth + 1);
        addNode(a, 2);
        i = target.end;
      } else {
        plain += c;
        i++;
      }
    } else if (c === "<") {
      const end = inLink ? -1 : text.slice(i + 1, i + 2001).search(/[\s<>]/);
      const href = end > 0 && text[i + 1 + end] === ">" ? safeUrl(text.slice(i + 1, i + 1 + end)) : null;
      if (href) {
        const a = link(href);
        a.textContent = text.slice(i + 1, i + 1 + end);
        addNode(a, 1);
        i += end + 2;
      } else {
        plain += c;
        i++;
      }
    } else if (c === "h" && !inLink && /^https?:\/\//.test(text.slice(i, i + 8)) && !/\w/.test(text[i - 1] ?? " ")) {
      const found = bareUrl(text, i);
      const href = safeUrl(found);
      if (href) {
        const a = link(href);
        a.textContent = found;
        addNode(a, 1);
      } else {
        plain += found;
      }
      i += found.length;
    } else if (c === "\n") {
      if (/ {2}$/.test(plain.slice(-2))) addNode(el("br"), 1);
      else plain += "\n";
      i++;
    } else {
      plain += c;
      i++;
    }
  }
  flush();
  return head;
}

function runLength(text, i, c) {
  let n = 0;
  while (text[i + n] === c) n++;
  return n;
}

// Where a run of exactly `run` backticks begins, from `i` on; -1: nowhere.
function closingRun(text, i, run) {
  for (let at = text.indexOf("`", i); at >= 0;) {
    const n = runLength(text, at, "`");
    if (n === run) return at;
    at = text.indexOf("`", at + n);
  }
  return -1;
}

function codeText(text) {
  const line = text.replaceAll("\n", " ");
  return line.length > 2 && line.startsWith(" ") && line.endsWith(" ") && line.trim() ? line.slice(1, -1) : line;
}

// {index of "[": index of its "]"}, escaped ones left out.
function matchBrackets(text) {
  const open = [], found = new Map();
  if (!text.includes("[")) return found;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "[") open.push(i);
    else if (text[i] === "]" && open.length) found.set(open.pop(), i);
  }
  return found;
}

// The "(address "title")" behind the bracket at `close`.
function linkTarget(text, close) {
  if (close === undefined || text[close + 1] !== "(") return null;
  const inside = text.slice(close + 2, close + 2 + 1000);
  let depth = 1, i = 0;
  for (; i < inside.length; i++) {
    if (inside[i] === "\\") i++;
    else if (inside[i] === "\n") return null;
    else if (inside[i] === "(") depth++;
    else if (inside[i] === ")" && --depth === 0) break;
  }
  if (i >= inside.length) return null;
  let address = inside.slice(0, i).trim();
  const title = address.search(/\s["'(]/);
  if (title > 0) address = address.slice(0, title);
  if (address.startsWith("<") && address.endsWith(">")) address = address.slice(1, -1);
  const href = safeUrl(address);
  return href ? { href, end: close + 3 + i } : null;
}

// An address in running text ends before a blank and before what rather belongs to the sentence.
function bareUrl(text, i) {
  const end = text.slice(i, i + 2000).search(/[\s<>"`]/);
  let url = text.slice(i, end < 0 ? i + 2000 : i + end);
  for (;;) {
    const c = url[url.length - 1];
    if (".,:;!?'*_~".includes(c)) url = url.slice(0, -1);
    else if ((c === ")" && !url.includes("(")) || (c === "]" && !url.includes("["))) url = url.slice(0, -1);
    else return url;
  }
}

// A run of * _ or ~ and whether it can begin or end emphasis (CommonMark 6.2).
function delimiter(text, i, count, char) {
  const before = text[i - 1] ?? " ", after = text[i + count] ?? " ";
  const blankBefore = /\s/.test(before), blankAfter = /\s/.test(after);
  const markBefore = PUNCTUATION.test(before), markAfter = PUNCTUATION.test(after);
  const left = !blankAfter && (!markAfter || blankBefore || markBefore);
  const right = !blankBefore && (!markBefore || blankAfter || markAfter);
  const within = char === "_";
  return {
    char, count, length: count, depth: 0,
    opens: left && (!within || !right || markBefore),
    closes: right && (!within || !left || markAfter),
  };
}

// Wrap what stands between delimiters that belong together (CommonMark, appendix: process
// emphasis). `bottom` remembers where the search for an opener was in vain.
function pairDelimiters(head) {
  const stack = [];
  const bottom = new Map();
  for (let t = head.next; t; t = t.next) {
    if (!t.char) continue;
    if (t.closes) {
      const kind = t.char + (t.opens ? "o" : "") + (t.length % 3);
      while (t.count > 0) {
        const low = bottom.get(kind) ?? 0;
        let k = stack.length - 1;
        while (k >= low && !fits(stack[k], t)) k--;
        if (k < low) {
          bottom.set(kind, stack.length);
          break;
        }
        const opener = stack[k];
        stack.length = k + 1; // those between pair with nothing any more
        for (const [name, at] of bottom) if (at > k) bottom.set(name, k);
        if (!wrap(opener, t)) {
          bottom.set(kind, stack.length);
          break;
        }
        if (opener.count === 0) {
          stack.pop();
          unlink(opener);
        }
      }
    }
    if (t.count === 0) unlink(t);
    else if (t.opens) stack.push(t);
  }
}

function fits(opener, closer) {
  if (opener.char !== closer.char || opener.count === 0) return false;
  if (opener.char === "~") return opener.count === closer.count && opener.count <= 2;
  const both = opener.closes || closer.opens;
  return !both || (opener.length + closer.length) % 3 !== 0 || (opener.length % 3 === 0 && closer.length % 3 === 0);
}

function unlink(t) {
  t.prev.next = t.next;
  if (t.next) t.next.prev = t.prev;
}

// False: that would be too deep.
function wrap(opener, closer) {
  let depth = 0;
  for (let t = opener.next; t !== closer; t = t.next) depth = Math.max(depth, t.depth);
  if (depth + 1 > MAX_DEPTH) return false;
  const strong = opener.count >= 2 && closer.count >= 2;
  const used = opener.char === "~" ? opener.count : strong ? 2 : 1;
  const e = el(opener.char === "~" ? "del" : strong ? "strong" : "em");
  for (let t = opener.next; t !== closer; t = t.next) e.append(t.node ?? t.char.repeat(t.count));
  opener.count -= used;
  closer.count -= used;
  const t = { node: e, depth: depth + 1, prev: opener, next: closer };
  opener.next = closer.prev = t;
  return true;
}
