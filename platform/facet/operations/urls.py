from django.urls import path

from .views import EventEndpoint, OperationEndpoint

urlpatterns = [
    path("operations", OperationEndpoint.as_view({"get": "list"})),
    path("operations/<uuid:pk>", OperationEndpoint.as_view({"get": "retrieve"})),
    path("operations/<uuid:pk>/cancel", OperationEndpoint.as_view({"post": "cancel"})),
    path("events", EventEndpoint.as_view({"get": "list"})),
]
