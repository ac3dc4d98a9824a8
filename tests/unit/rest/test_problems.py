"""Every refusal becomes a document of one shape; what stands for no refusal is a fault of ours."""

import pytest
from django.core.exceptions import DisallowedHost, PermissionDenied, RequestDataTooBig
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404
from psycopg2.errors import ForeignKeyViolation
from rest_framework import exceptions

from facet.rest.problems import Conflict, Invalid, NameTaken, ProblemSerializer, flatten, problem_of


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Http404(), 404, "not_found"),
        (PermissionDenied(), 403, "forbidden"),
        (DisallowedHost("evil"), 400, "malformed"),
        (RequestDataTooBig(), 413, "too_large"),
        (exceptions.NotAuthenticated(), 401, "not_authenticated"),
        (exceptions.ParseError(), 400, "malformed"),
        (exceptions.UnsupportedMediaType("text/plain"), 415, "unsupported_media_type"),
        (exceptions.NotAcceptable(), 406, "not_acceptable"),
        (exceptions.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
        (exceptions.Throttled(3), 429, "throttled"),
        (exceptions.ValidationError({"a": ["b"]}), 422, "invalid"),
        (OperationalError("canceling statement due to statement timeout"), 503, "unavailable"),
        (InterfaceError("connection already closed"), 503, "unavailable"),
        (NameTaken("A tenant named acme exists."), 409, "name_taken"),
        (Conflict("No.", code="busy", status=503), 503, "busy"),
    ],
)
def test_an_exception_stands_for_a_problem(error, status, code):
    problem = problem_of(error)
    assert (problem.status, problem.code) == (status, code)
    document = problem.document()
    assert document["detail"]
    assert document["title"]
    assert set(document) <= set(ProblemSerializer().fields)


def test_the_database_is_not_quoted():
    assert "statement" not in problem_of(OperationalError("canceling statement: select password")).detail


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), IntegrityError("duplicate key"), TypeError()])
def test_a_fault_of_ours_is_no_refusal(error):
    assert problem_of(error) is None


def test_what_a_foreign_key_misses_is_a_conflict():
    error = IntegrityError("insert or update on table")
    error.__cause__ = ForeignKeyViolation()
    problem = problem_of(error)
    assert (problem.status, problem.code, "table" in problem.detail) == (409, "conflict", False)


def test_nested_errors_are_named_by_their_path():
    assert flatten({"a": {"b": [{}, {"c": ["no"]}]}, "d": ["x", "y"]}) == {"a.b.1.c": ["no"], "d": ["x", "y"]}
    assert flatten(["bad"]) == {"non_field_errors": ["bad"]}


def test_an_invalid_says_its_first_field_in_words():
    assert Invalid({"name": "Too long.", "size": "Too small."}).detail == "name: Too long."
