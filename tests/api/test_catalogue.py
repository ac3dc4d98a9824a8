"""Flavors, images, add-ons and versions."""

import hashlib
from pathlib import Path

import pytest

from infra.models import Addon, Image
from tests import sites

CNI = (Path(__file__).resolve().parents[2] / "docs" / "examples" / "facet-cni.yaml").read_text()
OBJECT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
IMAGE = {
    "name": "kube-v1.34", "site": "dc1", "template": "kube-v1.34", "framework": "kubernetes", "version": "v1.34.2",
}  # fmt: skip
ADDON = {"name": "facet-cni", "kind": "cni", "version": "v1", "manifest": CNI}


def test_flavors_are_seeded_and_open_to_members(acme):
    found = acme.viewer.get("flavors")["items"]
    assert {row["name"] for row in found} == {"tiny", "small", "medium", "large", "xlarge"}
    one = acme.viewer.get(f"flavors/{found[0]['id']}")
    assert one.body == found[0]


def test_an_image_is_a_template_of_a_site_and_warns_of_what_is_missing(admin):
    sites.registered()
    made = admin.post("images", IMAGE)
    assert (made.status, made["name"], made["version"], made["template"]["name"]) == (
        201, "kube-v1.34", "v1.34.2", "kube-v1.34",
    )  # fmt: skip
    (warning,) = made["warnings"]
    assert "cni" in warning
    assert admin.post("addons", ADDON).status == 201
    assert admin.get(f"images/{made['id']}")["warnings"] == []
    assert admin.delete(f"images/{made['id']}").status == 204
    assert admin.get(f"images/{made['id']}").status == 404


@pytest.mark.parametrize("template", ["kube-v1.34", "/DC/vm/kube-v1.34", "vm-100"])
def test_a_template_is_named_by_name_path_or_ref(admin, template):
    sites.registered()
    assert admin.post("images", IMAGE | {"template": template}).status == 201


def test_an_ambiguous_template_is_refused_with_its_paths(admin):
    first = sites.world().templates[0]
    second = sites.TemplateFacts("vm-101", first.name, "/DC/vm/old/kube-v1.34", 2, 2048, 10)
    sites.registered(found=sites.world(templates=(first, second)))
    refused = admin.post("images", IMAGE)
    assert (refused.status, list(refused["errors"])) == (422, ["template"])
    assert refused["candidates"] == [first.path, second.path]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "Kube"}, "name"),
        ({"name": "kube\n"}, "name"),
        ({"site": "nowhere"}, "site"),
        ({"template": "nowhere"}, "template"),
        ({"template": 1}, "template"),
        ({"framework": "Kube rnetes"}, "framework"),
        ({"version": "latest"}, "version"),
        ({"version": "1.34.2"}, "version"),
        ({"version": "v1.34.2; rm -rf /"}, "version"),
        ({"version": "v1." + "3" * 40}, "version"),
        ({"more": 1}, "more"),
    ],
)
def test_what_cannot_be_an_image_is_422(admin, change, field):
    sites.registered()
    refused = admin.post("images", IMAGE | change)
    assert (refused.status, list(refused["errors"])) == (422, [field]), refused
    assert not Image.objects.exists()


def test_versions_are_what_images_offer_in_the_zones_of_their_sites(admin, acme):
    sites.carved(sites.registered())
    assert acme.viewer.get("versions")["items"] == []
    admin.post("images", IMAGE)
    admin.post("images", IMAGE | {"name": "kube-v1.33", "version": "v1.33.1"})
    offered = [
        {"framework": "kubernetes", "version": "v1.33.1", "zones": ["az1"]},
        {"framework": "kubernetes", "version": "v1.34.2", "zones": ["az1"]},
    ]
    assert acme.viewer.get("versions")["items"] == offered
    assert acme.viewer.get("versions?framework=swarm")["items"] == []
    sites.observe(Image.objects.first().site, sites.world(templates=()))
    assert acme.viewer.get("versions")["items"] == []
    assert "template" in " ".join(admin.get("images")["items"][0]["warnings"])


def test_an_addon_is_kept_with_its_digest_and_not_repeated(admin):
    made = admin.post("addons", ADDON)
    assert (made.status, made["kind"], made["images"]) == (201, "cni", [])
    assert made["sha256"] == hashlib.sha256(CNI.encode()).hexdigest()
    assert "manifest" not in made.body
    assert admin.post("addons", ADDON)["code"] == "name_taken"
    assert admin.post("addons", ADDON | {"version": "v2"}).status == 201
    assert admin.get("addons?version=v2")["items"][0]["name"] == "facet-cni"
    assert Addon.objects.get(version="v1").manifest == CNI
    assert admin.delete(f"addons/{made['id']}").status == 204


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "manifest",
    [
        "", "---\n", "just text", "- a\n- b", "kind: ConfigMap\nmetadata: {name: a}", "apiVersion: v1\nkind: ConfigMap",
        "apiVersion: v1\nkind: [x]\nmetadata: {name: a}", f"{OBJECT}---\nnonsense", "a: b: c", "a: 2024-99-99",
        "{{ .Values.name }}", "[" * 5000, f"{OBJECT}data: &x [*x]\n", OBJECT + LAUGHS, "a: !!python/object:os.system x",
        "apiVersion: v1\nkind: List\nitems: [1]",
    ],
)  # fmt: skip
def test_what_is_not_kubernetes_objects_is_422(admin, manifest):
    refused = admin.post("addons", ADDON | {"manifest": manifest})
    assert (refused.status, list(refused["errors"])) == (422, ["manifest"]), refused
    assert not Addon.objects.exists()


def test_a_list_of_objects_is_taken(admin):
    manifest = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n"
    assert admin.post("addons", ADDON | {"manifest": manifest}).status == 201


@pytest.mark.parametrize(
    ("change", "field"),
    [({"kind": "dns"}, "kind"), ({"name": "A"}, "name"), ({"version": ""}, "version"), ({"images": "x"}, "images")],
)
def test_what_cannot_be_an_addon_is_422(admin, change, field):
    refused = admin.post("addons", ADDON | change)
    assert (refused.status, list(refused["errors"])) == (422, [field])


def test_members_read_the_catalogue_without_the_sites_and_write_nothing(admin, acme):
    sites.carved(sites.registered())
    id = admin.post("images", IMAGE)["id"]
    addon = admin.post("addons", ADDON)["id"]
    for person in (acme.tenant_admin, acme.editor, acme.viewer):
        shown = person.get(f"images/{id}")
        assert (shown["site"], shown["template"], shown["zones"]) == (None, None, ["az1"])
        assert "dc1" not in repr(person.get("images").body)
        assert person.get(f"addons/{addon}").status == 200
        assert person.post("images", IMAGE).status == 403
        assert person.post("addons", ADDON).status == 403
        assert person.delete(f"images/{id}").status == 403
        assert person.delete(f"addons/{addon}").status == 403
