/* redpak-enter: put one more program into a running container with what `create` noted of its own first one.
 *
 *   "redpak init" ORDERS      started by redpak-quick alone, from a sealed copy in memory; ORDERS: a descriptor
 *
 * It joins the container's namespaces but for its processes', becomes all that the program may be, and finds it. Only
 * then it makes the process that is born among the container's own: who runs there with CAP_SYS_PTRACE may take over
 * each process that it can name (ptrace(2)), and finds none that has more rights than the container gives, none with a
 * handle on the host's tree, and behind /proc/PID/exe a file that nobody can change (CVE-2019-5736).
 *
 * The orders are strings, each ended by NUL: a letter and what belongs to it (exec.h writes the first, oci/quick.py the
 * rest), up to an empty one; the filters of system calls follow. Packets on the socket: 'F' something failed,
 * 'B' + number: that process waits for its "!" to become the program. Nothing is reported beyond that: redpak-quick
 * has Python do it all again, and say what is wrong. The order is that of rights.py, which has the reasons.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LARGEST = 1 << 24, PASSWD = 1 << 20, SIGNALS = 64, FILTERS = 8 };

typedef unsigned long long mask;

static struct {
    char *orders, **args, **env, *cwd, *keyring, *score;
    int argc, envc, say, pidfd, kinds, home, session, no_new_privs, ngroups, nfilters;
    long umask, personality;
    unsigned uid, gid, *groups;
    mask bounding, effective, permitted, inheritable, ambient;
    struct {
        unsigned flags;
        struct sock_fprog code;
    } filters[FILTERS];
} task = {.umask = -1, .personality = -1, .say = -1};

static void failed(void) {
    send(task.say, "F", 1, MSG_NOSIGNAL);
    _exit(125);
}

/* What must be 0 or more. */
static long ok(long result) {
    if (result < 0) failed();
    return result;
}

static void *room(size_t size) {
    void *at = calloc(1, size + 1);
    if (!at) failed();
    return at;
}

/* Put a variable where one of its name is, else behind all others. */
static void variable(char *text) {
    size_t length = strcspn(text, "=") + 1;
    for (int i = 0; i < task.envc; i++)
        if (!strncmp(task.env[i], text, length)) {
            task.env[i] = text;
            return;
        }
    task.env[task.envc++] = text;
}

/* Write a word into a file, or "0" through a descriptor that is open. */
static void write_word(const char *path, int fd, const char *word) {
    if (path) fd = ok(open(path, O_WRONLY | O_CLOEXEC));
    if (write(fd, word, strlen(word)) != (ssize_t)strlen(word)) failed();
    close(fd);
}

/* Read the orders; what changes nothing but ourselves, outside, is done at once. */
static void read_orders(int fd) {
    struct stat at;
    ok(fstat(fd, &at));
    if (at.st_size <= 0 || at.st_size > LARGEST) failed();
    char *text = task.orders = room(at.st_size), *end = text + at.st_size, *next = text, *late[64];
    for (char *to = text; to < end;) {
        ssize_t got = pread(fd, to, end - to, to - text);
        if (got <= 0) failed();
        to += got;
    }
    int strings = 2, lates = 0, complete = 0;
    for (char *one = text; one < end; one++) strings += !*one;
    task.args = room(strings * sizeof(char *));
    task.env = room(strings * sizeof(char *));
    task.groups = room(strings * sizeof(unsigned));
    while (next < end && !complete) {
        char *value = next + 1, kind = *next;
        next += strlen(next) + 1; /* there is a NUL behind the last byte */
        long number = strtol(value, NULL, 10);
        switch (kind) {
        case 0: complete = 1; break;
        case 'S': task.say = number; break;
        case 'P': task.pidfd = number; break;
        case 'N': task.kinds = number; break;
        case 'D': write_word(NULL, number, "0"); break; /* a door of the control group */
        case 'a': task.args[task.argc++] = value; break;
        case 'c': task.cwd = task.cwd ? task.cwd : value; break; /* the first counts */
        case 'e': variable(value); break;
        case 'E': /* goes over what the container has */
            if (lates == sizeof late / sizeof *late) failed();
            late[lates++] = value;
            break;
        case 's': task.session = 1; break;
        case 'n': task.no_new_privs = 1; break;
        case 'h': task.home = 1; break;
        case 'k': task.keyring = value; break;
        case 'o': task.score = value; break;
        case 'm': task.umask = number; break;
        case 'p': task.personality = number; break;
        case 'g': task.groups[task.ngroups++] = strtoul(value, NULL, 10); break;
        case 'i':
            if (sscanf(value, "%u %u", &task.uid, &task.gid) != 2) failed();
            break;
        case 'b':
            if (sscanf(value, "%llx %llx %llx %llx %llx", &task.bounding, &task.effective, &task.permitted,
                       &task.inheritable, &task.ambient) != 5)
                failed();
            break;
        case 'r': break; /* later */
        case 'F':
            if (task.nfilters == FILTERS ||
                sscanf(value, "%u %hu", &task.filters[task.nfilters].flags, &task.filters[task.nfilters].code.len) != 2)
                failed();
            task.nfilters++;
            break;
        default: failed();
        }
    }
    for (int i = 0; i < task.nfilters; i++) {
        size_t size = task.filters[i].code.len * sizeof(struct sock_filter);
        if (size > (size_t)(end - next)) failed();
        task.filters[i].code.filter = room(size);
        memcpy(task.filters[i].code.filter, next, size);
        next += size;
    }
    if (!complete || next != end || task.say < 0 || !task.argc || !task.cwd) failed();
    for (int i = 0; i < lates; i++) {
        if (!strncmp(late[i], "HOME=", 5)) task.home = 0;
        variable(late[i]);
    }
}

