"""A body is UTF-8 JSON of bounded size and depth, and holds only what PostgreSQL can."""

import io
import json

import pytest
from rest_framework.exceptions import ParseError

from facet.rest import parsing
from facet.rest.parsing import DEEPEST, StrictJSONParser
from facet.rest.problems import Invalid, Problem


def parse(text):
    return StrictJSONParser().parse(io.BytesIO(text if isinstance(text, bytes) else text.encode()))


def test_what_is_well_formed_is_read():
    body = {"name": "acme", "size": 3, "share": 0.5, "on": True, "of": None, "list": ["é", "𝄞"]}
    assert parse(json.dumps(body)) == body
    assert parse(json.dumps(body, ensure_ascii=False)) == body


@pytest.mark.parametrize(
    "text",
    ["", "{", "nonsense", "NaN", '{"a": Infinity}', "[1,]", "'a'", b"\xff\xfe{\x00}\x00", b'{"a": "\xe9"}', "1" * 5000,
     "[" * 100_000, "[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), '{"a":' * 40 + "1" + "}" * 40],
)  # fmt: skip
def test_what_is_not_json_or_too_deep_is_malformed(text):
    with pytest.raises(ParseError):
        parse(text)


def test_the_deepest_that_is_taken():
    text = "[" * DEEPEST + "1" + "]" * DEEPEST
    assert json.dumps(parse(text)).replace(" ", "") == text


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (r'{"name": "a\u0000b"}', "name"),
        (r'{"a": {"b": ["x", "\u0000"]}}', "a.b.1"),
        (r'{"a\u0000": 1}', r"a\u0000"),
        (r'{"a": "\ud800"}', "a"),
        (r'{"\udfff": 1}', r"\udfff"),
        ('{"quota": {"vcpu": 1e999}}', "quota.vcpu"),
        (r'"\u0000"', "non_field_errors"),
    ],
)
def test_what_no_column_holds_is_refused_by_the_fields_name(text, field):
    with pytest.raises(Invalid) as refused:
        parse(text)
    assert list(refused.value.more["errors"]) == [field]
    json.dumps(refused.value.document()).encode()


def test_a_body_has_a_size(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    assert parse('"' + "x" * 98 + '"') == "x" * 98
    with pytest.raises(Problem) as refused:
        parse('"' + "x" * 99 + '"')
    assert (refused.value.status, refused.value.code) == (413, "too_large")


def test_an_endless_body_is_not_read_to_its_end(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    stream = io.BytesIO(b" " * 1_000_000)
    with pytest.raises(Problem):
        StrictJSONParser().parse(stream)
    assert stream.tell() == 1001


def test_check_takes_what_json_makes():
    parsing.check({"a": [1, 2.5, None, True, {"b": "c"}]})
