"""Where runc 1.1.5 and crun 1.8.1 are known to leave the specification: marked for them, never for redpak-oci.

The keys are names of tests, with the parameter where only that one fails. Newer releases do some of it right.
"""

from __future__ import annotations

OLD = "that release is older than this part of the specification"
DELETE = "'delete' takes a created container as well (they agree on it; the specification does not)"
VERSION = "the version is not looked at"
LAST = "options that set and options that clear are collected apart; the clearing one does not win"
SCHEDULER = {
    "test_the_scheduler_is_the_configured_one": OLD,
    "test_an_unknown_scheduler_is_an_error": OLD,
    "test_the_io_priority_is_the_configured_one": OLD,
    "test_an_unknown_io_priority_is_an_error": OLD,
    "test_a_namespace_without_a_path_is_new[time]": OLD,
    "test_a_namespace_with_a_path_is_joined[time]": OLD,
    "test_the_clocks_are_shifted_as_asked": OLD,
    "test_cpu_burst": OLD,
}
BOTH = {
    **SCHEDULER,
    "test_delete_of_a_created_container_is_refused": DELETE,
    "test_mappings_without_a_user_namespace_are_an_error": "mappings without a user namespace are ignored",
    "test_such_paths_must_be_absolute": "a relative masked or read-only path is taken from the root",
    "test_an_rlimit_that_is_given_twice_is_an_error": "the last of two equal limits counts",
    "test_a_capability_that_cannot_be_granted_is_only_a_warning": "capset(2) fails as a whole",
    "test_a_failing_start_container_hook_stops_the_container": "'start' returns before that hook has run",
    "test_hooks_run_in_their_phase_and_order": "runc runs poststart in 'create'; crun does not wait for startContainer",
    "test_a_failing_poststart_hook_is_only_a_warning": "runc: an error, in 'create'; crun: no word of it",
    "test_a_hooks_timeout_must_be_positive": "any timeout is taken",
    "test_a_recursive_option_can_be_taken_back": LAST,
    "test_what_a_container_mounted_for_the_caller_is_gone_with_it": "what was mounted stays",
    "test_exec_enters_the_root_of_a_container_without_a_mount_namespace": "exec is in the caller's root",
    "test_exec_has_the_rights_of_the_first_process": "exec does not take over no_new_privs (crun), soft limits (runc)",
}


def each(name: str, why: str, *parameters: str) -> dict[str, str]:
    """Return one entry for each parameter of a test."""
    return {f"{name}[{one}]": why for one in parameters}


