from django.core.management import call_command

from tests import sites
from tests.api import described
from tests.client import Api


def test_the_schema_is_openapi_3_1_without_warnings(tmp_path):
    target = tmp_path / "schema.yaml"
    call_command("spectacular", file=str(target), validate=True, fail_on_warn=True)
    assert target.read_text().startswith("openapi: 3.1.0")


def test_the_schema_is_served():
    schema = Api().get("schema")
    assert schema.status == 200
    assert schema["openapi"].startswith("3.1")
    assert "/api/v1/tenants/{id}" in schema["paths"]


def test_a_filter_is_of_its_columns_type_and_takes_what_the_schema_says(admin):
    site = sites.registered()
    kinds = {
        (call.path, name): call.schema["parameters"][number]["schema"]
        for call in described.calls()
        for number, name in enumerate(one["name"] for one in call.schema.get("parameters", ()))
    }
    assert kinds[("allocations", "pool_id")] == {"type": "string", "format": "uuid"}
    assert kinds[("sites/{parent_pk}/datastores", "present")] == {"type": "boolean"}
    for value, found in (("true", 2), ("false", 0)):
        answer = admin.get(f"sites/{site.id}/datastores?present={value}")
        assert (answer.status, len(answer["items"])) == (200, found)
    assert admin.get(f"sites/{site.id}/datastores?present=yes")["errors"].keys() == {"present"}
