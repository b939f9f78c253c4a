"""Random JSON schemas, documents for them, and a validator that shares nothing with the compiler.

Only the keywords that random_schema uses; the official suite (scripts/json_schema_suite.py) has the
rest.
"""

import json
import re
import string

PATTERNS = [r"^[a-z]+$", r"^\d{3}$", r"b", r"^(foo|bar)?$", r"^[A-Z][a-z]{0,5}$", r"x\d+$", r"^a.*z$", r"^[^ab]*$"]
NAMES = ["a", "b", "name", "id", "x y", "é", "long_name_1", "\"q\"", "Ab", "items"]


def is_number(v):
    return isinstance(v, (int, float)) and not isinstance(v, bool)


def found(pattern, text):
    """Search as ECMAScript does: $ is the very end."""
    pattern = pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern
    return re.search(pattern, text, re.ASCII) is not None


def same(a, b):
    if is_number(a) and is_number(b):
        return a == b
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


def has_type(v, name):
    return {"null": v is None, "boolean": isinstance(v, bool), "string": isinstance(v, str),
            "array": isinstance(v, list), "object": isinstance(v, dict), "number": is_number(v),
            "integer": is_number(v) and v % 1 == 0}[name]


def valid(s, v, root):
    """True if v satisfies the schema s."""
    if isinstance(s, bool):
        return s
    if "$ref" in s:
        target = root
        for key in s["$ref"].split("/")[1:]:
            target = target[key]
        if not valid(target, v, root):
            return False
    t = s.get("type")
    if t is not None and not any(has_type(v, one) for one in ([t] if isinstance(t, str) else t)):
        return False
    if "enum" in s and not any(same(v, e) for e in s["enum"]):
        return False
    if "const" in s and not same(v, s["const"]):
        return False
    if "anyOf" in s and not any(valid(o, v, root) for o in s["anyOf"]):
        return False
    if "oneOf" in s and sum(valid(o, v, root) for o in s["oneOf"]) != 1:
        return False
    if not all(valid(o, v, root) for o in s.get("allOf", [])):
        return False
    if is_number(v):
        return (v >= s.get("minimum", v) and v <= s.get("maximum", v) and
                ("exclusiveMinimum" not in s or v > s["exclusiveMinimum"]) and
                ("exclusiveMaximum" not in s or v < s["exclusiveMaximum"]))
    if isinstance(v, str):
        return (s.get("minLength", 0) <= len(v) <= s.get("maxLength", len(v)) and
                ("pattern" not in s or found(s["pattern"], v)))
    if isinstance(v, list):
        prefix = s.get("prefixItems", [])
        return (s.get("minItems", 0) <= len(v) <= s.get("maxItems", len(v)) and
                all(valid(prefix[i] if i < len(prefix) else s.get("items", True), one, root)
                    for i, one in enumerate(v)))
    return not isinstance(v, dict) or valid_object(s, v, root)


def valid_object(s, v, root):
    if not s.get("minProperties", 0) <= len(v) <= s.get("maxProperties", len(v)):
        return False
    if not all(k in v for k in s.get("required", [])):
        return False
    for k, one in v.items():
        rules = [s["properties"][k]] if k in s.get("properties", {}) else []
        rules += [r for p, r in s.get("patternProperties", {}).items() if found(p, k)]
        for rule in rules or [s.get("additionalProperties", True)]:
            if not valid(rule, one, root):
                return False
        if "propertyNames" in s and not valid(s["propertyNames"], k, root):
            return False
    return True


# ---- schemas

def random_text(rnd, n=None):
    n = rnd.randrange(6) if n is None else n
    return "".join(rnd.choice(string.ascii_lowercase + "01 \"\\\n/é你😀") for _ in range(n))


def random_value(rnd, depth=0):
    kind = rnd.randrange(7 if depth < 2 else 5)
    if kind == 5:
        return [random_value(rnd, depth + 1) for _ in range(rnd.randrange(3))]
    if kind == 6:
        return {rnd.choice(NAMES): random_value(rnd, depth + 1) for _ in range(rnd.randrange(3))}
    return [None, rnd.random() < .5, rnd.randrange(-30, 130), rnd.randrange(-999, 999) / 8,
            random_text(rnd)][kind]


