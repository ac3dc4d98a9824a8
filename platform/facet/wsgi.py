"""The web process: REST API and console."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "facet.settings")
application = get_wsgi_application()
