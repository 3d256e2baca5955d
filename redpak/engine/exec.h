/* `redpak-oci exec ID PROGRAM …` for redpak-quick: give the orders, and stay with the program.
 *
 * Plain is a running container that is not frozen, whose `create` left a file `exec` (oci/quick.py: its own process as
 * data), and options that change little of that. What is done inside is redpak-enter's, started as a sealed copy in
 * memory: behind /proc/PID/exe the container finds nothing of the host's (CVE-2019-5736). Until the program begins
 * each failure is left to Python, which begins anew. enter.c tells what the orders and the packets are.
 */
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { NOTED = 1 << 20, KEPT = 32, LAST_SIGNAL = 64 };

static struct {
    int detach, program, used, groups, kept[KEPT], fds;
    const char *pid_file, *process;
    char orders[MOST];
} run;

/* What has to work, or Python takes over. */
static long fit(long result) {
    if (result < 0) python();
    return result;
}

/* Let redpak-enter inherit a descriptor. */
static int keep(int fd) {
    if (run.fds == KEPT) python();
    return run.kept[run.fds++] = fit(fd);
}

static void order(char kind, const char *value) {
    size_t length = strlen(value) + 1;
    if (run.used + 1 + length > sizeof run.orders) python();
    run.orders[run.used++] = kind;
    memcpy(run.orders + run.used, value, length);
    run.used += length;
}

static void order_number(char kind, long number) {
    char text[32];
    snprintf(text, sizeof text, "%ld", number);
    order(kind, text);
}

#include "process.h"

/* Read what follows "exec": options, the container, the program. Returns the container's name. */
static const char *read_words(int at) {
    const char *given, *cwd = NULL;
    for (at++; at < count && words[at][0] == '-'; at++) {
        if (!strcmp(words[at], "-d") || !strcmp(words[at], "--detach"))
            run.detach = 1;
        else if ((given = value(&at, "--pid-file")))
            run.pid_file = given;
        else if ((given = value(&at, "--process")) || (given = value(&at, "-p")))
            run.process = given;
        else if ((given = value(&at, "--cwd")))
            cwd = given;
        else if (!(given = value(&at, "-e")) && !(given = value(&at, "--env")))
            python();
        else if (strcspn(given, "=") == 0 || !strchr(given, '='))
            python();
        else
            order('E', given);
    }
    if (cwd && *cwd != '/') python();
    if (cwd) order('c', cwd);
    const char *name = at < count ? words[at++] : "";
    if (run.process) {
        if (run.used || at < count) python();
        return name;
    }
    if (at < count && !strcmp(words[at], "--")) at++;
    if (at >= count || !*words[at]) python();
    while (at < count) order('a', words[at++]);
    return name;
}

static int memory(void) {
    int fd = memfd_create("redpak", MFD_CLOEXEC | MFD_ALLOW_SEALING | 0x10U /* MFD_EXEC: Linux 6.3 */);
    return fit(fd < 0 ? memfd_create("redpak", MFD_CLOEXEC | MFD_ALLOW_SEALING) : fd);
}

