from django.urls import path

from . import views

urlpatterns = [
    path("tenants/<uuid:parent_pk>/pools", views.TenantPoolEndpoint.as_view({"get": "list", "post": "create"})),
    path("projects/<uuid:parent_pk>/pools", views.ProjectPoolEndpoint.as_view({"get": "list", "post": "create"})),
    path("pools/<uuid:pk>", views.PoolEndpoint.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"})),
    path("allocations", views.AllocationEndpoint.as_view({"get": "list"})),
    path("allocations/<uuid:pk>", views.AllocationEndpoint.as_view({"get": "retrieve"})),
    path("allocations/<uuid:pk>/why", views.AllocationEndpoint.as_view({"get": "why"})),
]
