from django.urls import path

from . import views

urlpatterns = [
    path("projects/<uuid:parent_pk>/clusters", views.ProjectClusterEndpoint.as_view({"get": "list", "post": "create"})),
    path("projects/<uuid:parent_pk>/placements", views.PlacementEndpoint.as_view({"post": "create"})),
    path("clusters/<uuid:pk>", views.ClusterEndpoint.as_view({"get": "retrieve", "delete": "destroy"})),
    path("clusters/<uuid:parent_pk>/nodes", views.ClusterNodeEndpoint.as_view({"get": "list"})),
    path("clusters/<uuid:parent_pk>/node-pools", views.ClusterNodePoolEndpoint.as_view({"get": "list"})),
    path("clusters/<uuid:parent_pk>/kubeconfig", views.KubeconfigEndpoint.as_view({"post": "create"})),
    path("node-pools/<uuid:pk>", views.NodePoolEndpoint.as_view({"get": "retrieve", "patch": "update"})),
]
