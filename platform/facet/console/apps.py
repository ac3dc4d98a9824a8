from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "facet.console"
    label = "console"
