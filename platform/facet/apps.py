from django.apps import AppConfig

from . import celery  # noqa: F401  whoever rings must ring at our broker, and not at Celery's default one


class FacetConfig(AppConfig):
    name = "facet"
