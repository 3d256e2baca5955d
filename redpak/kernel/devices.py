"""Which devices a cgroup2 may use: BPF programs at a cgroup, loaded, attached, listed and taken off.

The kernel asks each with struct bpf_cgroup_dev_ctx {u32 access_type; u32 major; u32 minor}; all programs of a cgroup
and of its ancestors must answer 1. What they say is made by redpak.cgroup.devices. All calls need CAP_BPF and
CAP_NET_ADMIN in the initial user namespace, before Linux 5.8 CAP_SYS_ADMIN (EPERM); descriptors are close-on-exec.
"""

from __future__ import annotations

import ctypes
import os
import struct

from redpak.kernel.libc import syscall

F_ALLOW_MULTI, F_REPLACE = 2, 4
_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE = 15, 6


def _bpf(command: int, attr: bytes) -> int:
    return syscall("bpf", command, attr, len(attr))


def load(program: bytes, name: str = "redpak_devices") -> int:
    """Return a descriptor of a loaded device program.

    Raises OSError: EINVAL or EACCES with the verifier's words. Source: bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE; Linux 4.15.
    """
    code, terms = (
        ctypes.create_string_buffer(program, len(program)),
        ctypes.create_string_buffer(b"Apache-2.0"),
    )
    log = ctypes.create_string_buffer(65536)
    head = (_TYPE_CGROUP_DEVICE, len(program) // 8, ctypes.addressof(code), ctypes.addressof(terms))
    tail = (0, 0, name.encode()[:15])  # kern_version, flags
    try:
        return _bpf(_PROG_LOAD, struct.pack("=IIQQIIQII16s", *head, 0, 0, 0, *tail))
    except PermissionError as error:
        if error.errno == 1:  # EPERM: there is nothing to explain
            raise
    except OSError:
        pass
    try:
        return _bpf(
            _PROG_LOAD, struct.pack("=IIQQIIQII16s", *head, 1, len(log), ctypes.addressof(log), *tail)
        )
    except OSError as error:
        said = log.value.decode(errors="replace").strip()
        raise OSError(error.errno, f"{error.strerror}: {said}" if said else error.strerror) from None


def attach(cgroup: int, program: int, *, replace: int = -1) -> None:
    """Attach a loaded program to the cgroup2 directory open as `cgroup`, beside others, or in place of `replace`.

    Replacing leaves no moment without a program. Raises OSError: EPERM also where an ancestor allows no second
    program; E2BIG above 64; EINVAL before Linux 5.6 for `replace`; ENOENT when that is not attached.
    Source: bpf(2), BPF_PROG_ATTACH, BPF_F_ALLOW_MULTI (Linux 4.15), BPF_F_REPLACE (5.6).
    """
    flags = F_ALLOW_MULTI | (F_REPLACE if replace >= 0 else 0)
    _bpf(_PROG_ATTACH, struct.pack("=5I", cgroup, program, _ATTACH_CGROUP_DEVICE, flags, max(replace, 0)))


def detach(cgroup: int, program: int) -> None:
    """Take a program off a cgroup. Raises OSError: ENOENT when it is not attached. Source: BPF_PROG_DETACH."""
    _bpf(_PROG_DETACH, struct.pack("=5I", cgroup, program, _ATTACH_CGROUP_DEVICE, 0, 0))


def attached(cgroup: int) -> list[int]:
    """Return descriptors of the device programs at a cgroup itself, in the order of attaching.

    Raises OSError: EPERM also without CAP_SYS_ADMIN. Source: BPF_PROG_QUERY, BPF_PROG_GET_FD_BY_ID; Linux 4.16.
    """
    room = (ctypes.c_uint32 * 64)()
    asked = struct.pack("=IIIIQII", cgroup, _ATTACH_CGROUP_DEVICE, 0, 0, ctypes.addressof(room), len(room), 0)
    answer = ctypes.create_string_buffer(asked, len(asked))
    syscall("bpf", _PROG_QUERY, ctypes.byref(answer), len(asked))
    found: list[int] = []
    try:
        for one in room[: struct.unpack_from("=I", answer, 24)[0]]:
            found.append(_bpf(_PROG_GET_FD_BY_ID, struct.pack("=III", one, 0, 0)))
    except BaseException:
        for fd in found:
            os.close(fd)
        raise
    return found
