"""containerd with its CRI plugin, told what to do as a kubelet tells it: pods, containers in them, their logs."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.clients import cri, image
from tests.clients.cri import Cri
from tests.clients.grpc import CallFailed
from tests.clients.world import GROUP, World, runtime
from tests.conftest import REPOSITORY
from tests.features import cni
from tests.patience import LOOK_S, PATIENCE_S, eventually

NUMBERS = itertools.count(1)
IMAGE = f"{image.NAME}:latest"
PAUSE = "localhost/pause:latest"
STATES = "/run/containerd/runc"  # of the runtimes
DOCUMENT = REPOSITORY / "docs/oci.md"
PLAIN = "plain"  # a handler of the tested runtime that hands no annotation on
# What is tested, and runc as the control.
HANDLERS = ("runc",) if runtime().name == "runc" else ("redpak", "runc")
CONFIGURATION = """
version = 2
root = "{at}/root"
state = "{at}/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
address = "{at}/socket"
[ttrpc]
address = "{at}/ttrpc"
[plugins."io.containerd.internal.v1.opt"]
path = "{at}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni}"
conf_dir = "{at}/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"
"""
PLUGIN = 'plugins."io.containerd.grpc.v1.cri".containerd.runtimes'
HANDLER = """
[{plugin}.{name}]
runtime_type = "io.containerd.runc.v2"
[{plugin}.{name}.options]
BinaryName = "{program}"
"""
NETWORK = """
{{"cniVersion": "0.4.0", "name": "tested", "plugins": [{{"type": "ptp", "ipam":
 {{"type": "host-local", "subnet": "10.123.0.0/16", "dataDir": "{at}/addresses"}}}}]}}
"""
# What the plugins of the network write below /var/lib vanishes with the world.
PREPARE = (
    'mkdir -p "$1/net.d" "$1/lib-upper" "$1/lib-work" && '
    'mount -t overlay -o "lowerdir=/var/lib,upperdir=$1/lib-upper,workdir=$1/lib-work" lib /var/lib'
)


def documented(kind: str, about: str = "") -> str:
    """Return the one block of the documentation that is of a kind, and that has a text in it."""
    found = re.findall(rf"^```{kind}\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    (block,) = [one for one in found if about in one]
    return str(block)


class Kubelet:
    """A containerd of its own. `call` calls a method of the interface. `systemd`: that makes the cgroups."""

    def __init__(self, world: World, *, systemd: bool = False) -> None:
        self.world = world
        self.at = world.at / "cri"
        self.at.mkdir()
        done = world.run("sh", "-c", PREPARE, "prepare", str(self.at))
        assert done.code == 0, done
        text = CONFIGURATION.format(at=self.at, pause=PAUSE, cni=cni())
        driver = "SystemdCgroup = true\n" if systemd else ""
        text += documented("toml").replace("/usr/bin/redpak-oci", str(runtime())) + driver
        for name, program in ((PLAIN, runtime()), ("runc", "runc")):
            text += HANDLER.format(plugin=PLUGIN, name=name, program=program) + driver
        (self.at / "config.toml").write_text(text)
        (self.at / "net.d/tested.conflist").write_text(NETWORK.format(at=self.at))
        self.start()
        image.write(self.at / "pause.tar", name="localhost/pause", command=("/bin/sleep", "100000"))
        for archive in (world.at / "image.tar", self.at / "pause.tar"):
            words = ["ctr", "--address", f"{self.at}/socket", "--namespace", "k8s.io", "images", "import"]
            done = world.run(*words, str(archive))
            assert done.code == 0, done
        for name in (IMAGE, PAUSE):
            self.has(name)

    def has(self, name: str) -> None:
        """Wait until the interface has heard of an image that `ctr` has imported."""
        eventually(lambda: "image" in self.call("ImageStatus", image={"image": name}))

    def start(self) -> None:
        """Start the daemon."""
        script = 'echo $$ >"$1/pid" && exec containerd --config "$1/config.toml"'
        self.daemon = self.world.start("sh", "-c", script, "sh", str(self.at), log=f"cri{next(NUMBERS)}.log")
        self.call = self._connected()

    def _connected(self) -> Cri:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := self._ready()):
            assert time.monotonic() < deadline, self.logs()
            time.sleep(LOOK_S)
        return found

    def _ready(self) -> Cri | None:
        try:
            found = Cri(self.at / "socket")
        except OSError:
            return None
        try:
            if all(one["status"] for one in found("Status")["status"]["conditions"]):
                return found
        except (OSError, CallFailed):
            pass
        found.channel.close()
        return None

    def logs(self) -> str:
        """Return what the daemon has said last."""
        return "".join(file.read_text()[-4000:] for file in sorted(self.world.at.glob("cri*.log")))

    def close(self) -> None:
        """Remove all pods and end the daemon."""
        for one in self.call("ListPodSandbox")["items"]:
            self.call("StopPodSandbox", pod_sandbox_id=one["id"])
            self.call("RemovePodSandbox", pod_sandbox_id=one["id"])
        self.stop()

    def stop(self) -> None:
        """End the daemon; pods go on."""
        self.call.channel.close()
        for signal in ("TERM", "KILL"):
            self.world.run("kill", f"-{signal}", (self.at / "pid").read_text().strip())
            try:
                self.daemon.wait(PATIENCE_S)
                return
            except subprocess.TimeoutExpired:
                continue

    def holds(self, file: Path) -> bool:
        """Tell whether the daemon has a file open."""
        pid = self.daemon.pid
        if self.world.enter:  # it is the child of nsenter
            (pid,) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        wanted = file.stat()
        for opened in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if os.path.samestat(opened.stat(), wanted):
                    return True
            except OSError:  # it has just been closed
                continue
        return False

    def trace(self, *numbers: str) -> list[str]:
        """Return what there is of pods and containers: files of a runtime, cgroups, mounts, processes."""
        groups = f"/sys/fs/cgroup/{GROUP} /sys/fs/cgroup/*/{GROUP} /sys/fs/cgroup/kubepods.slice"
        look = (
            f'{{ find {STATES} /run/netns {groups} 2>/dev/null; cat /proc/self/mountinfo; }} | grep -E "$1"'
        )
        found = self.world.run("sh", "-c", look, "sh", "|".join(numbers)).out.splitlines()
        return [*found, *(line for number in numbers for line in processes(number))]


def processes(words: str) -> list[str]:
    """Return the command lines of all processes that have these words in it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            text = (entry / "cmdline").read_bytes().replace(b"\0", b" ") if entry.name.isdigit() else b""
        except OSError:  # it has just ended
            continue
        if words.encode() in text:
            found.append(text.decode(errors="replace"))
    return found


