// Colours for code: comments, strings, numbers and the words that many languages share. One pass,
// no grammar: what it does not know stays plain.

const MAX_LENGTH = 60000;

const C_LIKE = "c h cpp cc c++ hpp cs csharp java js jsx javascript ts tsx typescript json go rust rs swift kotlin kt scala php dart css scss zig glsl cuda";
const HASH = "python py ruby rb sh bash shell zsh yaml yml toml ini make makefile dockerfile perl pl r julia jl nim elixir cmake conf";
const DASH = "sql lua haskell hs ada vhdl elm";
const KINDS = new Map([
  ...C_LIKE.split(" ").map((l) => [l, "c"]), ...HASH.split(" ").map((l) => [l, "hash"]), ...DASH.split(" ").map((l) => [l, "dash"]),
]);

const WORDS = new Set(("abstract and as assert async await auto begin bool boolean break byte case catch char class const constexpr " +
  "continue def default defer del delete do double elif else elsif end enum except export extends extern false False final " +
  "finally float fn for from func function global go if impl import in inline instanceof int interface is lambda let long " +
  "loop match mod mut namespace new nil None nonlocal not null nullptr operator or package pass private protected pub public " +
  "raise register return self short signed sizeof static string struct super switch template then this throw trait true " +
  "True try type typedef typeof typename undefined union unsigned use using var virtual void volatile where while with yield " +
  "SELECT FROM WHERE INSERT INTO VALUES UPDATE SET DELETE CREATE TABLE JOIN LEFT RIGHT INNER OUTER ON GROUP BY ORDER HAVING " +
  "LIMIT AND OR NOT NULL AS DISTINCT UNION echo fi done local").split(" "));

const COMMENTS = { c: String.raw`\/\/[^\n]*|\/\*[^]*?(?:\*\/|$)`, hash: String.raw`#[^\n]*`, dash: String.raw`--[^\n]*` };
// Their ends are optional, so that none is ever tried in vain.
const STRINGS = String.raw`"(?:[^"\\\n]|\\[^])*"?|'(?:[^'\\\n]|\\[^])*'?|` + "`(?:[^`\\\\]|\\\\[^])*`?";
const NUMBERS = String.raw`\b\d[\w.]*`;
const NAMES = String.raw`[A-Za-z_$][\w$]*`;

/** Append `code` to `parent`, which is returned. */
export function highlight(parent, code, language) {
  const kind = KINDS.get(language.toLowerCase());
  if (!kind || code.length > MAX_LENGTH) {
    parent.append(code);
    return parent;
  }
  const pattern = new RegExp(`(${COMMENTS[kind]})|(${STRINGS})|(${NUMBERS})|(${NAMES})`, "g");
  let plain = 0;
  for (const m of code.matchAll(pattern)) {
    const name = m[1] ? "comment" : m[2] ? "string" : m[3] ? "number" : WORDS.has(m[4]) ? "word" : null;
    if (!name) continue;
    if (m.index > plain) parent.append(code.slice(plain, m.index));
    const span = document.createElement("span");
    span.className = name;
    span.textContent = m[0];
    parent.append(span);
    plain = m.index + m[0].length;
  }
  if (plain < code.length) parent.append(code.slice(plain));
  return parent;
}