def random_number_schema(rnd):
    s = {"type": rnd.choice(["integer", "number"])}
    lo = rnd.choice([rnd.randrange(-200, 200), rnd.randrange(-2000, 2000) / 16])
    if rnd.random() < .6:
        s[rnd.choice(["minimum", "exclusiveMinimum"])] = lo
    if rnd.random() < .6:
        s[rnd.choice(["maximum", "exclusiveMaximum"])] = lo + rnd.choice([2, 9.5, 100, 1.25, 4000])
    return s


def random_string_schema(rnd):
    s = {"type": "string"}
    if rnd.random() < .4:
        s["minLength"] = rnd.randrange(3)
    if rnd.random() < .4:
        s["maxLength"] = s.get("minLength", 0) + rnd.randrange(1, 9)
    if rnd.random() < .4:
        s["pattern"] = rnd.choice(PATTERNS)
    return s


def random_array_schema(rnd, depth):
    s = {"type": "array"}
    if rnd.random() < .3:
        s["prefixItems"] = [random_schema(rnd, depth + 1) for _ in range(rnd.randrange(1, 3))]
    if rnd.random() < .8:
        s["items"] = random_schema(rnd, depth + 1)
    if rnd.random() < .4:
        s["minItems"] = rnd.randrange(3)
    if rnd.random() < .4:
        s["maxItems"] = s.get("minItems", 0) + rnd.randrange(1, 4)
    return s


def random_object_schema(rnd, depth):
    s = {"type": "object"}
    names = rnd.sample(NAMES, rnd.randrange(5))
    if names or rnd.random() < .5:
        s["properties"] = {n: random_schema(rnd, depth + 1) for n in names}
    if rnd.random() < .7:
        s["required"] = [n for n in names if rnd.random() < .5] + (["more"] if rnd.random() < .1 else [])
    if rnd.random() < .6:
        s["additionalProperties"] = rnd.choice([False, False, True, {"type": "integer"}])
    if rnd.random() < .15:
        s["patternProperties"] = {rnd.choice(["^a", "e$", "_"]): random_schema(rnd, depth + 1)}
    if rnd.random() < .1:
        s["propertyNames"] = {"maxLength": 4}
    if rnd.random() < .15:
        s["maxProperties"] = rnd.randrange(1, 4)
    if rnd.random() < .15:
        s["minProperties"] = 1
    return s


def random_schema(rnd, depth=0):
    kind = rnd.random()
    if depth > 2:
        kind *= .5
    if kind < .06:
        return rnd.choice([True, {}, {"type": "null"}, {"type": "boolean"}, {"type": ["null", "integer"]}])
    if kind < .14:
        return {"enum": [random_value(rnd) for _ in range(rnd.randrange(1, 5))]}
    if kind < .17:
        return {"const": random_value(rnd)}
    if kind < .34:
        return random_number_schema(rnd)
    if kind < .5:
        return random_string_schema(rnd)
    if kind < .62:
        return random_array_schema(rnd, depth)
    if kind < .86:
        return random_object_schema(rnd, depth)
    if kind < .93:
        return {"anyOf": [random_schema(rnd, depth + 1) for _ in range(rnd.randrange(1, 4))]}
    if kind < .96:
        return {"allOf": [random_object_schema(rnd, depth + 1), random_object_schema(rnd, depth + 1)]}
    return {"$ref": "#/$defs/list", "$defs": {"list": {"anyOf": [{"type": "null"}, {
        "type": "object", "properties": {"v": random_schema(rnd, 3), "next": {"$ref": "#/$defs/list"}},
        "required": ["v", "next"], "additionalProperties": False}]}}} if depth == 0 else {"type": "integer"}


# ---- documents