class Pod:
    """A pod sandbox for a block, and with it the containers that were made in it."""

    def __init__(
        self,
        kubelet: Kubelet,
        handler: str,
        *,
        spaces: dict[str, int] | None = None,
        annotations: dict[str, str] | None = None,
        slice_name: str = "",
        security: dict[str, Any] | None = None,
        **linux: Any,
    ) -> None:
        self.kubelet, self.handler = kubelet, handler
        name = f"pod{next(NUMBERS)}"
        self.logs = kubelet.at / "logs" / name
        self.logs.mkdir(parents=True)
        self.cgroup = f"{GROUP}/{name}"
        self.spaces = {"pid": cri.CONTAINER, **(spaces or {})}
        self.config = {
            "metadata": {"name": name, "uid": f"uid-{name}", "namespace": "default"},
            "log_directory": str(self.logs),
            "dns_config": {"servers": ["192.0.2.53"], "searches": ["tested.example"]},
            "labels": {"app": name},
            "annotations": annotations or {},
            "linux": {
                "cgroup_parent": slice_name or f"/{self.cgroup}",
                "security_context": {"namespace_options": self.spaces, **(security or {})},
                **linux,
            },
        }
        if self.spaces.get("network") != cri.NODE:
            self.config["hostname"] = name
        self.name = name

    def __enter__(self) -> Pod:
        answer = self.call("RunPodSandbox", config=self.config, runtime_handler=self.handler)
        self.id = answer["pod_sandbox_id"]
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def call(self, method: str, **fields: Any) -> dict[str, Any]:
        """Call a method of the interface."""
        return self.kubelet.call(method, **fields)

    def status(self) -> dict[str, Any]:
        """Return what is known of it."""
        found: dict[str, Any] = self.call("PodSandboxStatus", pod_sandbox_id=self.id)["status"]
        return found

    def first(self) -> int:
        """Return the first process of its own container, as the engine's world numbers it."""
        told = self.call("PodSandboxStatus", pod_sandbox_id=self.id, verbose=True)
        return int(json.loads(told["info"]["info"])["pid"])

    def remove(self) -> None:
        """Stop and remove it with all that is in it; both may be said twice."""
        self.call("StopPodSandbox", pod_sandbox_id=self.id)
        self.call("RemovePodSandbox", pod_sandbox_id=self.id)

    def create(
        self,
        *program: str,
        resources: dict[str, Any] | None = None,
        rights: dict[str, Any] | None = None,
        image_name: str = IMAGE,
        **config: Any,
    ) -> Container:
        """Make a container. `rights` are its security context, `config` other members of its configuration."""
        name = f"c{next(NUMBERS)}"
        whole = {
            "metadata": {"name": name},
            "image": {"image": image_name},
            "command": list(program),
            "log_path": f"{name}.log",
            "linux": {
                "resources": resources or {},
                "security_context": {"namespace_options": self.spaces, **(rights or {})},
            },
            **config,
        }
        answer = self.call(
            "CreateContainer", pod_sandbox_id=self.id, config=whole, sandbox_config=self.config
        )
        return Container(self, answer["container_id"], self.logs / f"{name}.log")

    def start(self, *program: str, **options: Any) -> Container:
        """Start a container."""
        made = self.create(*program, **options)
        made.call("StartContainer")
        return made

    def run(self, *program: str, **options: Any) -> Container:
        """Run a container to its end."""
        made = self.start(*program, **options)
        made.wait()
        return made

    def out(self, *program: str, **options: Any) -> str:
        """Run a container that must end well; return what it printed."""
        done = self.run(*program, **options)
        assert done.status()["exit_code"] == 0, done
        return done.log()


