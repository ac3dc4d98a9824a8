from django.apps import AppConfig


class WorkloadsConfig(AppConfig):
    name = "facet.workloads"
    label = "workloads"
