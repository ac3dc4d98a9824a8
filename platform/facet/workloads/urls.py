from django.urls import path

from . import act_views, address_views, adoption_views, drift_views, views
from .maintenance import views as maintenance
from .networks import offer_views as offers
from .networks import views as networks
from .snapshots import views as snapshots
from .volumes import views as volumes

urlpatterns = [
    path("projects/<uuid:parent_pk>/volumes", volumes.ProjectVolumeEndpoint.as_view({"get": "list", "post": "create"})),
    path(
        "volumes/<uuid:pk>",
        volumes.VolumeEndpoint.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"}),
    ),
    path("volumes/<uuid:pk>/attach", volumes.VolumeActEndpoint.as_view({"post": "attach"})),
    path("volumes/<uuid:pk>/detach", volumes.VolumeActEndpoint.as_view({"post": "detach"})),
    path(
        "volumes/<uuid:parent_pk>/snapshots",
        volumes.VolumeSnapshotsEndpoint.as_view({"get": "list", "post": "create"}),
    ),
    path(
        "volume-snapshots/<uuid:pk>",
        volumes.VolumeSnapshotEndpoint.as_view({"get": "retrieve", "delete": "destroy"}),
    ),
    path(
        "projects/<uuid:parent_pk>/networks",
        networks.ProjectNetworkEndpoint.as_view({"get": "list", "post": "create"}),
    ),
    path("projects/<uuid:parent_pk>/firewall", networks.FirewallEndpoint.as_view({"get": "retrieve", "put": "update"})),
    path(
        "site-networks/<uuid:pk>/offers",
        offers.SiteNetworkOfferEndpoint.as_view({"get": "retrieve", "put": "update"}),
    ),
    path(
        "networks/<uuid:pk>",
        networks.NetworkEndpoint.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"}),
    ),
    path("projects/<uuid:parent_pk>/vms", views.ProjectVmEndpoint.as_view({"get": "list", "post": "create"})),
    path("vms/<uuid:pk>", views.VmEndpoint.as_view({"get": "retrieve", "delete": "destroy"})),
    path("vms/<uuid:parent_pk>/snapshots", snapshots.VmSnapshotEndpoint.as_view({"get": "list", "post": "create"})),
    path("snapshots/<uuid:pk>", snapshots.SnapshotEndpoint.as_view({"get": "retrieve", "delete": "destroy"})),
    path("snapshots/<uuid:pk>/revert", snapshots.RevertEndpoint.as_view({"post": "revert"})),
    path("vms/<uuid:pk>/start", act_views.VmActEndpoint.as_view({"post": "start"})),
    path("vms/<uuid:pk>/stop", act_views.VmActEndpoint.as_view({"post": "stop"})),
    path("vms/<uuid:pk>/restart", act_views.VmActEndpoint.as_view({"post": "restart"})),
    path("vms/<uuid:pk>/resize", act_views.VmActEndpoint.as_view({"post": "resize"})),
    path("vms/<uuid:pk>/console", act_views.VmConsoleEndpoint.as_view({"get": "retrieve"})),
    path("vms/<uuid:pk>/release", adoption_views.ReleaseEndpoint.as_view({"post": "release"})),
    path("zones/<uuid:pk>/adopt", adoption_views.AdoptionEndpoint.as_view({"post": "adopt"})),
    path("vms/<uuid:pk>/repair", drift_views.VmDriftEndpoint.as_view({"post": "repair"})),
    path("vms/<uuid:pk>/accept-drift", drift_views.VmDriftEndpoint.as_view({"post": "accept"})),
    path(
        "networks/<uuid:parent_pk>/addresses",
        address_views.NetworkAddressEndpoint.as_view({"get": "list", "post": "create"}),
    ),
    path("addresses/<uuid:pk>", address_views.AddressEndpoint.as_view({"get": "retrieve", "delete": "destroy"})),
    path("hosts/<uuid:pk>", maintenance.HostMaintenanceEndpoint.as_view({"get": "retrieve"})),
    path("hosts/<uuid:pk>/cordon", maintenance.HostMaintenanceEndpoint.as_view({"post": "cordon"})),
    path("hosts/<uuid:pk>/uncordon", maintenance.HostMaintenanceEndpoint.as_view({"post": "uncordon"})),
    path("hosts/<uuid:pk>/drain", maintenance.HostDrainEndpoint.as_view({"post": "drain"})),
    path("zones/<uuid:pk>/drain", maintenance.ZoneDrainEndpoint.as_view({"post": "drain"})),
    path("zones/<uuid:pk>/resume", maintenance.ZoneResumeEndpoint.as_view({"post": "resume"})),
    path("drains", maintenance.DrainEndpoint.as_view({"get": "list"})),
    path("drains/<uuid:pk>", maintenance.DrainEndpoint.as_view({"get": "retrieve"})),
]
