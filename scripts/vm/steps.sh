# What a guest's command is made of: steps that each run pytest, as root or as an ordinary user, or client scripts.
# Read by bash.
# shellcheck shell=bash
# VM_…, STRICT, MAY_SKIP and MUST_HAVE come from the settings.
failed=()
python=$VM_CHECKOUT/.venv/bin/python
ordinary=redpak-test
mapped=redpak-test-subids # has ranges of subordinate ids

have_users() {
    for user in $ordinary $mapped; do
        id "$user" >/dev/null 2>&1 || useradd --system --user-group --no-create-home --home-dir /nonexistent \
            --shell /usr/sbin/nologin "$user"
        install -d -o "$user" -g "$user" -m 700 "/tmp/home-$user" "/tmp/scratch-$user"
    done
    if ! grep -qs "^$mapped:" /etc/subuid || ! grep -qs "^$mapped:" /etc/subgid; then
        usermod --add-subuids 900000000-900065535 --add-subgids 900000000-900065535 "$mapped"
    fi
}

# ended TITLE CODE SECONDS: note how a step ended. 5: no test was chosen, which only the user's own words may cause.
ended() {
    case $2 in
    124 | 137) printf '%s: OUT OF TIME, it may take %s s; the last test above hangs or is slow\n' "$1" "$limit_s" ;;
    esac
    if [ "$2" = 0 ] || { [ "$2" = 5 ] && [ -n "$VM_WORDS" ]; }; then
        printf '%s: well, after %s s\n' "$1" "$3"
    else
        printf '%s: FAILED (code %s) after %s s\n' "$1" "$2" "$3"
        failed+=("$1")
    fi
}

# The environment of a test run by a user: set -- is not possible here, so it is an array.
environment_of() {
    environment=(PATH="$PATH" LANG=C.UTF-8 HOME="$1" TMPDIR="$2" USER="$3" LOGNAME="$3" REDPAK_VM=1
        REDPAK_TEST_STRICT="$STRICT" REDPAK_TEST_MAY_SKIP="$MAY_SKIP" REDPAK_TEST_MUST_HAVE="$MUST_HAVE"
        REDPAK_TEST_ONLY_NEEDS="${ONLY_NEEDS:-}" REDPAK_TEST_PROBE="$VM_CHECKOUT/.dev/probe"
        REDPAK_RACES=10 REDPAK_KILLS=3 REDPAK_STARTS=20 PYTHONUNBUFFERED=1)
}

# Each test is a line, so that whoever waits sees what runs; one that takes longer than 100 s tells where it is.
pytest=("$python" -m pytest -v --color=no -p no:cacheprovider -p no:hypothesispytest --tb=short --durations=5 --durations-min=5
    -p tests.telling)
options=()
paths=()
eval "options=($VM_WORDS) paths=($VM_PATHS)" # both are quoted lists of words

# within SECONDS: how long the next steps may take. pytest is interrupted, so that it says where it was.
within() {
    limit_s=$((${1} * VM_PATIENCE))
    limited=(timeout --signal=INT --kill-after=30 "$limit_s")
}

# as_root TITLE PYTEST-WORDS…
as_root() {
    local title=$1 began=$SECONDS code=0
    shift
    [ ${#paths[@]} = 0 ] || set -- "${paths[@]}"
    environment_of /root /tmp root
    printf '== %s\n' "$title"
    "${limited[@]}" env -i "${environment[@]}" "${pytest[@]}" "$@" "${options[@]}" </dev/null || code=$?
    ended "$title" $code $((SECONDS - began))
}

# as_user USER TITLE PYTEST-WORDS…: below a cgroup that is delegated to the user, by hand or by systemd.
as_user() {
    local user=$1 title=$2 began=$SECONDS code=0 number
    shift 2
    [ ${#paths[@]} = 0 ] || set -- "${paths[@]}"
    number=$(id -u "$user")
    environment_of "/tmp/home-$user" "/tmp/scratch-$user" "$user"
    printf '== %s\n' "$title"
    if [ -d /run/systemd/system ]; then
        loginctl enable-linger "$user"
        systemctl start "user@$number.service"
        environment+=(XDG_RUNTIME_DIR="/run/user/$number" DBUS_SESSION_BUS_ADDRESS="unix:path=/run/user/$number/bus")
        setpriv --reuid "$user" --regid "$user" --init-groups env -i "${environment[@]}" \
            systemd-run --user --wait --pipe --quiet --collect --property=Delegate=yes --working-directory="$PWD" \
            "${limited[@]}" env -i "${environment[@]}" "${pytest[@]}" "$@" "${options[@]}" </dev/null || code=$?
    else
        local group=/sys/fs/cgroup/delegated-$number
        mkdir -p "$group/tests"
        read -ra controllers <"$group/cgroup.controllers"
        for controller in "${controllers[@]}"; do echo "+$controller" >"$group/cgroup.subtree_control"; done
        chown -R "$user:" "$group"
        install -d -o "$user" -g "$user" -m 700 "/run/user/$number"
        environment+=(XDG_RUNTIME_DIR="/run/user/$number")
        (
            echo $BASHPID >"$group/tests/cgroup.procs"
            exec setpriv --reuid "$user" --regid "$user" --init-groups "${limited[@]}" env -i "${environment[@]}" \
                "${pytest[@]}" "$@" "${options[@]}" </dev/null
        ) || code=$?
    fi
    ended "$title" $code $((SECONDS - began))
}

# Programs that set filters use the old tables where the kernel (user-mode Linux) has no new ones.
have_filters() {
    unshare --net iptables -t nat -N probe 2>/dev/null && return
    for program in iptables ip6tables; do
        ln -sf "/usr/sbin/$program-legacy" "/etc/alternatives/$program"
        for table in filter nat; do $program -t $table -S >/dev/null; done # they load modules, with a program in /run
    done
}

# clients NAME…: somebody's scripts for these programs, every step of each, over our runtime. They run in a group below
# the first one, as on any machine: dockerd looks there for a limit of swap. It is delegated to the user of the script
# for podman, as systemd would do it, else there is no memory to limit for an ordinary user.
clients() {
    local title="the client scripts: $*" began=$SECONDS code=0 group=/sys/fs/cgroup/clients user=yarduser controllers
    printf '== %s\n' "$title"
    have_filters
    mount -t tmpfs tmpfs /var/lib/dpkg/info # 'podman info' reads all of it over and over, to tell versions
    containerd config default >/dev/null # read and translated for the first time: dockerd waits 15 s for it
    id "$user" >/dev/null 2>&1 || useradd --create-home "$user"
    mkdir -p "$group/script"
    read -ra controllers <"$group/cgroup.controllers"
    for controller in "${controllers[@]}"; do echo "+$controller" >"$group/cgroup.subtree_control"; done
    chown -R "$user:" "$group"
    (
        echo $BASHPID >"$group/script/cgroup.procs"
        exec "${limited[@]}" env -i PATH="$PATH" LANG=C.UTF-8 HOME=/root REDPAK_CLIENTS_PATIENCE=$((3 * VM_PATIENCE)) \
            "$python" -m scripts.clients /opt/clients "$VM_CHECKOUT/.venv/bin/redpak-oci" "$@" </dev/null
    ) || code=$?
    ended "$title" $code $((SECONDS - began))
}

finish() {
    if [ ${#failed[@]} -gt 0 ]; then
        printf 'failed here:'
        printf ' %s;' "${failed[@]}"
        echo
        exit 1
    fi
    exit 0
}

cd "$VM_CHECKOUT" || exit
have_users
