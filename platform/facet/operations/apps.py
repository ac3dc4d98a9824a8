from django.apps import AppConfig


class OperationsConfig(AppConfig):
    name = "facet.operations"
    label = "operations"
