"""Mounts through the kernel room: with the newer calls and, taken away, without them. Both must give the same."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from redpak.engine.native import tree
from redpak.kernel import mount, mountinfo, newmount, ns, procfs
from redpak.kernel.newmount import (
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
)
from tests.host.kernel_rig import AS_ROOT, EVERY_CALL, IN_USERNS, both_ways, failing, inside

pytestmark = pytest.mark.needs("userns")

EVERYWHERE = [IN_USERNS, pytest.param(AS_ROOT, marks=pytest.mark.needs("root"))]


def place(path: Path | str) -> int:
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def world(at: Path) -> None:
    """Lay out a memory file system with a directory that has a mount inside, in this mount namespace."""
    mount.tmpfs(str(at))
    (at / "source/sub/deep").mkdir(parents=True)
    mount.tmpfs(str(at / "source/sub"))
    (at / "source/sub/deep").mkdir()
    mount.tmpfs(str(at / "source/sub/deep"))
    (at / "file").write_text("content")
    (at / "target").mkdir()
    (at / "target-file").touch()


def seen(at: Path) -> list[list[Any]]:
    """Return (place, options, propagation) of every mount below `at`, sorted."""
    rows = [
        [os.path.relpath(one.point, at), sorted(one.options), [tag.split(":")[0] for tag in one.tags]]
        for one in mountinfo.mounts()
        if one.point.startswith(f"{at}/")
    ]
    return sorted(rows)


@pytest.mark.parametrize("flags", EVERYWHERE)
def test_a_copy_is_read_only_with_all_below_it_and_its_source_is_not(tmp_path: Path, flags: int) -> None:
    def act() -> Any:
        world(tmp_path)
        with tree.clone_tree(place(tmp_path / "source")) as made:
            made.set(MOUNT_ATTR_RDONLY, recursive=True)
            made.attach(place(tmp_path / "target"))
            assert os.path.samestat(os.fstat(made.fd), os.stat(tmp_path / "target"))
        writes = [
            failing((tmp_path / name / "new").mkdir)
            for name in ("target", "target/sub", "target/sub/deep", "source", "source/sub")
        ]
        return writes, seen(tmp_path)

    writes, mounts = both_ways(act, flags)
    assert writes == [errno.EROFS, errno.EROFS, errno.EROFS, 0, 0]
    assert [row[0] for row in mounts if "ro" in row[1]] == ["target", "target/sub", "target/sub/deep"]


@pytest.mark.parametrize("flags", EVERYWHERE)
def test_attributes_of_the_top_leave_what_hangs_below(tmp_path: Path, flags: int) -> None:
    def act() -> Any:
        world(tmp_path)
        with tree.clone_tree(place(tmp_path / "source")) as made:
            made.set(MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID)
            made.set(MOUNT_ATTR_RDONLY)
            made.attach(place(tmp_path / "target"))
        return seen(tmp_path)

    options = {name: has for name, has, _ in both_ways(act, flags)}
    assert options["target"] == ["nodev", "noexec", "nosuid", "relatime", "ro"]
    assert options["target/sub"] == ["nodev", "nosuid", "relatime", "rw"]


def test_a_copy_without_what_hangs_below_has_nothing_there(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        with tree.clone_tree(place(tmp_path / "source"), recursive=False) as made:
            made.attach(place(tmp_path / "target"))
        return seen(tmp_path), os.listdir(tmp_path / "target/sub")

    mounts, below = both_ways(act)
    assert [row[0] for row in mounts] == ["source/sub", "source/sub/deep", "target"]
    assert below == ["deep"]  # what the mount hid


@pytest.mark.parametrize(
    ("set_", "word"), [(MOUNT_ATTR_NOATIME, "noatime"), (MOUNT_ATTR_STRICTATIME, ""), (0, "relatime")]
)
def test_the_field_for_access_times_is_cleared_and_set(tmp_path: Path, set_: int, word: str) -> None:
    def act() -> Any:
        mount.mount("t", str(tmp_path), "tmpfs")
        (tmp_path / "target").mkdir()
        with tree.clone_tree(place(tmp_path)) as made:
            made.set(MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME)
            made.set(set_, MOUNT_ATTR__ATIME)
            made.set(MOUNT_ATTR_NODEV)
            made.attach(place(tmp_path / "target"))
        return seen(tmp_path)

    assert both_ways(act) == [["target", sorted(filter(None, ["rw", "nodev", word])), []]]


def test_attributes_of_an_attached_mount_are_set_and_cleared(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        top = place(tmp_path / "source/sub")
        tree.set_attributes(top, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, recursive=True)
        before = seen(tmp_path)
        tree.set_attributes(top, 0, MOUNT_ATTR_RDONLY)
        tree.set_attributes(top, propagation=mount.MS_SHARED, recursive=True)
        return before, seen(tmp_path)

    before, after = both_ways(act)
    assert [row[1] for row in before] == [["nodev", "noexec", "relatime", "ro"]] * 2
    assert [row[1][3] for row in after] == ["rw", "ro"]
    assert [row[2] for row in after] == [["shared"], ["shared"]]


def test_attributes_of_what_is_no_mount_point_are_refused(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        tree.set_attributes(place(tmp_path / "target"), MOUNT_ATTR_RDONLY)

    assert both_ways(act)[0] == errno.EINVAL


@pytest.mark.parametrize("kind", [mount.MS_PRIVATE, mount.MS_SLAVE, mount.MS_SHARED, mount.MS_UNBINDABLE])
def test_a_copy_has_the_propagation_that_was_asked_for(tmp_path: Path, kind: int) -> None:
    def act() -> Any:
        world(tmp_path)
        mount.propagate(str(tmp_path), mount.MS_SHARED | mount.MS_REC)
        with tree.clone_tree(place(tmp_path / "source")) as made:
            made.set(propagation=mount.MS_PRIVATE, recursive=True)
            if kind != mount.MS_SLAVE:
                made.set(propagation=kind, recursive=True)
            mount.propagate(str(tmp_path), mount.MS_PRIVATE)
            made.attach(place(tmp_path / "target"))
        return [row for row in seen(tmp_path) if row[0].startswith("target")]

    expected = {mount.MS_SHARED: ["shared"], mount.MS_UNBINDABLE: ["unbindable"]}.get(kind, [])
    assert [row[2] for row in both_ways(act)] == [expected] * 3


def test_a_file_is_shown_over_a_file_and_never_over_a_directory(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        with tree.clone_tree(place(tmp_path / "file")) as made:
            made.set(MOUNT_ATTR_RDONLY)
            made.attach(place(tmp_path / "target-file"))
        with tree.clone_tree(place(tmp_path / "file")) as made:
            wrong = failing(lambda: made.attach(place(tmp_path / "target")))
        return (
            wrong in (errno.EINVAL, errno.ENOTDIR),
            (tmp_path / "target-file").read_text(),
            failing((tmp_path / "target-file").touch),
            seen(tmp_path),
        )

    wrong, content, write, mounts = both_ways(act)
    assert (wrong, content, write) == (True, "content", errno.EROFS)
    assert mounts[-1][0] == "target-file"


def test_a_removed_place_takes_no_mount(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        gone = place(tmp_path / "target")
        (tmp_path / "target").rmdir()
        with tree.clone_tree(place(tmp_path / "source")) as made:
            made.attach(gone)

    assert both_ways(act)[0] == errno.ENOENT


def test_a_place_that_was_renamed_is_mounted_where_it_is(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        target = place(tmp_path / "target")
        (tmp_path / "target").rename(tmp_path / "moved")
        (tmp_path / "target").mkdir()
        with tree.clone_tree(place(tmp_path / "source")) as made:
            made.set(MOUNT_ATTR_RDONLY, recursive=True)
            made.attach(target)
        return [row[0] for row in seen(tmp_path) if "ro" in row[1]]

    assert both_ways(act) == ["moved", "moved/sub", "moved/sub/deep"]


def test_without_the_newer_calls_a_place_that_is_hidden_is_refused(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        target = place(tmp_path / "source")
        mount.bind(str(tmp_path / "source/sub"), str(tmp_path / "source"))  # its path leads here from now on
        with tree.new_filesystem("tmpfs") as made:
            made.set(MOUNT_ATTR_RDONLY)
            made.attach(target)

    assert inside(act, missing=EVERY_CALL)[0] == errno.ESTALE


@pytest.mark.parametrize("flags", EVERYWHERE)
def test_a_new_file_system_has_its_options_and_attributes(tmp_path: Path, flags: int) -> None:
    def act() -> Any:
        world(tmp_path)
        options = tree.split_options("size=64k,mode=0710,nr_inodes=10")
        with tree.new_filesystem("tmpfs", "its name", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC) as made:
            made.set(MOUNT_ATTR_NODEV)
            made.attach(place(tmp_path / "target"))
        line = mountinfo.mounts()[-1]
        state = os.statvfs(tmp_path / "target")
        return (
            line.source,
            line.fstype,
            seen(tmp_path)[-1],
            state.f_blocks * state.f_bsize,
            state.f_files,
            line.root,
        )

    source, fstype, row, size, inodes, root = both_ways(act, flags)
    assert (source, fstype, size, inodes, root) == ("its name", "tmpfs", 65536, 10, "/")
    assert row == ["target", ["nodev", "noexec", "nosuid", "relatime", "rw"], []]


def test_a_file_system_that_is_read_only_itself(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        with tree.new_filesystem("tmpfs", options=(("ro", None), ("mode", "0755"))) as made:
            made.attach(place(tmp_path / "target"))
        line = mountinfo.mounts()[-1]
        return "ro" in line.super_options.split(","), failing((tmp_path / "target/x").mkdir)

    assert both_ways(act) == [True, errno.EROFS]


def test_a_wrong_option_is_an_error_in_the_kernels_own_words(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        with tree.new_filesystem("tmpfs", options=(("sise", "64k"),)) as made:
            made.attach(place(tmp_path / "target"))

    code, said = inside(act)
    assert code == errno.EINVAL
    assert "Unknown parameter 'sise'" in said
    assert inside(act, missing=EVERY_CALL)[0] == errno.EINVAL


def test_an_unknown_file_system_is_an_error(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        with tree.new_filesystem("no-such-thing") as made:
            made.attach(place(tmp_path / "target"))

    assert both_ways(act)[0] == errno.ENODEV


@pytest.mark.needs("overlay")
@pytest.mark.parametrize("by_descriptor", [False, True])
def test_layers_of_an_overlay_may_have_any_name(tmp_path: Path, *, by_descriptor: bool) -> None:
    def act() -> Any:
        world(tmp_path)
        for name in ("a:b", "c,d", "e\\f", "up,per", "work"):
            (tmp_path / name).mkdir()
            (tmp_path / name / f"in {name}").touch()
        (tmp_path / "work/in work").unlink()
        layers: list[tuple[str, str | int | None]] = [
            ("lowerdir+", place(tmp_path / name) if by_descriptor else str(tmp_path / name))
            for name in ("a:b", "c,d", "e\\f")
        ]
        upper = str(tmp_path / "up,per").replace(",", "\\,")
        options = [*layers, ("upperdir", upper), ("workdir", str(tmp_path / "work")), ("userxattr", None)]
        with tree.new_filesystem("overlay", "layers", options) as made:
            made.attach(place(tmp_path / "target"))
        return sorted(os.listdir(tmp_path / "target"))

    assert both_ways(act) == ["in a:b", "in c,d", "in e\\f", "in up,per"]


@pytest.mark.needs("overlay")
@pytest.mark.parametrize("says", [errno.EINVAL, errno.EBADF])  # as before Linux 6.7, and before 6.13
def test_an_overlay_that_takes_no_single_layers_is_mounted_the_old_way(tmp_path: Path, says: int) -> None:
    configure = newmount.fsconfig

    def older(context: int, key: str, value: str | int | None = None) -> None:
        if key == "lowerdir+":
            raise OSError(says, os.strerror(says))
        configure(context, key, value)

    def act() -> Any:
        newmount.fsconfig = older
        world(tmp_path)
        with tree.clone_tree(place(tmp_path / "source")) as root:
            root.attach(place("/"))  # over our own root: no path leads there
            os.mkdir("at", dir_fd=root.fd)
            target = os.open("at", os.O_PATH, dir_fd=root.fd)
            layers = tuple(("lowerdir+", place(tmp_path / name)) for name in ("target", "source/sub"))
            with tree.new_filesystem("overlay", "o", layers) as made:
                made.set(MOUNT_ATTR_RDONLY)
                made.attach(target)
                shown = os.listdir(f"/proc/self/fd/{made.fd}")
            return shown, [one.options[0] for one in mountinfo.mounts() if one.fstype == "overlay"]

    assert inside(act) == [["deep"], ["ro"]]


@pytest.mark.needs("overlay")
def test_a_wrong_option_beside_single_layers_is_told_in_the_kernels_words(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        layers = (("lowerdir+", str(tmp_path / "source")), ("no-such-option", "1"))
        with tree.new_filesystem("overlay", "o", layers) as made:
            made.attach(place(tmp_path / "target"))

    code, said = inside(act)
    assert code == errno.EINVAL
    assert (
        said == os.strerror(errno.EINVAL) or "no-such-option" in said
    )  # overlayfs explains itself since Linux 6.5


def test_what_mount_2_cannot_say_is_refused_there(tmp_path: Path) -> None:
    def act() -> Any:
        tree.new_filesystem("tmpfs", options=(("mpol", "bind:0,1"),)).attach(place(tmp_path))

    assert inside(act, missing=EVERY_CALL)[0] == errno.EINVAL


@pytest.mark.needs("root")
def test_an_idmapped_copy_shifts_owners_or_is_refused(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        os.chown(tmp_path / "source", 7, 8)
        space = ns.userns_with([(0, 100000, 65536)], [(0, 200000, 65536)])
        with tree.clone_tree(place(tmp_path / "source")) as made:
            made.set(userns=space, recursive=True)
            made.set(MOUNT_ATTR_RDONLY)
            made.attach(place(tmp_path / "target"))
        shown = [os.stat(tmp_path / name) for name in ("target", "target/sub", "source")]
        return [[one.st_uid, one.st_gid] for one in shown]

    if inside(act, AS_ROOT) == [errno.EINVAL, os.strerror(errno.EINVAL)]:
        return  # tmpfs can only since Linux 6.3
    assert inside(act, AS_ROOT) == [[100007, 200008], [100000, 200000], [7, 8]]
    assert inside(act, AS_ROOT, EVERY_CALL)[0] == errno.ENOSYS
    assert inside(act, AS_ROOT, ("mount_setattr",))[0] == errno.ENOSYS
    assert inside(act, AS_ROOT, ("clone3",)) == inside(act, AS_ROOT)


@pytest.mark.parametrize(
    "missing", [("mount_setattr",), ("move_mount",), ("open_tree",), ("fsopen",), ("fsmount",)]
)
def test_any_one_call_may_be_missing(tmp_path: Path, missing: tuple[str, ...]) -> None:
    def act() -> Any:
        world(tmp_path)
        (tmp_path / "new").mkdir()
        with tree.clone_tree(place(tmp_path / "source")) as made:
            made.set(MOUNT_ATTR_RDONLY, propagation=mount.MS_SLAVE, recursive=True)
            made.attach(place(tmp_path / "target"))
        with tree.new_filesystem("tmpfs", options=(("size", "64k"),), attributes=MOUNT_ATTR_NODEV) as made:
            made.set(MOUNT_ATTR_RDONLY)
            made.attach(place(tmp_path / "new"))
        return seen(tmp_path)

    assert inside(act, missing=missing) == inside(act)


def test_a_changed_root_leaves_no_way_back_and_no_mount(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        (tmp_path / "source/proc").mkdir()
        (tmp_path / "source/hello").touch()
        mount.bind("/proc", str(tmp_path / "source/proc"), recursive=True)
        with tree.clone_tree(place(tmp_path / "source")) as made:
            made.attach(place(tmp_path / "target"))
            mount.change_root(made.fd)
        points = sorted(one.point for one in mountinfo.mounts() if not one.point.startswith("/proc"))
        return os.listdir("/") == os.listdir("/../.."), "hello" in os.listdir("/"), os.getcwd(), points

    assert both_ways(act) == [True, True, "/", ["/", "/sub", "/sub/deep"]]


def test_a_changed_root_leaves_no_old_one_that_something_lay_over(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        with open("/proc/self/mountinfo") as table:
            with tree.clone_tree(place(tmp_path / "source")) as below:
                below.attach(place("/"))  # a path still leads to what lies beneath
                with tree.clone_tree(place(tmp_path / "source")) as made:
                    made.attach(below.fd)
                    mount.change_root(made.fd)
            return os.listdir("/") == os.listdir("/.."), [line.split()[4] for line in table].count("/")

    assert inside(act) == [True, 0]


def test_a_moved_root_is_the_root(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        (tmp_path / "source/hello").touch()
        with tree.clone_tree(place(tmp_path / "source")) as made:
            made.attach(place(tmp_path / "target"))
            mount.move_root(made.fd)
        return sorted(os.listdir("/")), os.getcwd()

    assert both_ways(act) == [["hello", "sub"], "/"]


def test_a_mount_is_taken_away_and_a_busy_one_only_by_force(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        held = os.open(tmp_path / "source/sub", os.O_RDONLY)
        busy = failing(lambda: mount.umount(str(tmp_path / "source/sub")))
        mount.detach(str(tmp_path / "source/sub"))
        os.close(held)
        return busy, failing(lambda: mount.umount(str(tmp_path / "source/sub"))), seen(tmp_path)

    assert inside(act) == [errno.EBUSY, errno.EINVAL, []]


def test_names_in_mountinfo_are_what_they_were(tmp_path: Path) -> None:
    def act() -> Any:
        mount.tmpfs(str(tmp_path))
        odd = tmp_path / "a b\tc\nd\\e#ü"
        odd.mkdir()
        mount.mount("so urce", str(odd), "tmpfs")
        fd = place(odd)
        line = mountinfo.mounts()[-1]
        return line.point == str(odd), line.source, line.id == mountinfo.mount_id(fd), line.parent

    same, source, number, parent = inside(act)
    assert (same, source, number) == (True, "so urce", True)
    assert parent > 0


def test_the_kernels_list_of_mounts_agrees_with_mountinfo(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        tree.set_attributes(place(tmp_path / "source/sub"), MOUNT_ATTR_RDONLY)
        answers = [mountinfo.statmount(one) for one in mountinfo.listmount()]
        found = {
            number: [point, fstype, bool(attributes & 1)] for number, attributes, point, fstype in answers
        }
        lines = {one.id: [one.point, one.fstype, "ro" in one.options] for one in mountinfo.mounts()}
        return (
            len(lines) > 3,
            {n: found.get(n) for n in lines} == lines,
            failing(lambda: mountinfo.statmount(1 << 60)),
        )

    if inside(lambda: failing(mountinfo.listmount)) == errno.ENOSYS:
        assert inside(act)[0] == errno.ENOSYS  # before Linux 6.8
    else:
        assert inside(act) == [True, True, errno.ENOENT]


@pytest.mark.parametrize("missing", [(), ("openat2",)])
def test_a_file_of_proc_under_a_mount_or_over_a_link_is_refused(missing: tuple[str, ...]) -> None:
    def act() -> Any:
        proc = procfs.root()
        before = procfs.read(proc, "sys/kernel/ostype").decode()
        mount.bind(
            "/proc/version", "/proc/sys/kernel/ostype"
        )  # of the same file system, so only the mount differs
        mount.tmpfs("/proc/sys/vm")
        tries = (
            "sys/kernel/ostype",
            "sys/vm/swappiness",
            "self/exe",
            "self/cwd/x",
            "net/dev",
            "/sys/kernel/ostype",
        )
        codes = [failing(partial(procfs.read, proc, name)) for name in tries]
        return (
            before,
            codes,
            procfs.read(proc, "self/comm").decode() == procfs.read(proc, "thread-self/comm").decode(),
        )

    before, codes, same = inside(act, missing=missing)
    assert (before, same) == ("Linux\n", True)
    assert codes == [errno.EXDEV, errno.EXDEV, errno.ELOOP, errno.ELOOP, errno.ELOOP, errno.EXDEV]


def test_what_is_no_procfs_is_refused(tmp_path: Path) -> None:
    def act() -> Any:
        mount.tmpfs("/proc")
        (Path("/proc") / "sys").mkdir()
        fake = failing(procfs.root)
        mount.detach("/proc")
        mount.bind("/proc/sys", "/proc")  # procfs, but not its root
        return fake, failing(procfs.root)

    assert inside(act) == [errno.EXDEV, errno.EXDEV]


def test_a_descriptor_of_the_new_calls_is_close_on_exec(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        made = [
            newmount.open_tree(place(tmp_path / "source")),
            newmount.open_tree(place(tmp_path), "source", clone=False),
            newmount.fsopen("tmpfs"),
            newmount.fspick(place(tmp_path)),
            tree.new_filesystem("tmpfs").fd,
        ]
        return [os.get_inheritable(fd) for fd in made]

    assert inside(act) == [False] * 5


def test_a_picked_file_system_is_reconfigured(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        context = newmount.fspick(place(tmp_path))
        newmount.fsconfig(context, "size", "128k")
        newmount.fscreate(context, reconfigure=True)
        state = os.statvfs(tmp_path)
        return state.f_blocks * state.f_bsize

    assert inside(act) == 131072


def test_a_mount_slides_beneath_another(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        new = tree.new_filesystem("tmpfs")
        os.close(os.open("new", os.O_CREAT, dir_fd=os.open(f"/proc/self/fd/{new.fd}", os.O_RDONLY)))
        newmount.move_mount(new.fd, place(tmp_path / "source/sub"), beneath=True)
        before = os.listdir(tmp_path / "source/sub")
        mount.detach(str(tmp_path / "source/sub"))
        return before, os.listdir(tmp_path / "source/sub")

    result = inside(act)
    assert result in ([["deep"], ["new"]], [errno.EINVAL, os.strerror(errno.EINVAL)])  # before Linux 6.5


def test_nothing_is_left_open_by_a_mount(tmp_path: Path) -> None:
    def act() -> Any:
        world(tmp_path)
        source, target = place(tmp_path / "source"), place(tmp_path / "target")
        before = os.listdir("/proc/self/fd")
        for _ in range(3):
            with tree.clone_tree(source) as made:
                made.set(MOUNT_ATTR_RDONLY, recursive=True)
                made.attach(target)
            mount.detach(str(tmp_path / "target"))
            with tree.new_filesystem("tmpfs", options=(("size", "1m"),)) as made:
                failing(partial(made.attach, place_gone))
            failing(lambda: tree.new_filesystem("tmpfs", options=(("sise", "1m"),)))
        return len(before), len(os.listdir("/proc/self/fd"))

    place_gone = -1
    before, after = both_ways(act)
    assert before == after