/* Return a copy of redpak-enter, which lies beside this program, that nobody can change. */
static int program(void) {
    char path[PATH_MAX], *slash = strrchr(words[0], '/');
    struct stat at;
    if (!slash || snprintf(path, sizeof path, "%.*s/redpak-enter", (int)(slash - words[0]), words[0]) >= PATH_MAX) python();
    int from = fit(open(path, O_RDONLY | O_CLOEXEC)), to = memory();
    fit(fstat(from, &at));
    if (sendfile(to, from, NULL, at.st_size) != at.st_size) python();
    fit(fchmod(to, 0555));
    fit(fcntl(to, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
    close(from);
    return to;
}

/* Return the kinds of namespaces (CLONE_NEW…) in which a process differs from us. */
static int kinds(long pid) {
    static const struct {
        const char *name;
        int flag;
    } all[] = {{"cgroup", CLONE_NEWCGROUP}, {"ipc", CLONE_NEWIPC},   {"mnt", CLONE_NEWNS},    {"net", CLONE_NEWNET},
               {"pid", CLONE_NEWPID},       {"time", CLONE_NEWTIME}, {"user", CLONE_NEWUSER}, {"uts", CLONE_NEWUTS}};
    int found = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char path[64];
        struct stat theirs, ours;
        snprintf(path, sizeof path, "/proc/self/ns/%s", all[i].name);
        if (stat(path, &ours)) continue; /* a kind that this kernel does not have */
        snprintf(path, sizeof path, "/proc/%ld/ns/%s", pid, all[i].name);
        fit(stat(path, &theirs));
        if (theirs.st_dev != ours.st_dev || theirs.st_ino != ours.st_ino) found |= all[i].flag;
    }
    return found;
}

/* Order what concerns the outside: the first process of the container, its control groups. Returns the other fields. */
static char *look(int folder, char *text, ssize_t length) {
    static const char title[] = "redpak-exec 1";
    char said[64], path[PATH_MAX], *frozen = NULL, *end = text + length;
    long pid = 0;
    unsigned long long began = 0;
    int pidfd = -1;
    if (length < (ssize_t)sizeof title || strcmp(text, title)) python();
    for (text += sizeof title; text < end && *text && strchr("Pfwdu", *text); text += strlen(text) + 1) {
        char *value = text + 1;
        if (*text == 'P') {
            if (sscanf(value, "%ld %llu", &pid, &began) != 2 || pid <= 0) python();
            pidfd = keep(syscall(SYS_pidfd_open, pid, 0));
        } else if (*text == 'f') {
            frozen = value;
        } else if (*text == 'w') {
            if (!frozen || slurp(AT_FDCWD, frozen, said, sizeof said) < 0) python();
            if (!strncmp(said, value, strlen(value))) python();
        } else if (*text == 'd') {
            order_number('D', keep(open(value, O_WRONLY | O_CLOEXEC)));
        } else {
            if (snprintf(path, sizeof path, "%s/cgroup.subtree_control", value) >= PATH_MAX) python();
            if (slurp(AT_FDCWD, path, said, sizeof said)) python(); /* it takes no process itself any more */
            run.groups = fit(open(value, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        }
    }
    fit(pidfd);
    order_number('P', pidfd);
    order_number('N', kinds(pid));
    /* What /proc said was said of the process behind the descriptor; it has begun its program. */
    if (!alive(pid, began) || !faccessat(folder, "gate", F_OK, AT_SYMLINK_NOFOLLOW)) python();
    fit(syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0));
    return text;
}

/* Start redpak-enter in the container's group of version 2; returns its pid. */
static pid_t enter(int file, int orders) {
    struct clone_args how = {.exit_signal = SIGCHLD};
    if (run.groups >= 0) how.flags = CLONE_INTO_CGROUP, how.cgroup = run.groups;
    pid_t pid = syscall(SYS_clone3, &how, sizeof how);
    if (pid < 0 && run.groups < 0) pid = fork();
    if (pid) return fit(pid);
    char number[16], *argv[] = {"redpak init", number, NULL}, *environ[] = {NULL};
    snprintf(number, sizeof number, "%d", orders);
    for (int i = 0; i < run.fds; i++) fcntl(run.kept[i], F_SETFD, 0);
    syscall(SYS_execveat, file, "", argv, environ, AT_EMPTY_PATH);
    _exit(125);
}

/* Write the pid file aside and rename it. Returns 0; whatever is not a plain file is Python's. */
static int write_pid(const char *path, pid_t pid) {
    char aside[PATH_MAX], number[16];
    struct stat at;
    uint64_t random;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    int length = snprintf(number, sizeof number, "%d", pid);
    if (!lstat(path, &at) && !S_ISREG(at.st_mode)) return -1;
    if (getrandom(&random, sizeof random, 0) != sizeof random) return -1;
    if (snprintf(aside, sizeof aside, "%.*s.%s.%016llx", (int)(name - path), path, name, (unsigned long long)random) >= PATH_MAX)
        return -1;
    int fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) return -1;
    int good = write(fd, number, length) == length && !rename(aside, path);
    close(fd);
    if (!good) unlink(aside);
    return good ? 0 : -1;
}

/* Wait for the program, hand on signals, reap what is left to us. Returns its exit code, 128 + n for signal n. */
static int attached(pid_t program, int pidfd, const uint64_t *signals) {
    siginfo_t told;
    for (;;) {
        int status, code = -1;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            if (pid == program) code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        if (code >= 0) return code;
        long number = syscall(SYS_rt_sigtimedwait, signals, &told, NULL, sizeof *signals);
        if (number > 0 && number != SIGCHLD) syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0);
    }
}

/* Return the signals that an attached program gets from us: all but those that are about ourselves. */
static uint64_t handed_on(void) {
    static const int ours[] = {SIGKILL, SIGSTOP, SIGPIPE, SIGURG, SIGWINCH, SIGTTIN, SIGTTOU, SIGSEGV, SIGBUS,
                               SIGFPE,  SIGILL,  SIGTRAP, SIGABRT, SIGSYS,  32,      33}; /* the last two: the C library's */
    uint64_t all = ~0ULL;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) all &= ~(1ULL << (ours[i] - 1));
    return all;
}

/* Do it; returns the exit code of redpak-oci. */
static int exec_in(int folder) {
    static char noted[NOTED];
    uint64_t signals = handed_on(), before;
    char packet[32] = "";
    int ends[2];
    run.groups = -1;
    if (getenv("LISTEN_PID")) python();
    signal(SIGCHLD, SIG_DFL); /* ignored, an end would tell nothing */
    fit(syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC));
    ssize_t length = fit(slurp(folder, "exec", noted, sizeof noted));
    char *rest = look(folder, noted, length);
    fit(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
    order_number('S', keep(ends[1]));
    int file = program(), orders = keep(memory());
    const char *replaced = run.process ? document(run.process) : "";
    for (; *rest; rest += strlen(rest) + 1)
        if (!strchr(replaced, *rest)) order(*rest, rest + 1);
    ssize_t size = noted + length - rest; /* the end of the strings, and the filters */
    if (size <= 0 || write(orders, run.orders, run.used) != run.used || write(orders, rest, size) != size) python();

    if (!run.detach) prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, &signals, &before, sizeof signals);
    pid_t helper = enter(file, orders), pid = 0;
    close(ends[1]);
    if (recv(ends[0], packet, sizeof packet - 1, 0) <= 0) *packet = 0;
    waitpid(helper, NULL, 0);
    if (*packet == 'F') recv(ends[0], packet, sizeof packet - 1, MSG_DONTWAIT); /* the new process, before it was told of */
    int good = *packet == 'B';
    if (good) pid = strtol(packet + 1, NULL, 10);
    int pidfd = good ? syscall(SYS_pidfd_open, pid, 0) : -1;
    good = pidfd >= 0 && !(run.pid_file && write_pid(run.pid_file, pid)) && send(ends[0], "!", 1, MSG_NOSIGNAL) == 1 &&
           !recv(ends[0], packet, sizeof packet, 0);
    close(ends[0]); /* where it still waits, it ends */
    if (!good && pid) waitpid(pid, NULL, 0);
    if (good && !run.detach) return attached(pid, pidfd, &signals);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
    if (!good) python();
    return 0;
}
