from django.urls import path

from .views import login, members, owners, people, quotas, tokens

urlpatterns = [
    path("login", login.LoginEndpoint.as_view({"post": "login"})),
    path("logout", login.LoginEndpoint.as_view({"post": "logout"})),
    path("me", login.MeEndpoint.as_view({"get": "retrieve"})),
    path("users", people.UserEndpoint.as_view({"get": "list", "post": "create"})),
    path("users/<uuid:pk>", people.UserEndpoint.as_view({"get": "retrieve", "patch": "update"})),
    path("groups", people.GroupEndpoint.as_view({"get": "list", "post": "create"})),
    path("groups/<uuid:pk>", people.GroupEndpoint.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"})),
    path("tokens", tokens.OwnTokenEndpoint.as_view({"get": "list", "post": "create"})),
    path("tokens/<uuid:pk>", tokens.OwnTokenEndpoint.as_view({"delete": "destroy"})),
    path("platform/members", members.PlatformMemberEndpoint.as_view({"get": "list", "post": "create"})),
    path("members/<uuid:pk>", members.OneMemberEndpoint.as_view({"delete": "destroy"})),
    path("tenants", owners.TenantEndpoint.as_view({"get": "list", "post": "create"})),
    path(
        "tenants/<uuid:pk>", owners.TenantEndpoint.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"})
    ),
    path("tenants/<uuid:parent_pk>/members", members.MemberEndpoint.as_view({"get": "list", "post": "create"})),
    path("tenants/<uuid:parent_pk>/projects", owners.TenantProjectEndpoint.as_view({"get": "list", "post": "create"})),
    path(
        "tenants/<uuid:parent_pk>/quota",
        quotas.TenantQuotaEndpoint.as_view({"get": "retrieve", "put": "replace", "patch": "update"}),
    ),
    path("projects", owners.ProjectEndpoint.as_view({"get": "list"})),
    path(
        "projects/<uuid:pk>",
        owners.ProjectEndpoint.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"}),
    ),
    path(
        "projects/<uuid:parent_pk>/quota",
        quotas.ProjectQuotaEndpoint.as_view({"get": "retrieve", "put": "replace", "patch": "update"}),
    ),
    path("projects/<uuid:parent_pk>/members", members.ProjectMemberEndpoint.as_view({"get": "list", "post": "create"})),
    path(
        "projects/<uuid:parent_pk>/service-accounts",
        tokens.ProjectServiceAccountEndpoint.as_view({"get": "list", "post": "create"}),
    ),
    path("service-accounts/<uuid:pk>", tokens.ServiceAccountEndpoint.as_view({"get": "retrieve", "delete": "destroy"})),
    path(
        "service-accounts/<uuid:parent_pk>/tokens",
        tokens.ServiceAccountTokenEndpoint.as_view({"get": "list", "post": "create"}),
    ),
]
