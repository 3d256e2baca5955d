# The one service of a guest under systemd.
# shellcheck shell=sh disable=SC1091,SC2034 # both files are there in the guest and use b
b=/run/vm/busybox
. /run/vm/settings
. /run/vm/common.sh
run_command
switch_off