/* Set the resource limits: that of a user's processes when one more of them has been made, or all others. */
static void limits(int processes) {
    for (char *text = task.orders; *text; text += strlen(text) + 1) {
        int number;
        unsigned long long soft, hard;
        if (*text != 'r') continue;
        if (sscanf(text + 1, "%d %llu %llu", &number, &soft, &hard) != 3) failed();
        struct rlimit both = {.rlim_cur = soft, .rlim_max = hard};
        if ((number == RLIMIT_NPROC) == processes) ok(setrlimit(number, &both));
    }
}

/* Add HOME from the container's own /etc/passwd, "/" where that does not say. */
static void home(void) {
    static char text[PASSWD], *value = "/";
    struct stat at;
    size_t have = 0;
    ssize_t got = 0;
    int fd = open("/etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0 && !fstat(fd, &at) && S_ISREG(at.st_mode)) /* whatever has been put there */
        while (have < sizeof text - 1 && (got = read(fd, text + have, sizeof text - 1 - have)) > 0) have += got;
    if (fd >= 0) close(fd);
    for (char *line = text, *end; line < text + have; line = end + 1) {
        end = line + strcspn(line, "\n");
        *end = 0;
        char *field = line, *fields[6] = {line};
        int count = 1;
        while (count < 6 && (field = strchr(field, ':'))) {
            *field++ = 0;
            fields[count++] = field;
        }
        char uid[16];
        snprintf(uid, sizeof uid, "%u", task.uid);
        if (count < 6 || strcmp(fields[2], uid)) continue;
        fields[5][strcspn(fields[5], ":")] = 0;
        if (*fields[5]) value = fields[5];
        break;
    }
    char *whole = room(strlen(value) + 5);
    sprintf(whole, "HOME=%s", value);
    variable(whole);
}

static void install(void) {
    for (int i = 0; i < task.nfilters; i++)
        ok(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, task.filters[i].flags, &task.filters[i].code));
}

static void capabilities(int set, mask sets[3]) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    for (int half = 0; half < 2; half++)
        data[half] = (struct __user_cap_data_struct){sets[0] >> 32 * half, sets[1] >> 32 * half, sets[2] >> 32 * half};
    ok(syscall(set ? SYS_capset : SYS_capget, &head, data));
    if (!set) {
        sets[0] = data[0].effective | (mask)data[1].effective << 32;
        sets[1] = data[0].permitted | (mask)data[1].permitted << 32;
        sets[2] = data[0].inheritable | (mask)data[1].inheritable << 32;
    }
}

/* Become the program's user. */
static void user(void) {
    unsigned now[3], *groups;
    int have = ok(syscall(SYS_getgroups, 0, NULL));
    groups = room(have * sizeof *groups);
    have = ok(syscall(SYS_getgroups, have, groups));
    int same = have == task.ngroups && !memcmp(groups, task.groups, have * sizeof *groups);
    if (!same && syscall(SYS_setgroups, task.ngroups, task.groups) && (errno != EPERM || task.ngroups)) failed();
    ok(syscall(SYS_getresgid, now, now + 1, now + 2));
    if (now[0] != task.gid || now[1] != task.gid || now[2] != task.gid)
        ok(syscall(SYS_setresgid, task.gid, task.gid, task.gid));
    ok(syscall(SYS_getresuid, now, now + 1, now + 2));
    if (now[0] != task.uid || now[1] != task.uid || now[2] != task.uid)
        ok(syscall(SYS_setresuid, task.uid, task.uid, task.uid));
}

