"""The base of every view: who may, in which database context, once per key, with which ETag.

A view names its verbs (`verbs = {"list": "cluster.read", ...}`), its parent if its route is nested, and does its work
in `services`. The order of a request: rights on the scoped object (404, then 403) -> replay of an Idempotency-Key ->
work. Views that place are `placing`: they run outside a transaction and open short contexts of their own; an action
that is `rights_when_read` looks up rights in the first of them, by placed_once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, ClassVar, TypeVar, cast
from uuid import UUID

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import DatabaseError, InterfaceError, models
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.viewsets import GenericViewSet

from . import idempotency
from .access import Access
from .fields import TRUTHS
from .problems import Conflict, Forbidden, Invalid, NotFound, PreconditionFailed, Problem, plain, problem_of
from .shapes import shape

PLACING_ATTEMPTS = 8
T = TypeVar("T")
D = TypeVar("D")


class LookAgain(Exception):
    """What was decided is out of date: nothing was written, decide anew."""


class Endpoint(GenericViewSet[Any]):
    """One resource. Subclasses give verbs, queryset and serializer_class."""

    verbs: ClassVar[dict[str, str]] = {}
    parent_model: ClassVar[type[models.Model] | None] = None
    parent_pk: ClassVar[str] = "parent_pk"
    placing: ClassVar[bool] = False
    rights_when_read: ClassVar[frozenset[str]] = frozenset()  # placing actions that do nothing before placed_once
    public: ClassVar[frozenset[str]] = frozenset()  # actions open to anyone
    secret_answers: ClassVar[frozenset[str]] = frozenset()  # actions whose answer holds a secret
    conditional: ClassVar[frozenset[str]] = frozenset()  # actions by POST that honour If-Match
    filter_fields: ClassVar[tuple[str, ...]] = ("name",)
    lookup_field = "pk"
    metadata_class = None  # OPTIONS is 405: the schema says it all, and better

    requests: ClassVar[dict[str, type[Serializer[Any]]]] = {}  # action -> what its body looks like
    answers: ClassVar[dict[str, tuple[int, Any]]] = {}  # action -> status and serializer, where not 200 and the default

    parent: Any = None

    @property
    def access(self) -> Access:
        return cast(Access, cast(Any, self.request).access)

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        context = nullcontext() if self.placing or not request.access.authenticated else request.access.context()
        try:
            with context:
                return super().dispatch(request, *args, **kwargs)
        except (DatabaseError, InterfaceError) as error:  # of the context itself: no connection, or a refused commit
            problem = problem_of(error)
            if problem is None:
                raise
            return plain(request, problem)

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        idempotency.check_key(request.headers.get("Idempotency-Key"))
        if self.action in (None, "metadata") or self.action in self.public:  # no such method here: 405 follows
            return
        if not self.access.authenticated:
            raise exceptions.NotAuthenticated("Log in, or send a token that is alive: Authorization: Bearer <token>.")
        if self.action in self.rights_when_read:
            self.request.data  # noqa: B018  read from the caller now: no transaction waits for its line
            return
        with self.access.context() if self.placing else nullcontext():
            self.authorize()

    # --- rights ----------------------------------------------------------------------------------------------------

    def authorize(self) -> None:
        """404 for what the caller may not see, 403 for what it may see and not do."""
        verb = self.verbs[self.action]
        target = None
        if self.parent_model is not None:
            target = self.parent = self.find_parent(self.kwargs[self.parent_pk])
        if self.lookup_field in self.kwargs:
            target = self._visible(self.get_queryset(), self.kwargs[self.lookup_field])
            self.found = target
        tenant_id, project_id = self.owner_ids(target)
        if not self.access.may(verb, tenant_id=tenant_id, project_id=project_id):
            raise Forbidden(f"Your roles do not include {verb} here.")

    def find_parent(self, pk: UUID) -> Any:
        """The row that this nested route is below. Raises NotFound."""
        return self._visible(self.get_parents(), pk)

    def get_parents(self) -> Any:
        """The rows that a nested route may be below."""
        if self.parent_model is None:
            raise TypeError(f"{type(self).__name__} has no parent")
        return living(self.parent_model._default_manager.all())

    def _visible(self, queryset: Any, pk: UUID) -> Any:
        found = self.access.scope(queryset).filter(pk=pk).first()
        if found is None:
            raise NotFound("There is no such object, or it is not yours.")
        return found

    @staticmethod
    def owner_ids(target: Any) -> tuple[UUID | None, UUID | None]:
        """(tenant_id, project_id) by which rights on `target` are judged; a tenant or project is its own owner."""
        return getattr(target, "owner_tenant_id", None), getattr(target, "owner_project_id", None)

    def get_object(self) -> Any:
        return self.found

    def filter_queryset(self, queryset: Any) -> Any:
        queryset = self.access.scope(queryset)
        for field in self.filter_fields:
            value = self.request.query_params.get(field)
            if value is not None:
                queryset = queryset.filter(**{field: self._filter_value(queryset.model, field, value)})
        return queryset

    @staticmethod
    def _filter_value(model: type[models.Model], field: str, value: str) -> Any:
        """The text of a filter as its column's type. Raises Invalid naming the filter."""
        try:
            if "\x00" in value:
                raise ValidationError("PostgreSQL holds no NUL")
            column = cast("models.Field[Any, Any]", model._meta.get_field(field.partition("__")[0]))
            return TRUTHS[value] if isinstance(column, models.BooleanField) else column.to_python(value)
        except (KeyError, ValidationError, FieldDoesNotExist):
            raise Invalid({field: "Not a value of this filter."}) from None

    # --- answers ---------------------------------------------------------------------------------------------------

    def valid(self, **options: Any) -> dict[str, Any]:
        """The request's body, checked by this action's serializer. Raises ValidationError (422)."""
        return self.valid_as(self.requests[self.action], **options)

    def valid_as(self, kind: type[Serializer[Any]], **options: Any) -> dict[str, Any]:
        """The same by this serializer, where an action takes bodies of several forms."""
        if options or self.request.data is None:
            serializer = kind(data=self.request.data, context=self.get_serializer_context(), **options)
            serializer.is_valid(raise_exception=True)
            data: dict[str, Any] = serializer.validated_data
        else:
            data = shape(kind).run_validation(self.request.data)
        return data

    def once(self, work: Callable[[], idempotency.Answer]) -> Response:
        """Do `work` once for this request's Idempotency-Key. In a placing view, call it inside `access.context()`."""
        status, body = idempotency.once(
            principal_id=self.access.actor.id,  # type: ignore[arg-type]  # an authenticated actor has one
            method=self.request.method or "",
            path=self.request.path,
            key=self.request.headers.get("Idempotency-Key"),
            body=self.request.data,
            work=work,
            secret=self.action in self.secret_answers,
        )
        return Response(body, status=status)

    def placed_once(
        self, *, read: Callable[[], T], decide: Callable[[T], D], write: Callable[[T, D], idempotency.Answer]
    ) -> Response:
        """For a placing view: read in one short context, decide in none, write in another, once for the key.

        `write` may raise LookAgain when the world has moved meanwhile: then all three are said again, a bounded number
        of times. A refusal of `decide` counts only if no rival with the same key has been answered meanwhile.
        """
        allowed = self.action not in self.rights_when_read
        for attempt in range(PLACING_ATTEMPTS):
            try:
                with self.access.context():
                    if not allowed:
                        self.authorize()
                        allowed = True
                    answered = self._replay() if attempt == 0 else None
                    if answered is not None:
                        return answered
                    found = read()
                decided = decide(found)
                with self.access.context():
                    return self.once(partial(write, found, decided))
            except LookAgain:
                continue
            except Problem:
                if not allowed:
                    raise
                with self.access.context():
                    answered = self._replay()
                if answered is None:
                    raise
                return answered
        raise Conflict("Too many others ask for the same room at this moment. Try again.", code="busy", status=503)

    def _replay(self) -> Response | None:
        """What this key was answered before, if it was. Inside a context."""
        answer = idempotency.replay(
            principal_id=self.access.actor.id,  # type: ignore[arg-type]  # an authenticated actor has one
            method=self.request.method or "",
            path=self.request.path,
            key=self.request.headers.get("Idempotency-Key"),
            body=self.request.data,
        )
        return None if answer is None else Response(answer[1], status=answer[0])

    def page(self, queryset: Any, **options: Any) -> Response:
        rows = self.paginate_queryset(queryset)
        return self.get_paginated_response(self.get_serializer(rows, many=True, **options).data)

    def list(self, request: Any, **kwargs: Any) -> Response:
        return self.page(self.filter_queryset(self.get_queryset()))

    def retrieve(self, request: Any, **kwargs: Any) -> Response:
        return self.shown(self.get_object())

    def shown(self, found: Any, status: int = 200) -> Response:
        response = Response(self.get_serializer(found).data, status=status)
        if hasattr(found, "generation"):
            response["ETag"] = etag(found)
        return response

    def check_if_match(self, found: Any, show: Callable[[Any], Any]) -> None:
        """412 with the current object when the caller's If-Match is not about this generation."""
        wanted = self.request.headers.get("If-Match")
        if wanted is not None and wanted != "*" and wanted != etag(found):
            raise PreconditionFailed("Someone changed it since you looked.", current=show(found))


def living(queryset: Any) -> Any:
    """Without the rows that are marked as deleted, where the model marks them."""
    marks = any(field.name == "deleted_at" for field in queryset.model._meta.get_fields())
    return queryset.filter(deleted_at=None) if marks else queryset


def etag(found: Any) -> str:
    return f'"{found.generation}"'
