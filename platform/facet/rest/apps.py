from django.apps import AppConfig


class RestConfig(AppConfig):
    name = "facet.rest"
    label = "rest"
