"""Build hook of the wheel: carries the launch helpers where a C compiler is there, and is pure Python otherwise."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
import tempfile
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOM = "redpak/engine"


class LaunchHelper(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles the C programs of build_helper.PROGRAMS aside and adds them to the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the helpers; an editable install uses those that `./dev setup` builds in place."""
        if self.target_name != "wheel" or version == "editable":
            return
        room = os.path.join(self.root, "redpak", "engine")
        module = importlib.util.spec_from_file_location("build_helper", os.path.join(room, "build_helper.py"))
        assert module and module.loader
        builder = importlib.util.module_from_spec(module)
        module.loader.exec_module(builder)
        self.scratch = tempfile.mkdtemp(prefix="redpak-build-")
        for source, name in builder.PROGRAMS.items():
            program = os.path.join(self.scratch, name)
            why = builder.build(os.path.join(room, source), program)
            if why:
                self.app.display_warning(f"the wheel has no {name}: {why}")
            else:
                build_data["force_include"][program] = f"{ROOM}/{name}"
        if not build_data["force_include"]:
            return
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"  # the helper is static and needs no certain Python

    def finalize(self, _version: str, _build_data: dict[str, Any], _artifact: str) -> None:
        """Remove what was built aside."""
        scratch = getattr(self, "scratch", "")
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)
