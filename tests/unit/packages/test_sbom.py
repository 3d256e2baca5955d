"""Bills of materials: valid for the libraries' own validators, and the same bytes for the same packages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from redpak.errors import Usage
from redpak.packages import inventory, sbom_cyclonedx, sbom_spdx
from redpak.packages.header import Header, from_rpm
from redpak.packages.inventory import Inventory, Origin
from redpak.packages.model import Layer
from tests.rpms import Maker

CORE = Layer(name="core OS", kind="core", path="/c", database="rpm")
NODE = Layer(name="nav", kind="node", path="/n", database="rpm", locked=False)
FILE = b"#!/bin/sh\n"


@pytest.fixture
def layers(tmp_path: Path) -> list[tuple[Layer, list[Header]]]:
    maker = Maker(tmp_path)

    def made(name: str, **more: Any) -> Header:
        return from_rpm(maker.rpm(name, arch="noarch", **more))[1]

    core = [made("libc", files={"/usr/lib/libc.so": "c"}), made("unused")]
    own = [
        made("app", epoch=3, requires=["libc", "(tool or nothing)"], recommends=["tool"], license="GPLv2+",
             url="http://example.com/app", vendor="Ä & Sons", files={"/usr/bin/app": (FILE, 0o755), "/etc/app": "x"}),
        made("tool", license="MIT AND Apache-2.0"),
    ]  # fmt: skip
    return [(CORE, core), (NODE, own)]


def taken(layers: list[tuple[Layer, list[Header]]], *, family: bool = False) -> Inventory:
    origin = Origin(
        checksum="sha256:" + "ab" * 32, location="https://example.com/app.rpm", repo="r", reason="user"
    )
    return inventory.take(
        layers, name="nav", tool="redpak-1", origins={"app-3:1-1.noarch": origin}, family=family
    )


def cyclonedx(text: str) -> Any:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert wrong is None, wrong
    return json.loads(text)


def spdx(text: str) -> Any:
    from spdx_tools.spdx.parser.jsonlikedict import json_like_dict_parser
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    library: Any = json_like_dict_parser
    document = library.JsonLikeDictParser().parse(json.loads(text))
    assert [one.validation_message for one in validate_full_spdx_document(document)] == []
    return json.loads(text)


@pytest.mark.parametrize("files", [False, True])
def test_cyclonedx_is_valid_and_always_the_same(
    layers: list[tuple[Layer, list[Header]]], *, files: bool
) -> None:
    text = sbom_cyclonedx.document(taken(layers), files=files)
    assert text == sbom_cyclonedx.document(taken(layers[:1] + [(NODE, layers[1][1][::-1])]), files=files)
    told = cyclonedx(text)
    assert told["specVersion"] == "1.6"
    parts = {one["name"]: one for one in told["components"]}
    assert sorted(parts) == ["app", "libc", "tool"]  # of the ancestor only what is needed
    app = parts["app"]
    assert app["purl"] == "pkg:rpm/app@1-1?arch=noarch&epoch=3&upstream=app-1-1.src.rpm"
    assert app["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert app["licenses"] == [{"license": {"name": "GPLv2+"}}]
    assert parts["tool"]["licenses"] == [{"expression": "MIT AND Apache-2.0"}]
    assert {"name": "redpak:layer", "value": "core OS"} in parts["libc"]["properties"]
    needs = {one["ref"]: one.get("dependsOn", []) for one in told["dependencies"]}
    assert needs[app["bom-ref"]] == [parts["libc"]["bom-ref"], parts["tool"]["bom-ref"]]
    assert needs["node:nav"] == [app["bom-ref"], parts["tool"]["bom-ref"]]
    assert [one["name"] for one in app.get("components", [])] == (
        ["/etc/app", "/usr/bin/app"] if files else []
    )


def test_spdx_is_valid_and_always_the_same(layers: list[tuple[Layer, list[Header]]]) -> None:
    text = sbom_spdx.document(taken(layers, family=True))
    assert text == sbom_spdx.document(taken(layers, family=True))
    told = spdx(text)
    assert told["spdxVersion"] == "SPDX-2.3"
    parts = {one["name"]: one for one in told["packages"]}
    assert sorted(parts) == ["app", "libc", "nav", "tool", "unused"]
    app = parts["app"]
    assert app["versionInfo"] == "3:1-1"
    assert app["supplier"] == "Organization: Ä & Sons"
    assert app["downloadLocation"] == "https://example.com/app.rpm"
    assert app["licenseDeclared"].startswith("LicenseRef-GPLv2-")
    assert told["hasExtractedLicensingInfos"][0]["extractedText"] == "GPLv2+"
    assert "layer=core OS" in parts["libc"]["comment"]
    links = {
        (one["spdxElementId"], one["relationshipType"], one["relatedSpdxElement"])
        for one in told["relationships"]
    }
    assert (app["SPDXID"], "DEPENDS_ON", parts["libc"]["SPDXID"]) in links
    assert ("SPDXRef-Node", "CONTAINS", app["SPDXID"]) in links
    assert ("SPDXRef-Node", "CONTAINS", parts["libc"]["SPDXID"]) not in links


def test_spdx_lists_the_files_that_are_what_the_package_brought(
    layers: list[tuple[Layer, list[Header]]], tmp_path: Path
) -> None:
    tree, state = tmp_path / "tree", tmp_path / "state"
    (tree / "usr/bin").mkdir(parents=True)
    (state / "etc").mkdir(parents=True)
    (tree / "usr/bin/app").write_bytes(FILE)
    (state / "etc/app").write_text("changed")
    told = spdx(sbom_spdx.document(taken(layers), files=True, roots={"nav": (str(tree), str(state))}))
    assert [one["fileName"] for one in told["files"]] == ["./usr/bin/app"]
    app = next(one for one in told["packages"] if one["name"] == "app")
    assert app["filesAnalyzed"] is True and app["packageVerificationCode"]


def test_a_package_without_a_word_of_its_own_is_valid_too(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    bare = from_rpm(maker.rpm("bare", vendor="", license="", url="not a link", summary=" "))[1]
    found = inventory.take([(NODE, [bare])], name="n", tool="redpak-1", origins={})
    cyclonedx(sbom_cyclonedx.document(found, files=True))
    spdx(sbom_spdx.document(found, files=True))


def test_the_time_is_that_of_the_content_or_what_the_environment_says(
    layers: list[tuple[Layer, list[Header]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert taken(layers).created == max(header.buildtime for _, headers in layers for header in headers)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert '"timestamp": "1970-01-02T00:00:00+00:00"' in sbom_cyclonedx.document(taken(layers))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(Usage, match="SOURCE_DATE_EPOCH is 'yesterday'"):
        taken(layers)


@pytest.mark.parametrize(
    ("text", "expression", "words"),
    [
        ("MIT", "MIT", ""),
        ("mit and (Apache-2.0 or BSD-3-Clause)", "MIT AND (Apache-2.0 OR BSD-3-Clause)", ""),
        ("", "", ""),
    ],
)
def test_licences_are_expressions_where_they_can_be(text: str, expression: str, words: str) -> None:
    assert inventory.licence(text) == (expression, words)


@pytest.mark.parametrize("text", ["GPLv2+", "Public Domain", "MIT and GPLv2", "((", "Ünïcode", "a/b\\c"])
def test_other_licences_are_kept_as_text(text: str) -> None:
    expression, words = inventory.licence(text)
    assert expression.startswith("LicenseRef-") and expression.isascii()
    assert words == text
