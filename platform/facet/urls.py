"""Every room's routes under /api/v1, the console at the root, and what an orchestrator asks."""

from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularSwaggerView

from facet import health

urlpatterns = [
    path("healthz", health.alive),
    path("readyz", health.ready),
    path("metrics", health.metrics),
    path("api/v1/schema", health.Schema.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerView.as_view(url_name="schema")),
    path("api/v1/", include("tenants.urls")),
    path("api/v1/", include("facet.operations.urls")),
    re_path("^api/", health.unknown),
]
handler404 = "facet.health.not_found"
handler500 = "facet.health.fault"
