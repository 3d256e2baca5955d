# What plain guests and guests under systemd do alike, as root in the new root directory.
# shellcheck shell=sh disable=SC2154,SC3045 # b, VM_… come from who reads this file; busybox has ulimit -n
out=/dev/ttyS1
code=/dev/ttyS2
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8 REDPAK_VM=1

make_system() {
    $b ifconfig lo 127.0.0.1 up
    $b hostname redpak-vm
    for module in $VM_MODULES; do $b modprobe "$module" 2>/dev/null; done
    # What the host keeps here is not the guest's, and storage of containers cannot lie on an overlay.
    # The checkout stays where it is, also where it lies in one of these.
    $b mkdir -p /run/checkout
    $b mount --bind "$VM_CHECKOUT" /run/checkout
    if [ -d "${VM_SCRIPTS:-}" ]; then # not below /run, which some of them hide
        $b mkdir -p /opt/clients
        $b mount --bind "$VM_SCRIPTS" /opt/clients
    fi
    for place in /tmp /var/tmp; do $b mount -t tmpfs -o mode=1777 tmpfs $place; done
    $b mkdir -p "$VM_CHECKOUT"
    $b mount --bind /run/checkout "$VM_CHECKOUT"
    $b mkdir -p /run/lock /run/storage
    for place in /var/lib/containers /var/lib/containerd /var/lib/docker /var/lib/redpak; do
        $b mkdir -p $place "/run/storage$place"
        $b mount --bind "/run/storage$place" $place
    done
    for device in fuse net/tun; do [ ! -e /dev/$device ] || $b chmod 666 /dev/$device; done
    for swap in /dev/vdb /dev/ubdb; do
        if [ -b $swap ]; then
            $b mkswap $swap >/dev/null && $b swapon $swap
        fi
    done
    # Ordinary users reach the checkout. This changes the guest's copy of the directories only.
    place=$VM_CHECKOUT
    while [ -n "$place" ]; do
        $b chmod o+rx "$place"
        place=${place%/*}
    done
    ulimit -n 65536
}

run_command() {
    make_system
    $b stty -F $out raw -echo 2>/dev/null
    $b stty -F $code raw -echo 2>/dev/null
    cd /root || exit
    $b setsid /bin/bash /run/vm/command </dev/null >$out 2>&1
    echo $? >$code
}

switch_off() {
    $b sync
    $b poweroff -f
}
