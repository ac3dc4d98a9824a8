from django.urls import path

from . import views

urlpatterns = [
    path("login", views.LoginEndpoint.as_view({"post": "login"})),
    path("logout", views.LoginEndpoint.as_view({"post": "logout"})),
    path("me", views.MeEndpoint.as_view({"get": "retrieve"})),
    path("users", views.UserEndpoint.as_view({"get": "list", "post": "create"})),
    path("users/<uuid:pk>", views.UserEndpoint.as_view({"get": "retrieve", "patch": "update"})),
    path("groups", views.GroupEndpoint.as_view({"get": "list", "post": "create"})),
    path("groups/<uuid:pk>", views.GroupEndpoint.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"})),
    path("tokens", views.OwnTokenEndpoint.as_view({"get": "list", "post": "create"})),
    path("tokens/<uuid:pk>", views.OwnTokenEndpoint.as_view({"delete": "destroy"})),
    path("platform/members", views.PlatformMemberEndpoint.as_view({"get": "list", "post": "create"})),
    path("members/<uuid:pk>", views.OneMemberEndpoint.as_view({"delete": "destroy"})),
    path("tenants", views.TenantEndpoint.as_view({"get": "list", "post": "create"})),
    path(
        "tenants/<uuid:pk>", views.TenantEndpoint.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"})
    ),
    path("tenants/<uuid:parent_pk>/members", views.MemberEndpoint.as_view({"get": "list", "post": "create"})),
    path("tenants/<uuid:parent_pk>/projects", views.TenantProjectEndpoint.as_view({"get": "list", "post": "create"})),
    path(
        "tenants/<uuid:parent_pk>/quota",
        views.TenantQuotaEndpoint.as_view({"get": "retrieve", "put": "replace", "patch": "update"}),
    ),
    path("projects", views.ProjectEndpoint.as_view({"get": "list"})),
    path(
        "projects/<uuid:pk>", views.ProjectEndpoint.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"})
    ),
    path(
        "projects/<uuid:parent_pk>/quota",
        views.ProjectQuotaEndpoint.as_view({"get": "retrieve", "put": "replace", "patch": "update"}),
    ),
    path("projects/<uuid:parent_pk>/members", views.ProjectMemberEndpoint.as_view({"get": "list", "post": "create"})),
    path(
        "projects/<uuid:parent_pk>/service-accounts",
        views.ProjectServiceAccountEndpoint.as_view({"get": "list", "post": "create"}),
    ),
    path("service-accounts/<uuid:pk>", views.ServiceAccountEndpoint.as_view({"get": "retrieve", "delete": "destroy"})),
    path(
        "service-accounts/<uuid:parent_pk>/tokens",
        views.ServiceAccountTokenEndpoint.as_view({"get": "list", "post": "create"}),
    ),
]
