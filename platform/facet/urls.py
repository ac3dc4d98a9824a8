"""Every route on one screen: the API under /api/v1, the console at the root."""

urlpatterns: list = []
