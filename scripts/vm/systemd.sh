# Prepares the root directory $1 of a guest whose manager is the host's systemd: as little of it as user managers and
# scopes need, and one service that runs the command. Runs in the initial file system.
# shellcheck shell=sh disable=SC2154 # b: busybox
root=$1
b=/busybox
units=$root/usr/lib/systemd/system

# What the host would start by itself is not wanted: these removals are in the guest's tmpfs.
$b rm -rf "$root/etc/systemd/system" "$units"/*.target.wants "$units"/*.target.requires "$root/etc/fstab" "$root/.dockerenv" \
    "$root/usr/lib/systemd/system-generators" "$root/etc/systemd/user" "$root/usr/lib/systemd/user"/*.target.wants
$b mkdir -p "$root/etc/systemd/system" "$root/etc/systemd/system.conf.d" "$root/etc/systemd/user" \
    "$root/usr/lib/systemd/user/sockets.target.wants" "$root/var/lib/systemd/linger"
$b ln -s ../dbus.socket "$root/usr/lib/systemd/user/sockets.target.wants/dbus.socket"
echo 'ffffffffffffffffffffffffffffffff' | $b tr f 7 >"$root/etc/machine-id"

$b cat >"$root/etc/systemd/system.conf.d/vm.conf" <<'END'
[Manager]
LogTarget=console
ShowStatus=no
DefaultStandardOutput=null
DefaultStandardError=null
DefaultTimeoutStopSec=5s
END
$b cat >"$root/etc/systemd/system/redpak-vm.target" <<'END'
[Unit]
Description=The command of a test guest
Requires=redpak-vm.service
AllowIsolate=yes
END
$b cat >"$root/etc/systemd/system/redpak-vm.service" <<'END'
[Unit]
Description=The command of a test guest
Wants=dbus.socket systemd-logind.service
After=dbus.socket systemd-logind.service
[Service]
Type=oneshot
ExecStart=/run/vm/busybox sh /run/vm/service.sh
Delegate=yes
TasksMax=infinity
LimitNOFILE=65536
TimeoutStartSec=infinity
PrivateTmp=no
END
for unit in modprobe@drm.service systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket; do
    $b ln -s /dev/null "$root/etc/systemd/system/$unit"
done
