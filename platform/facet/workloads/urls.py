from django.urls import path

from . import views
from .maintenance import views as maintenance

urlpatterns = [
    path("projects/<uuid:parent_pk>/vms", views.ProjectVmEndpoint.as_view({"get": "list", "post": "create"})),
    path("vms/<uuid:pk>", views.VmEndpoint.as_view({"get": "retrieve", "delete": "destroy"})),
    path("hosts/<uuid:pk>", maintenance.HostMaintenanceEndpoint.as_view({"get": "retrieve"})),
    path("hosts/<uuid:pk>/cordon", maintenance.HostMaintenanceEndpoint.as_view({"post": "cordon"})),
    path("hosts/<uuid:pk>/uncordon", maintenance.HostMaintenanceEndpoint.as_view({"post": "uncordon"})),
    path("hosts/<uuid:pk>/drain", maintenance.HostDrainEndpoint.as_view({"post": "drain"})),
    path("zones/<uuid:pk>/drain", maintenance.ZoneDrainEndpoint.as_view({"post": "drain"})),
    path("zones/<uuid:pk>/resume", maintenance.ZoneResumeEndpoint.as_view({"post": "resume"})),
    path("drains", maintenance.DrainEndpoint.as_view({"get": "list"})),
    path("drains/<uuid:pk>", maintenance.DrainEndpoint.as_view({"get": "retrieve"})),
]