class Container:
    """A container in a pod."""

    def __init__(self, pod: Pod, number: str, logged: Path) -> None:
        self.pod, self.id, self.logged = pod, number, logged

    def __repr__(self) -> str:
        return f"{self.status()}\n--- out\n{self.log()}--- err\n{self.log('stderr')}---"

    def call(self, method: str, **fields: Any) -> dict[str, Any]:
        """Call a method of the interface that is told this container."""
        return self.pod.call(method, container_id=self.id, **fields)

    def status(self) -> dict[str, Any]:
        """Return what is known of it."""
        found: dict[str, Any] = self.call("ContainerStatus")["status"]
        return found

    def wait(self) -> int:
        """Wait until it has ended and its log is whole, which is a little later; return its exit code."""
        eventually(lambda: self.status()["state"], cri.EXITED)
        if self.logged.exists():
            eventually(lambda: self.pod.kubelet.holds(self.logged), False)
        code: int = self.status()["exit_code"]
        return code

    def log(self, stream: str = "stdout") -> str:
        """Return what it has written to one of its streams. Raises AssertionError if its log has not the format."""
        found = ""
        text = self.logged.read_text()
        for line in text[: text.rfind("\n") + 1].splitlines():  # the last one may not be whole yet
            match = re.fullmatch(
                r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\S+ (stdout|stderr) ([FP]) (.*)", line, re.DOTALL
            )
            assert match is not None, line
            if match[1] == stream:
                found += match[3] + ("\n" if match[2] == "F" else "")
        return found

    def prints(self, text: str) -> None:
        """Wait until it has written a text."""
        eventually(lambda: text in self.log() if self.logged.exists() else False)

    def exec(self, *program: str, timeout_s: int = int(PATIENCE_S)) -> tuple[int, str, str]:
        """Run a second program in it; return its exit code and what it wrote."""
        done = self.call("ExecSync", cmd=list(program), timeout=timeout_s)
        return done["exit_code"], done["stdout"].decode(), done["stderr"].decode()

    def stop(self, *, grace_s: int = 0) -> int:
        """Stop it; return its exit code."""
        self.call("StopContainer", timeout=grace_s)
        return self.wait()

    def remove(self) -> None:
        """Remove it, running or not."""
        self.call("RemoveContainer")

    def cgroup(self, *names: str) -> str:
        """Return the contents of the first of these files in its cgroup; 'memory/limit' is that of version 1."""
        group = f"{self.pod.cgroup}/{self.id}"
        files = []
        for name in names:
            controller, _, file = name.rpartition("/")
            files.append(f"/sys/fs/cgroup/{controller}/{group}/{file}")
        done = self.pod.kubelet.world.run("sh", "-c", f"cat {' '.join(files)} 2>/dev/null")
        return done.out.strip()
