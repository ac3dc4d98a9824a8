"""What-ifs: answered on the snapshot, touching nothing."""

from __future__ import annotations

from typing import Any

from rest_framework.response import Response

from facet.rest.endpoint import Endpoint
from infra.models import Zone

from .. import whatif
from ..serializers import whatif as shapes


class WhatIfEndpoint(Endpoint):
    """What would become of a zone's VMs and guarantees."""

    parent_model = Zone
    placing = True
    pagination_class = None
    filter_fields = ()
    queryset = Zone.objects.none()
    serializer_class = shapes.WhatIfSerializer
    verbs = {"create": "zone.inspect"}
    requests = {"create": shapes.WhatIfRequest}
    answers = {"create": (200, shapes.WhatIfSerializer)}

    def create(self, request: Any, **kwargs: Any) -> Response:
        """Drain hosts or the zone, lose it, add hosts, let the last days come again: who would not fit?"""
        data = dict(self.valid())
        with self.access.context():
            supposed = whatif.suppose(self.parent, **data)
        answer = supposed.answer()
        return Response(shapes.WhatIfSerializer(answer).data)
