from facet.rest.ids import uuid7


def test_ids_are_uuid_version_7_and_differ():
    made = {uuid7() for _ in range(10_000)}
    assert len(made) == 10_000
    assert {(id.version, id.variant) for id in made} == {(7, "specified in RFC 4122")}
