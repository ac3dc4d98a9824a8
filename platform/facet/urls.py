"""Every room's routes under /api/v1, the console at the root, and what an orchestrator asks."""

from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularSwaggerSplitView

from facet import health
from facet.console.security import with_styles_of_its_own

urlpatterns = [
    path("healthz", health.alive),
    path("readyz", health.ready),
    path("metrics", health.metrics),
    path("api/v1/schema", health.Schema.as_view(), name="schema"),
    path("api/docs", with_styles_of_its_own(SpectacularSwaggerSplitView.as_view(url_name="schema"))),
    path("api/v1/", include("tenants.urls")),
    path("api/v1/", include("infra.urls")),
    path("api/v1/", include("scheduler.urls")),
    path("api/v1/", include("facet.operations.urls")),
    path("api/v1/", include("facet.workloads.urls")),
    path("api/v1/", include("facet.clusters.urls")),
    re_path("^api/", health.unknown),
    path("", include("facet.console.urls")),
]
handler404 = "facet.health.not_found"
handler500 = "facet.health.fault"
