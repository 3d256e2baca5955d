# The init of a plain test guest: makes a small system, runs the command, switches the guest off.
# shellcheck shell=sh disable=SC1091,SC2034 # both files are there in the guest and use b
b=/run/vm/busybox
. /run/vm/settings
. /run/vm/common.sh
cd /sys/fs/cgroup || exit
for controller in $($b cat cgroup.controllers); do echo "+$controller" >cgroup.subtree_control; done
run_command
switch_off
