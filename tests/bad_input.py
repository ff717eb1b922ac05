"""The bad-input matrix as values: what no call may take, by kind of value, and bodies that nobody could read."""

from typing import Any

from marshmallow import fields

from wire import AccountId, Choice, CommaList, Instant, Metadata, Number, StreamToken, Switch, Text

JSON, FORM = "application/json", "application/x-www-form-urlencoded"

UNREADABLE = [
    *(b"[]", b"null", b'"x"', b"1", b"true", b"[{}]", b" ", b"{", b'{"name":"x"}}', b'{"name":"x",}'),
    *(b"{'name':1}", b'{"name":"x"} trailing', b'{"name":"x"}\x00', b"name=x", b"<xml/>", b'{"a":01}'),
    *(b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":1e309}', b'{"a":{"b":-1e309}}'),
    *(b'{"name":"a\nb"}', b'{"a":1,"a":1}', b'{"a":{"b":1,"b":2}}', b'{"name":1,"na\\u006de":2}'),
    *(b'{"a":' + b"9" * 5000 + b"}", b'{"a":{"b":' + b"9" * 5000 + b"}}", b'{"a":-' + b"9" * 5000 + b"}"),
    *(b"[" * 900 + b"]" * 900, b'{"a":' * 900 + b"1" + b"}" * 900, b'{"a":' + b"[" * 65 + b"]" * 65 + b"}"),
    *(b"[" * 1500 + b"]" * 1500, b'{"a":' * 1500 + b"1" + b"}" * 1500, b"[" * 100_000 + b"]" * 100_000),
    *(b'{"a":' * 100_000, b"[" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    *(b'{"name":"\xff"}', b'{"name":"\xc3"}', b'{"name":"\xed\xa0\x80"}', b'{"\xff":1}'),
    *('{"name":"ü"}'.encode(kind) for kind in ("latin-1", "utf-16", "utf-16-le", "utf-32")),
    *('{"name":"x"}'.encode("utf-8-sig"), b" " * (1024 * 1024 + 1), b'{"a":"' + b"x" * 1024 * 1024 + b'"}'),
]
UNREADABLE_FORMS = [b"a=%FF", b"a=x&&b=x", b"a", b"&".join(b"f%d=1" % n for n in range(200)), b"a=\xff", b"&"]
OTHER_TYPES = [
    *(
        "text/plain",
        "text/json",
        "application/vnd.api+json",
        "application/xml",
        "",
        "x",
        "multipart/form-data",
    ),
    *(f"{JSON}; charset=latin-1", f"{JSON}; charset=utf-16", f"{FORM}; charset=latin-1"),
]

NO_TEXT = [1, 1.5, True, [], {}, ["x"], "a\0", "\0", "a\x1bb", "\x7f", "\x85", "a\ud800", "\udfff"]
# By the first kind that a field is of: JSON values, and texts for forms and queries (percent-encoded).
JSON_VALUES: list[tuple[type[fields.Field], list[Any]]] = [
    (
        Number,
        [2**63, -(2**63) - 1, 2**64, 10**4000, 1e300, 60.5, -0.5, True, "60", "", "\u0665", [60], {}],
    ),
    (Switch, [0, 1, 0.0, "true", "1", "", [], {}]),
    (CommaList, [1, True, {}, [1], [None], [[]], "a\0", "\x1fa", "a\n", ["\x1f"], ["a\ud800"], "\udfff"]),
    (Metadata, [[], "x", "{}", 1, True, {"a": "\ud800"}, {"\udc00": 1}, {"a": "x" * 4096}]),
    (Instant, [1, 4102444800000, True, [], {}, "", "tomorrow", "2099-02-30T00:00:00Z", "2099-01-01", "a\0"]),
    (AccountId, [*NO_TEXT[1:], "", "a b", "a/b", "x" * 65, 10**64, "é", 1.5]),
    (Choice, [*NO_TEXT, "", "none of these", "x" * 5000]),
    (StreamToken, [*NO_TEXT, "", "short", "x" * 129, "with space", "a/b/c/d/e", "%00%00%00"]),
    (Text, [*NO_TEXT, "x" * 6000]),
    (fields.Nested, [1, True, "x", []]),
]
TEXTS: list[tuple[type[fields.Field], list[str]]] = [
    (
        Number,
        [
            *("9223372036854775808", "-" + "9" * 19, "9" * 5000, "1.5", "1e1", "abc", "", "%D9%A5"),
            *("%205", "%2B5", "5_0", "0x10", "true", "%FF", "1%00", "NaN"),
        ],
    ),
    (Switch, ["yes", "True", "", "2", "null", "%FF", "1%00"]),
    (CommaList, ["a%00", "%1Fa", "a%0A", "%FF", "a,%ED%A0%80", "%C2%85"]),
    (Metadata, ["", "{", "[]", "x", "%7B%22a%22%3A1%2C%22a%22%3A2%7D", "%00"]),
    (Instant, ["", "tomorrow", "2099-01-01", "0", "NOW", "%FF", "now%00"]),
    (AccountId, ["", "a%20", "a%2F", "x" * 65, "%FF", "%C3%A9", "a%00"]),
    (Choice, ["", "none", "%FF", "desc%00"]),
    (StreamToken, ["", "short", "x" * 129, "%FF%FF%FF%FF%FF%FF%FF%FF", "a%2Fb%2Fc%2Fd"]),
    (Text, ["%00", "a%1B", "%FF", "%ED%A0%80", "%C2%85", "x" * 6000]),
    (fields.Nested, ["", "x", "[]"]),
]

ODD_IDS = [
    *("9223372036854775808", "9" * 5000, "-1", "0", "1%00", "%00", "%2e%2e", "..%5c..", "%D9%A1", "%FF"),
    *("%ED%A0%80", "null", "ch_", "_", "CH_0", "ch_%27", "'%20OR%201=1--", "%25", "*", "ch_a%20", "%20"),
    *("%0d%0aX:%20y", "a" * 8000, "😀", "{id}", "<id>", "undefined"),
]


def bad_values(table: list[tuple[type[fields.Field], list[Any]]], field: fields.Field) -> list[Any]:
    """Those of the first kind that the field is of; a kind that has none here is a gap."""
    return next(values for kind, values in table if isinstance(field, kind))
