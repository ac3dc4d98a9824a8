from django.core.management import call_command

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