DEVIATIONS: dict[str, dict[str, str]] = {
    "runc": {
        **BOTH,
        "test_a_filter_that_is_installed_early_may_refuse_what_only_the_runtime_asks": "it asks for the directory",
        "test_a_program_may_lie_where_only_a_capability_leads": "asks access(2), which leaves capabilities aside",
        "test_a_container_needs_no_proc": "reads /proc/self/fd",
        "test_a_label_for_mounts_stops_nobody_where_there_are_no_labels": "gives the label to the kernel",
        "test_a_version_that_is_not_semantic_or_not_supported_is_an_error[]": VERSION,
        "test_a_version_that_is_not_semantic_or_not_supported_is_an_error[one]": VERSION,
        "test_a_version_that_is_not_semantic_or_not_supported_is_an_error[1.0]": VERSION,
        "test_a_version_that_is_not_semantic_or_not_supported_is_an_error[v1.0.2]": VERSION,
        "test_a_version_that_is_not_semantic_or_not_supported_is_an_error[2.0.0]": VERSION,
        "test_a_version_that_is_not_semantic_or_not_supported_is_an_error[01.0.0]": VERSION,
        "test_a_version_that_is_not_semantic_or_not_supported_is_an_error[None]": VERSION,
        "test_a_missing_version_is_an_error": VERSION,
        "test_an_invalid_value_is_an_error_before_anything_runs[linux.personality-{'domain': 'NONSENSE'}]": OLD,
        "test_a_root_may_be_a_symbolic_link": "refused",
        "test_cpu_idle": OLD,
        "test_an_option_that_is_listed_is_taken": "lists 'defaults', and gives it to the kernel",
        "test_a_hook_gets_the_state_on_its_standard_input[poststart]": "poststart hooks run in 'create'",
        "test_a_hook_has_no_stray_descriptors[createContainer]": "its own sockets are inherited",
        "test_a_failing_poststop_hook_is_only_a_warning": "'delete' fails",
        "test_of_two_options_the_last_counts[nosuid-defaults-None]": "'defaults' is given to the kernel",
        "test_every_other_known_option_is_taken[defaults]": "'defaults' is given to the kernel",
        "test_unknown_options_go_to_the_file_system": "a tmpfs takes the mode of the directory below, not the option's",
        "test_tmpcopyup_begins_with_what_lay_there": "copies through the host's /tmp, which is read-only here",
        "test_an_id_mapped_mount_shows_other_owners": OLD,
        "test_a_user_namespace_can_be_joined": "wants mappings as well",
        "test_the_propagation_of_the_root_is_the_configured_one[shared]": "the root stays private",
        "test_the_propagation_of_the_root_is_the_configured_one[rshared]": "the root stays private",
        "test_the_propagation_of_the_root_is_the_configured_one[unbindable]": "the root stays private",
        "test_the_propagation_of_the_root_is_the_configured_one[runbindable]": "fails on its own bind mount",
        "test_rlimits_that_are_not_configured_stay": "Go raises the soft limit of open files",
        "test_signals_are_neither_ignored_nor_blocked": "hands the caller's mask on",
        "test_the_hostname_and_domainname_are_the_configured_ones": OLD,
        "test_the_personality_is_the_configured_one": OLD,
        "test_flags_are_taken": "seccomp flags are not supported",
        "test_a_filter_works_for_a_user_without_capabilities[False]": "panics",
    },
    "crun": {
        **BOTH,
        "test_the_root_may_be_a_readonly_path_and_nothing_of_the_host_is_seen": "the root stays writable",
        "test_a_descriptor_that_the_caller_closed_is_no_file_of_the_hosts": "does not run then",
        **each(
            "test_an_invalid_value_is_an_error_before_anything_runs",
            "words and numbers are converted without a look",
            "process.args-true",
            "process.env-{'A': 'b'}",
            "process.user.uid-root",
            "process.terminal-yes",
            "root.readonly-no",
            "linux.rootfsPropagation-sideways",
            "hostname-5",
            "linux.devices-[{'path': '/dev/x', 'type': 'q', 'major'",
            "linux.resources-{'memory': {'limit': 'much'}}",
        ),
        **each(
            "test_a_hook_that_does_not_read_its_input_harms_nothing",
            "dies of SIGPIPE",
            "poststart",
            "poststop",
        ),
        **each(
            "test_of_two_options_the_last_counts",
            LAST,
            "nosuid-suid-False",
            "nodev-dev-False",
            "noexec-exec-False",
            "noatime-atime-False",
            "ro-rw-False",
        ),
        **each(
            "test_every_other_known_option_is_taken",
            "gives words that it does not know to the file system",
            "silent",
            "loud",
            "iversion",
            "noiversion",
            "symfollow",
        ),
        **each(
            "test_a_recursive_option_reaches_the_mounts_below",
            "not for the times and for symlinks",
            "rnoatime-noatime",
            "rnodiratime-nodiratime",
            "rnosymfollow-nosymfollow",
        ),
        **each("test_a_working_directory_must_be_absolute", "taken from the root", "data", "."),
        "test_a_version_that_is_not_semantic_or_not_supported_is_an_error[1.0]": VERSION,
        "test_a_version_that_is_not_semantic_or_not_supported_is_an_error[v1.0.2]": VERSION,
        "test_a_version_that_is_not_semantic_or_not_supported_is_an_error[01.0.0]": VERSION,
        "test_every_version_of_the_first_major_is_taken[1.2.0]": OLD,
        "test_every_version_of_the_first_major_is_taken[1.2.1]": OLD,
        "test_a_cpu_quota_alone_and_no_quota": "writes -1 as a large number",
        "test_no_pids_limit[-1]": "writes -1 where the kernel says 'max'",
        "test_block_weight": "writes blkio.weight only, which newer kernels have not",
        "test_a_limit_that_cannot_be_set_is_an_error_and_leaves_no_cgroup": "the cgroup is left",
        "test_a_console_socket_without_a_terminal_is_an_error": "ignored",
        "test_exec_takes_user_directory_and_environment": "'exec --env' drops the container's environment",
        "test_a_hook_gets_the_state_on_its_standard_input[startContainer]": "the bundle is '/'",
        "test_a_hook_has_no_stray_descriptors": "now and then a descriptor is inherited",
        "test_poststop_hooks_run_after_a_failing_hook": "they do not",
        "test_an_unknown_signal_is_an_error[NOSUCH]": "taken as signal 0",
        "test_each_attribute_of_a_mount_is_set[nosymfollow-bind]": OLD,
        "test_each_attribute_of_a_mount_is_set[nosymfollow-tmpfs]": OLD,
        "test_a_namespace_that_is_listed_twice_is_an_error": "taken",
        "test_a_readonly_path_keeps_the_other_attributes": "the other attributes are lost",
        "test_the_versions_are_a_range_of_the_first_major": OLD,
        "test_every_phase_of_hooks_is_listed": OLD,
        "test_every_option_of_mounts_is_listed": OLD,
        "test_linux_is_described": OLD,
        "test_an_option_that_is_listed_is_taken": OLD,
        "test_a_namespace_that_is_listed_can_be_made": OLD,
    },
}
