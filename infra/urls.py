from django.urls import path

from . import views

ONE = {"get": "retrieve", "patch": "update", "delete": "destroy"}
LIST = {"get": "list", "post": "create"}

urlpatterns = [
    path("sites", views.SiteEndpoint.as_view({"get": "list", "post": "create"})),
    path("sites/check", views.CheckEndpoint.as_view({"post": "check_new"})),
    path("sites/<uuid:pk>", views.SiteEndpoint.as_view(ONE)),
    path("sites/<uuid:pk>/check", views.CheckEndpoint.as_view({"post": "check"})),
    path("sites/<uuid:pk>/sync", views.SiteEndpoint.as_view({"post": "sync"})),
    path("sites/<uuid:pk>/resume", views.SiteEndpoint.as_view({"post": "resume"})),
    path("sites/<uuid:parent_pk>/hosts", views.HostEndpoint.as_view({"get": "list"})),
    path("sites/<uuid:parent_pk>/datastores", views.DatastoreEndpoint.as_view({"get": "list"})),
    path("sites/<uuid:parent_pk>/networks", views.NetworkEndpoint.as_view({"get": "list"})),
    path("sites/<uuid:parent_pk>/templates", views.TemplateEndpoint.as_view({"get": "list"})),
    path("zones", views.ZoneEndpoint.as_view({"get": "list", "post": "create"})),
    path("zones/<uuid:pk>", views.ZoneEndpoint.as_view(ONE)),
    path("zones/<uuid:parent_pk>/storage-classes", views.ZoneStorageClassEndpoint.as_view(LIST)),
    path("zones/<uuid:parent_pk>/unmanaged-vms", views.UnmanagedVmEndpoint.as_view({"get": "list"})),
    path("storage-classes/<uuid:pk>", views.StorageClassEndpoint.as_view(ONE)),
    path("flavors", views.FlavorEndpoint.as_view({"get": "list"})),
    path("flavors/<uuid:pk>", views.FlavorEndpoint.as_view({"get": "retrieve"})),
    path("images", views.ImageEndpoint.as_view({"get": "list", "post": "create"})),
    path("images/<uuid:pk>", views.ImageEndpoint.as_view({"get": "retrieve", "delete": "destroy"})),
    path("images/<uuid:parent_pk>/replicas", views.ImageReplicasEndpoint.as_view(LIST)),
    path("image-replicas/<uuid:pk>", views.ImageReplicaEndpoint.as_view({"get": "retrieve", "delete": "destroy"})),
    path("addons", views.AddonEndpoint.as_view({"get": "list", "post": "create"})),
    path("addons/<uuid:pk>", views.AddonEndpoint.as_view({"get": "retrieve", "delete": "destroy"})),
    path("versions", views.VersionEndpoint.as_view({"get": "retrieve"})),
]
