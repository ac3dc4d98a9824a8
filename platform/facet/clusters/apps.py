from django.apps import AppConfig


class ClustersConfig(AppConfig):
    name = "facet.clusters"
    label = "clusters"
