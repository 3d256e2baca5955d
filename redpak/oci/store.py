"""What is known of a container, between one command and the next: a directory `<root>/<id>`.

    state.json   written aside and renamed; made before anything else of the container, removed after all of it
    config.json  the configuration that `create` read: later changes of the bundle's are not the container's
    lock         fcntl(2) record lock of the command that changes the container. Not flock(2): the first process of
                 the sandbox is a fork that would hold on to it
    mounts       number of the root's mount, for a container in a mount namespace of others (engine.native.shared)
    gate         exists while the program has not been started
    quick        for engine/quick.c, see oci/quick.py

A container appears and disappears by one rename of its directory, so whoever is killed in between leaves a container
that `delete --force` can take away, or a directory `~…` that no container can be called and `sweep` removes.
"""

from __future__ import annotations

import os

from redpak.errors import Busy, NotFound, RedpakError, Usage, doing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STATE, CONFIG, LOCK, GATE, MOUNTS = "state.json", "config.json", "lock", "gate", "mounts"
_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
HIDDEN = "~"
LONGEST_ID = 1024  # characters; the file system's own limit is usually 255


class Exists(RedpakError):
    """There is a container of that id already."""


def default_root() -> str:
    """Return where states are kept: /run/redpak-oci, or for who is root in a user namespace only, below
    $XDG_RUNTIME_DIR. Raises Usage where that is not set."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.geteuid() != 0:
        if not runtime.startswith("/"):
            raise Usage(
                "$XDG_RUNTIME_DIR is not set, so there is no place for the state",
                hint="Set it, or name a directory with --root.",
            )
        return f"{runtime}/redpak-oci"
    if runtime.startswith("/") and mapped():
        return f"{runtime}/redpak-oci"
    return "/run/redpak-oci"


def mapped() -> bool:
    """Tell whether this is a user namespace other than the first one (user_namespaces(7))."""
    try:
        with open("/proc/self/uid_map", "rb", buffering=0) as file:
            return file.read(100).split() != [b"0", b"0", b"4294967295"]
    except OSError:
        return False


def checked_id(name: str) -> str:
    """Return an id that may name a directory; raises Usage."""
    if not name:
        raise Usage("the container's id is empty", hint="Name the container.")
    if len(name) > LONGEST_ID or name in (".", "..") or not _ALLOWED.issuperset(name):
        raise Usage(
            f"invalid id format: '{name[:80]}'",
            hint="An id has letters of ASCII, digits and the characters _ + - . only.",
        )
    return name


def exists(name: str) -> Exists:
    """Return the error that clients know a taken id by."""
    return Exists(
        f"container with given id already exists: '{name}'",
        hint="Take another id, or delete that container first.",
    )


def absent(name: str) -> NotFound:
    """Return the error that clients know a missing container by."""
    return NotFound(f"container '{name}' does not exist: container does not exist")


class Container:
    """One container's directory and what its state file says. `data` is saved by `save`, nothing else."""

    def __init__(self, root: str, name: str, data: dict[str, Any]) -> None:
        self.name = name
        self.root = root
        self.path = f"{root}/{name}"
        self.data = data
        self.lock_fd = -1

    @property
    def gate(self) -> str:
        """The path of the gate."""
        return f"{self.path}/{GATE}"

    @property
    def mounts(self) -> str:
        """The path of the record of mounts that `delete` has to take away."""
        return f"{self.path}/{MOUNTS}"

    @property
    def pid(self) -> int:
        """The first process, in our numbering; 0 until it exists. Ask `life` whether it still does."""
        return int(self.data.get("pid", 0))

    def save(self) -> None:
        """Write the state file anew. Raises RedpakError."""
        _write(f"{self.path}/{STATE}", self.data)

    def lock(self, *, within_s: float = 0) -> None:
        """Wait until no other command changes this container, and read its state again.

        Raises NotFound when it was deleted meanwhile, Busy when `within_s` is over (0: as long as it takes).
        """
        import fcntl

        try:
            fd = os.open(f"{self.path}/{LOCK}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise absent(self.name) from None
        if within_s:
            _lock_within(fd, within_s, self.name)
        else:
            fcntl.lockf(fd, fcntl.LOCK_EX)
        self.lock_fd = fd
        if os.fstat(fd).st_nlink == 0 or not _same(fd, f"{self.path}/{LOCK}"):
            raise absent(self.name)  # deleted while we waited, and perhaps made anew
        self.data = _read(self.root, self.name)

    def busy(self) -> bool:
        """Tell whether another command holds the lock."""
        if self.lock_fd >= 0:
            return False  # we do; and to open and close the file again would let go of it (fcntl_locking(2))
        import fcntl

        try:
            fd = os.open(f"{self.path}/{LOCK}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def unlock(self) -> None:
        """Let other commands change this container again."""
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
            self.lock_fd = -1

    def config(self) -> dict[str, Any]:
        """Return the configuration that the container was made from. Raises RedpakError."""
        from redpak import quickjson

        value = quickjson.load(f"{self.path}/{CONFIG}")
        assert isinstance(value, dict)
        return value

    def forget(self) -> None:
        """Remove the directory: the container is no more, from one moment to the next. Raises RedpakError."""
        aside = f"{self.root}/{HIDDEN}{os.getpid()}.{os.urandom(4).hex()}"
        with doing(f"remove the state of container '{self.name}'"):
            try:
                os.rename(self.path, aside)
            except FileNotFoundError:
                return
            _empty(aside)


def make(root: str, name: str, data: dict[str, Any], config: bytes) -> Container:
    """Make a container's directory, which this process holds the lock of. Raises Exists and RedpakError."""
    import fcntl

    made = Container(root, name, data)
    aside = f"{root}/{HIDDEN}{os.getpid()}.{os.urandom(4).hex()}"
    with doing(f"keep the state of container '{name}'", hint="Name another directory with --root."):
        try:
            os.mkdir(aside, 0o700)
        except FileNotFoundError:
            os.makedirs(root, 0o700, exist_ok=True)
            os.mkdir(aside, 0o700)
        try:
            fd = os.open(f"{aside}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.lockf(fd, fcntl.LOCK_EX)
            made.lock_fd = fd
            put(f"{aside}/{CONFIG}", config)
            _write(f"{aside}/{STATE}", data)
            os.rename(aside, made.path)  # fails when the name is that of a directory with something in it
        except OSError as error:
            made.unlock()
            _empty(aside)
            if os.path.isdir(made.path):
                raise exists(name) from None
            raise OSError(error.errno, error.strerror, made.path) from error
    return made


def load(root: str, name: str) -> Container:
    """Return a container by its id. Raises NotFound, and RedpakError when its state cannot be read."""
    return Container(root, name, _read(root, checked_id(name)))


def names(root: str) -> list[str]:
    """Return the ids of all containers of a root, sorted."""
    try:
        return sorted(name for name in os.listdir(root) if _ALLOWED.issuperset(name))
    except FileNotFoundError:
        return []


def sweep(root: str) -> None:
    """Remove what killed commands left: directories without a name, whose maker is gone."""
    import fcntl

    from redpak.oci import life

    try:
        found = os.listdir(root)
    except OSError:
        return
    for name in found:
        if name[:1] != HIDDEN:
            continue
        at = f"{root}/{name}"
        pid = name[1:].partition(".")[0]
        if not pid.isascii() or not pid.isdigit() or life.start_time(int(pid)):
            continue  # its maker may live
        try:
            fd = os.open(f"{at}/{LOCK}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            fd = -1
        try:
            if fd >= 0:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _empty(at)
        except OSError:
            continue
        finally:
            if fd >= 0:
                os.close(fd)


def _read(root: str, name: str) -> dict[str, Any]:
    from redpak import quickjson

    path = f"{root}/{name}/{STATE}"
    try:
        with open(path, "rb", buffering=0) as file:
            owner = os.fstat(file.fileno()).st_uid
            data = file.readall()
    except (FileNotFoundError, NotADirectoryError):
        raise absent(name) from None
    except OSError as error:
        if error.errno == 36:  # ENAMETOOLONG
            raise absent(name) from None
        raise RedpakError(f"cannot read '{path}': {(error.strerror or '').lower()}") from None
    if owner not in (os.geteuid(), 0):  # it names processes to signal, and hooks to run
        raise RedpakError(f"'{path}' belongs to user {owner}", hint="Be that user, or name another --root.")
    value = quickjson.loads(data, file=path)
    if not isinstance(value, dict):
        raise RedpakError(f"'{path}' is no state", hint="Delete the container with --force.")
    return value


def _write(path: str, data: dict[str, Any]) -> None:
    from redpak import quickjson

    put(path, quickjson.dumps(data).encode())


def put(path: str, data: bytes) -> None:
    """Write aside and rename. No fsync: /run does not outlive the containers either."""
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
    os.rename(f"{path}.new", path)


def _lock_within(fd: int, within_s: float, name: str) -> None:
    import fcntl
    import time

    until = time.monotonic() + within_s
    while True:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            if time.monotonic() > until:
                os.close(fd)
                raise Busy(
                    f"another command has been changing container '{name}' for more than {within_s:g} s",
                    hint="Perhaps one of its hooks hangs: end that command, and try again.",
                ) from None
        time.sleep(0.005)


def _same(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        return False


def _empty(at: str) -> None:
    """Remove a directory that holds files, and one that holds a socket."""
    try:
        for name in os.listdir(at):
            try:
                os.unlink(f"{at}/{name}")
            except IsADirectoryError:
                _empty(f"{at}/{name}")
        os.rmdir(at)
    except FileNotFoundError:
        pass
