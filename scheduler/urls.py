from django.urls import path

from .views import allocations, capacity, pools, usage, whatif

urlpatterns = [
    path("tenants/<uuid:parent_pk>/pools", pools.TenantPoolEndpoint.as_view({"get": "list", "post": "create"})),
    path("projects/<uuid:parent_pk>/pools", pools.ProjectPoolEndpoint.as_view({"get": "list", "post": "create"})),
    path("pools/<uuid:pk>", pools.PoolEndpoint.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"})),
    path("pools/<uuid:pk>/transfer", pools.PoolEndpoint.as_view({"post": "transfer"})),
    path("pools/<uuid:pk>/take-spare", pools.PoolEndpoint.as_view({"post": "take_spare"})),
    path("allocations", allocations.AllocationEndpoint.as_view({"get": "list"})),
    path("allocations/<uuid:pk>", allocations.AllocationEndpoint.as_view({"get": "retrieve"})),
    path("allocations/<uuid:pk>/why", allocations.AllocationEndpoint.as_view({"get": "why"})),
    path("tenants/<uuid:parent_pk>/usage", usage.TenantUsageEndpoint.as_view({"get": "retrieve"})),
    path("projects/<uuid:parent_pk>/usage", usage.ProjectUsageEndpoint.as_view({"get": "retrieve"})),
    path("zones/<uuid:parent_pk>/what-if", whatif.WhatIfEndpoint.as_view({"post": "create"})),
    path("zones/<uuid:parent_pk>/capacity", capacity.CapacityEndpoint.as_view({"get": "retrieve"})),
]
