from django.urls import path

from . import pages, session, welcome

urlpatterns = [
    path("", pages.Home.as_view(), name="home"),
    path("login", session.Login.as_view(), name="login"),
    path("welcome", welcome.Welcome.as_view(), name="welcome"),
    path("logout", session.Logout.as_view(), name="logout"),
    path("sites/<uuid:pk>", pages.SitePage.as_view(), name="site"),
    path("tenants/<uuid:pk>", pages.TenantPage.as_view(), name="tenant"),
    path("projects/<uuid:pk>", pages.ProjectPage.as_view(), name="project"),
    path("clusters/<uuid:pk>", pages.ClusterPage.as_view(), name="cluster"),
    path("operations", pages.Operations.as_view(), name="operations"),
    path("operations/<uuid:pk>", pages.OperationPage.as_view(), name="operation"),
]
