from django.urls import path

from . import views

urlpatterns = [
    path("projects/<uuid:parent_pk>/vms", views.ProjectVmEndpoint.as_view({"get": "list", "post": "create"})),
    path("vms/<uuid:pk>", views.VmEndpoint.as_view({"get": "retrieve", "delete": "destroy"})),
]