/* Give up rights, as rights.drop does. */
static void drop(void) {
    mask had[3] = {0}, possible = 0, may[3] = {0};
    capabilities(0, had);
    for (int one = 0, in; (in = prctl(PR_CAPBSET_READ, one, 0, 0, 0)) >= 0; one++) {
        possible |= (mask)in << one;
        if (in && !(task.bounding >> one & 1)) ok(prctl(PR_CAPBSET_DROP, one, 0, 0, 0));
    }
    if (!task.no_new_privs) install();
    int locked = ok(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0)) & SECBIT_KEEP_CAPS_LOCKED;
    if (!locked) ok(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
    user();
    if (!locked) ok(prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0));
    mask keep = task.permitted & had[1] & possible;
    capabilities(0, may);
    mask given[3] = {keep & task.effective & may[1], keep & may[1],
                     task.inheritable & may[1] & possible & task.bounding};
    capabilities(1, given);
    ok(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    mask ambient = task.ambient & keep & task.inheritable;
    for (int one = 0; ambient >> one; one++)
        if (ambient >> one & 1) ok(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, one, 0, 0));
    if (task.no_new_privs) ok(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (task.umask >= 0) umask(task.umask);
}

/* Find the program as execvp(3) does. */
static char *find(void) {
    char *name = task.args[0], *search = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"; /* as exec.py */
    struct stat at;
    for (int i = 0; i < task.envc; i++)
        if (!strncmp(task.env[i], "PATH=", 5)) search = task.env[i] + 5;
    for (int last = 0; !last;) {
        size_t length = strcspn(search, ":");
        char *path = name;
        last = !search[length];
        if (strchr(name, '/')) {
            last = 1;
        } else {
            path = room(length + strlen(name) + 2);
            sprintf(path, "%.*s/%s", length ? (int)length : 1, length ? search : ".", name);
        }
        if (!stat(path, &at) && S_ISREG(at.st_mode) && !syscall(SYS_faccessat2, AT_FDCWD, path, X_OK, AT_EACCESS))
            return path;
        search += length + 1;
    }
    failed();
    return NULL;
}

/* Let no signal be ignored. Raw calls: C libraries keep some for themselves. */
static void signals(void) {
    struct {
        void *handler;
        unsigned long flags, restorer, mask;
    } normal = {0};
    for (int number = 1; number <= SIGNALS; number++) syscall(SYS_rt_sigaction, number, &normal, NULL, 8);
}

/* The new process: it has all it may have, and is among the container's own. */
static void inside(char *path) {
    char word;
    mask none = 0;
    if (task.session) ok(syscall(SYS_setsid));
    if (recv(task.say, &word, 1, 0) != 1) _exit(125); /* redpak-quick has gone */
    limits(1);
    ok(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8)); /* redpak-quick had blocked them */
    if (task.no_new_privs) install();
    execve(path, task.args, task.env);
    failed();
}

int main(int argc, char **argv) {
    int orders = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    char born[32], cwd[PATH_MAX];
    if (orders < 3 || strcmp(argv[0], "redpak init")) {
        fputs("redpak-enter: only redpak-quick starts this program\n", stderr);
        return 2;
    }
    memset(argv[1], 0, strlen(argv[1]));
    ok(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    ok(prctl(PR_SET_NAME, "redpak init", 0, 0, 0));
    ok(syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC));
    read_orders(orders);
    if (task.score) write_word("/proc/self/oom_score_adj", -1, task.score);
    if (task.kinds) ok(setns(task.pidfd, task.kinds));
    if (task.kinds & CLONE_NEWUSER) {
        if (syscall(SYS_setresgid, 0, 0, 0) && errno != EINVAL) failed(); /* EINVAL: there is no 0 */
        if (syscall(SYS_setresuid, 0, 0, 0) && errno != EINVAL) failed();
    }
    signals();
    if (*task.keyring && syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, strcmp(task.keyring, "_") ? task.keyring : NULL) < 0 &&
        errno != ENOSYS)
        failed();
    if (task.personality >= 0) ok(syscall(SYS_personality, task.personality));
    if (task.home) home();
    limits(0);
    if (task.say > 3) ok(syscall(SYS_close_range, 3, task.say - 1, 0));
    ok(syscall(SYS_close_range, task.say + 1, ~0U, 0));
    drop();
    ok(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)); /* a change of user set it to what fs.suid_dumpable says */
    ok(chdir(task.cwd));
    if (ok(syscall(SYS_getcwd, cwd, sizeof cwd)) < 1 || *cwd != '/') failed(); /* CVE-2024-21626 */
    char *path = find();
    long pid = ok(syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0));
    if (!pid) inside(path);
    int length = snprintf(born, sizeof born, "B%ld", pid);
    if (send(task.say, born, length, MSG_NOSIGNAL) != length) _exit(125);
    return 0;
}