def random_document(rnd, s, root, depth=0):
    """A value that is likely to satisfy s; its members in the order of the schema."""
    if isinstance(s, bool) or depth > 8:
        return random_value(rnd, depth)
    if "$ref" in s:
        return random_document(rnd, root["$defs"]["list"], root, depth + 1)
    if "const" in s:
        return s["const"]
    if "enum" in s:
        return rnd.choice(s["enum"])
    if "anyOf" in s:
        return random_document(rnd, rnd.choice(s["anyOf"]), root, depth + 1)
    if "allOf" in s:
        parts = [random_document(rnd, one, root, depth + 1) for one in s["allOf"]]
        return in_order(s, {k: v for p in parts for k, v in p.items()})
    t = s.get("type", "integer")
    t = rnd.choice(t) if isinstance(t, list) else t
    if t in ("integer", "number"):
        lo = s.get("minimum", s.get("exclusiveMinimum", -20))
        hi = s.get("maximum", s.get("exclusiveMaximum", lo + 60))
        v = rnd.choice([lo, hi, (lo + hi) / 2, lo + rnd.random() * (hi - lo), rnd.randrange(-40, 90)])
        v = round(v, 3)
        return int(v) if t == "integer" or v == int(v) else v
    if t == "string":
        n = rnd.randrange(s.get("minLength", 0), s.get("maxLength", 6) + 1)
        by = {r"^[a-z]+$": "abc", r"^\d{3}$": "123", r"b": "xby", r"^(foo|bar)?$": "foo", r"x\d+$": "?x12",
              r"^[A-Z][a-z]{0,5}$": "Hello", r"^a.*z$": "a-1z", r"^[^ab]*$": "cde"}.get(s.get("pattern"))
        return by[:n] if by and rnd.random() < .2 else by if by else random_text(rnd, n)
    if t == "array":
        prefix, items = s.get("prefixItems", []), s.get("items", True)
        n = rnd.randrange(s.get("minItems", 0), s.get("maxItems", s.get("minItems", 0) + 3) + 1)
        return [random_document(rnd, prefix[i] if i < len(prefix) else items, root, depth + 1) for i in range(n)]
    if t == "object":
        required = s.get("required", [])
        v = {k: random_document(rnd, one, root, depth + 1) for k, one in s.get("properties", {}).items()
             if k in required or rnd.random() < .5}
        v.update({k: random_value(rnd, 2) for k in required if k not in v})
        if s.get("additionalProperties", True) is not False and rnd.random() < .5:
            name = random_text(rnd, rnd.randrange(1, 5))
            v.setdefault(name, rnd.randrange(9) if name not in s.get("properties", {}) else None)
        return v
    return None if t == "null" else rnd.random() < .5


def mutated(rnd, v):
    """The same with one place changed."""
    if isinstance(v, list) and v and rnd.random() < .7:
        i = rnd.randrange(len(v))
        return v[:i] + ([mutated(rnd, v[i])] if rnd.random() < .7 else []) + v[i + 1:]
    if isinstance(v, dict) and v and rnd.random() < .8:
        k = rnd.choice(list(v))
        if rnd.random() < .3:
            return {n: one for n, one in v.items() if n != k}
        return {n: mutated(rnd, one) if n == k else one for n, one in v.items()}
    if isinstance(v, dict) and rnd.random() < .5:
        return dict(v, **{random_text(rnd, 3): 1})
    if is_number(v) and rnd.random() < .6:
        return v + rnd.choice([1, -1, 100, -1000])
    return v + random_text(rnd, 2) if isinstance(v, str) and rnd.random() < .6 else random_value(rnd)


def in_order(s, v):
    """The members of v as the grammar of s, an allOf, writes them: names as the schemas list them,
    then those that are only required, then the others."""
    names = [k for one in s["allOf"] for k in one.get("properties", {})]
    names += [k for one in s["allOf"] for k in one.get("required", [])]
    place = {n: i for i, n in reversed(list(enumerate(names)))}
    return {k: v[k] for k in sorted(v, key=lambda k: place.get(k, len(names)))}


def plain(v):
    """v with integral numbers written as integers."""
    if isinstance(v, list):
        return [plain(one) for one in v]
    if isinstance(v, dict):
        return {k: plain(one) for k, one in v.items()}
    return int(v) if isinstance(v, float) and v == int(v) else v


def text_of(v):
    return json.dumps(plain(v), ensure_ascii=False)
