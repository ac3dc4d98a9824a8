"""What an orchestrator asks of the web process, and the answers for what no route knows."""

from __future__ import annotations

from typing import Any

import prometheus_client
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.views import SpectacularAPIView

from facet.operations.metrics import Queue
from facet.rest.problems import NotFound, Problem, plain


def alive(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> HttpResponse:
    """It can work: the database answers. Redis is a doorbell and not asked."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
    except DatabaseError:
        return JsonResponse({"status": "the database does not answer"}, status=503)
    return JsonResponse({"status": "ok"})


QUEUE = prometheus_client.CollectorRegistry()
QUEUE.register(Queue())


def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format: this process's counters, and the queue as the database has it now."""
    text = prometheus_client.generate_latest()
    try:
        text += prometheus_client.generate_latest(QUEUE)
    except DatabaseError:
        text += b"# the database does not answer: nothing is known of the queue\n"
    return HttpResponse(text, content_type=prometheus_client.CONTENT_TYPE_LATEST)


class Schema(SpectacularAPIView):
    """OpenAPI 3.1."""

    renderer_classes = [OpenApiJsonRenderer]
    authentication_classes: list[Any] = []


@csrf_exempt  # it does nothing, and its answer is a problem whoever asks
def unknown(request: HttpRequest) -> HttpResponse:
    """A path below /api that no route knows."""
    return plain(request, NotFound("There is no such path. The schema is at /api/v1/schema."))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        return unknown(request)
    return render(request, "console/404.html", status=404)


def fault(request: HttpRequest) -> HttpResponse:
    """A fault of ours: logged with the request's id, which the answer carries."""
    if not request.path.startswith("/api/"):
        request_id = getattr(request, "request_id", "")
        return render(request, "console/500.html", {"request_id": request_id}, status=500)
    problem = Problem("Facet made a mistake. The request id finds it in the log.", code="fault", status=500)
    return plain(request, problem)
