"""The Container Runtime Interface, by which Kubernetes' kubelet talks to a container engine: what of it the tests need.

Source: runtime.v1 of k8s.io/cri-api. Names and numbers are the interface's own; what nobody here uses is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.clients.grpc import Channel
from tests.clients.protobuf import Messages
from tests.patience import PATIENCE_S

POD, CONTAINER, NODE, TARGET = 0, 1, 2, 3  # whose namespace
READY, NOT_READY = 0, 1  # a pod sandbox
CREATED, RUNNING, EXITED = 0, 1, 2  # a container
RUNTIME_DEFAULT, UNCONFINED = 0, 1  # a system call filter
MESSAGES = Messages(
    {
        "VersionRequest": "version=1 str",
        "VersionResponse": "version=1 str, runtime_name=2 str, runtime_version=3 str, runtime_api_version=4 str",
        "StatusRequest": "verbose=1 bool",
        "StatusResponse": "status=1 RuntimeStatus, info=2 map",
        "RuntimeStatus": "conditions=1 *RuntimeCondition",
        "RuntimeCondition": "type=1 str, status=2 bool, reason=3 str, message=4 str",
        # pods
        "PodSandboxMetadata": "name=1 str, uid=2 str, namespace=3 str, attempt=4 int",
        "DNSConfig": "servers=1 *str, searches=2 *str, options=3 *str",
        "NamespaceOption": "network=1 int, pid=2 int, ipc=3 int, target_id=4 str",
        "Number": "value=1 int",  # Int64Value, UInt64Value
        "SecurityProfile": "profile_type=1 int, localhost_ref=2 str",
        "LinuxSandboxSecurityContext": "namespace_options=1 NamespaceOption, run_as_user=3 Number,"
        " readonly_rootfs=4 bool, supplemental_groups=5 *int, privileged=6 bool, run_as_group=8 Number,"
        " seccomp=9 SecurityProfile",
        "LinuxPodSandboxConfig": "cgroup_parent=1 str, security_context=2 LinuxSandboxSecurityContext, sysctls=3 map",
        "PodSandboxConfig": "metadata=1 PodSandboxMetadata, hostname=2 str, log_directory=3 str,"
        " dns_config=4 DNSConfig, labels=6 map, annotations=7 map, linux=8 LinuxPodSandboxConfig",
        "RunPodSandboxRequest": "config=1 PodSandboxConfig, runtime_handler=2 str",
        "RunPodSandboxResponse": "pod_sandbox_id=1 str",
        "StopPodSandboxRequest": "pod_sandbox_id=1 str",
        "StopPodSandboxResponse": "",
        "RemovePodSandboxRequest": "pod_sandbox_id=1 str",
        "RemovePodSandboxResponse": "",
        "PodSandboxStatusRequest": "pod_sandbox_id=1 str, verbose=2 bool",
        "PodSandboxStatusResponse": "status=1 PodSandboxStatus, info=2 map",
        "PodSandboxStatus": "id=1 str, metadata=2 PodSandboxMetadata, state=3 int, created_at=4 int,"
        " network=5 PodSandboxNetworkStatus, labels=7 map, annotations=8 map, runtime_handler=9 str",
        "PodSandboxNetworkStatus": "ip=1 str",
        "PodSandboxStateValue": "state=1 int",
        "PodSandboxFilter": "id=1 str, state=2 PodSandboxStateValue, label_selector=3 map",
        "ListPodSandboxRequest": "filter=1 PodSandboxFilter",
        "ListPodSandboxResponse": "items=1 *PodSandbox",
        "PodSandbox": "id=1 str, metadata=2 PodSandboxMetadata, state=3 int, created_at=4 int, labels=5 map,"
        " annotations=6 map, runtime_handler=7 str",
        # containers
        "ContainerMetadata": "name=1 str, attempt=2 int",
        "ImageSpec": "image=1 str",
        "KeyValue": "key=1 str, value=2 str",
        "Mount": "container_path=1 str, host_path=2 str, readonly=3 bool, propagation=5 int",
        "Device": "container_path=1 str, host_path=2 str, permissions=3 str",
        "Capability": "add_capabilities=1 *str, drop_capabilities=2 *str",
        "LinuxContainerResources": "cpu_period=1 int, cpu_quota=2 int, cpu_shares=3 int, memory_limit_in_bytes=4 int,"
        " oom_score_adj=5 int, cpuset_cpus=6 str, cpuset_mems=7 str, unified=9 map, memory_swap_limit_in_bytes=10 int",
        "LinuxContainerSecurityContext": "capabilities=1 Capability, privileged=2 bool,"
        " namespace_options=3 NamespaceOption, run_as_user=5 Number, run_as_username=6 str, readonly_rootfs=7 bool,"
        " supplemental_groups=8 *int, no_new_privs=11 bool, run_as_group=12 Number, masked_paths=13 *str,"
        " readonly_paths=14 *str, seccomp=15 SecurityProfile",
        "LinuxContainerConfig": "resources=1 LinuxContainerResources, security_context=2 LinuxContainerSecurityContext",
        "ContainerConfig": "metadata=1 ContainerMetadata, image=2 ImageSpec, command=3 *str, args=4 *str,"
        " working_dir=5 str, envs=6 *KeyValue, mounts=7 *Mount, devices=8 *Device, labels=9 map, annotations=10 map,"
        " log_path=11 str, stdin=12 bool, stdin_once=13 bool, tty=14 bool, linux=15 LinuxContainerConfig",
        "CreateContainerRequest": "pod_sandbox_id=1 str, config=2 ContainerConfig, sandbox_config=3 PodSandboxConfig",
        "CreateContainerResponse": "container_id=1 str",
        "StartContainerRequest": "container_id=1 str",
        "StartContainerResponse": "",
        "StopContainerRequest": "container_id=1 str, timeout=2 int",
        "StopContainerResponse": "",
        "RemoveContainerRequest": "container_id=1 str",
        "RemoveContainerResponse": "",
        "ContainerStateValue": "state=1 int",
        "ContainerFilter": "id=1 str, state=2 ContainerStateValue, pod_sandbox_id=3 str, label_selector=4 map",
        "ListContainersRequest": "filter=1 ContainerFilter",
        "ListContainersResponse": "containers=1 *Container",
        "Container": "id=1 str, pod_sandbox_id=2 str, metadata=3 ContainerMetadata, image=4 ImageSpec, image_ref=5 str,"
        " state=6 int, created_at=7 int, labels=8 map, annotations=9 map",
        "ContainerStatusRequest": "container_id=1 str, verbose=2 bool",
        "ContainerStatusResponse": "status=1 ContainerStatus, info=2 map",
        "ContainerStatus": "id=1 str, metadata=2 ContainerMetadata, state=3 int, created_at=4 int, started_at=5 int,"
        " finished_at=6 int, exit_code=7 int, image=8 ImageSpec, image_ref=9 str, reason=10 str, message=11 str,"
        " labels=12 map, annotations=13 map, mounts=14 *Mount, log_path=15 str",
        "UpdateContainerResourcesRequest": "container_id=1 str, linux=2 LinuxContainerResources",
        "UpdateContainerResourcesResponse": "",
        "ReopenContainerLogRequest": "container_id=1 str",
        "ReopenContainerLogResponse": "",
        # programs inside, and numbers
        "ExecSyncRequest": "container_id=1 str, cmd=2 *str, timeout=3 int",
        "ExecSyncResponse": "stdout=1 bytes, stderr=2 bytes, exit_code=3 int",
        "ExecRequest": "container_id=1 str, cmd=2 *str, tty=3 bool, stdin=4 bool, stdout=5 bool, stderr=6 bool",
        "ExecResponse": "url=1 str",
        "ContainerStatsRequest": "container_id=1 str",
        "ContainerStatsResponse": "stats=1 ContainerStats",
        "ContainerStats": "attributes=1 ContainerAttributes, cpu=2 CpuUsage, memory=3 MemoryUsage",
        "ContainerAttributes": "id=1 str, metadata=2 ContainerMetadata, labels=3 map, annotations=4 map",
        "CpuUsage": "timestamp=1 int, usage_core_nano_seconds=2 Number",
        "MemoryUsage": "timestamp=1 int, working_set_bytes=2 Number, usage_bytes=4 Number",
        # images
        "ImageStatusRequest": "image=1 ImageSpec",
        "ImageStatusResponse": "image=1 Image",
        "Image": "id=1 str, repo_tags=2 *str, repo_digests=3 *str, size=4 int",
    }
)


class Cri:
    """The interface at a socket. Calling it with a method's name and the fields of its request returns its answer's."""

    def __init__(self, path: Path) -> None:
        self.channel = Channel(path)

    def __call__(self, method: str, *, timeout_s: float = 2 * PATIENCE_S, **fields: Any) -> dict[str, Any]:
        """Call a method of one of the two services. Raises CallFailed."""
        service = "ImageService" if "Image" in method else "RuntimeService"
        request = MESSAGES.encode(f"{method}Request", fields)
        answer = self.channel.call(f"runtime.v1.{service}/{method}", request, timeout_s=timeout_s)
        return MESSAGES.decode(f"{method}Response", answer)
