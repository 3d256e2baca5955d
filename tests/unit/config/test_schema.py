"""The JSON Schema that editors use."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from redpak.config import settings
from redpak.config.schema import schema, words
from redpak.config.setting import Setting


def walk(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        return [node, *(found for value in node.values() for found in walk(value))]
    if isinstance(node, list):
        return [found for value in node for found in walk(value)]
    return []


def properties(full: str) -> dict[str, Any]:
    node = schema()
    for name in full.split("."):
        if node.get("items"):
            node = node["items"]
        node = node["properties"][name]
    return node


@pytest.mark.parametrize("setting", settings.SETTINGS, ids=lambda s: s.full)
def test_every_setting_is_described(setting: Setting) -> None:
    assert properties(setting.full)["description"] == setting.help


def test_it_is_json_of_draft_2020_12_with_valid_patterns() -> None:
    found = json.loads(json.dumps(schema()))
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    patterns = [node["pattern"] for node in walk(found) if isinstance(node.get("pattern"), str)]
    assert patterns
    for pattern in patterns:
        re.compile(pattern)


def test_unknown_keys_are_marked_and_required_ones_missed() -> None:
    objects = [node for node in walk(schema()) if "properties" in node and "additionalProperties" in node]
    assert len(objects) == 13  # the file, 4 sections, capabilities, cgroups with 5 groups, rlimits
    assert all(node["additionalProperties"] is False for node in objects)
    assert schema()["required"] == ["headers"]
    assert properties("headers")["required"] == ["alias"]


def test_main_yaml_needs_no_headers() -> None:
    found = schema(defaults=True)
    assert "required" not in found
    assert "required" not in found["properties"]["headers"]


@pytest.mark.parametrize("text", ["Execfd", "execfd", "ExecFd", "EXECFD"])
def test_words_are_taken_in_any_case(text: str) -> None:
    _, pattern = words(settings.EXPORT_MODES)["anyOf"]
    assert re.search(pattern["pattern"], text)
    assert not re.search(pattern["pattern"], f"{text}x")
