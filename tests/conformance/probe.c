/* Runs inside a container (and, as a hook, outside) and says what it sees: one JSON object a line.
 *
 * Built statically, so that it needs nothing of the root file system. The words are verbs with their arguments, and
 * ";" stands between two of them:  probe stat /dev/null ";" write /file text ";" exit 3
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static FILE *to;
static int items;

static void quoted(const char *text, size_t size)
{
    fputc('"', to);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            fprintf(to, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            fprintf(to, "\\u%04x", c);
        else
            fputc(c, to);
    }
    fputc('"', to);
}

static void open_object(void) { fputc('{', to); items = 0; }
static void close_object(void) { fputc('}', to); }
static void end_line(void) { fputc('\n', to); fflush(to); }

static void key(const char *name)
{
    if (items++)
        fputc(',', to);
    quoted(name, strlen(name));
    fputc(':', to);
}

static void say(const char *name, const char *value)
{
    key(name);
    if (value)
        quoted(value, strlen(value));
    else
        fputs("null", to);
}

static void number(const char *name, long long value) { key(name); fprintf(to, "%lld", value); }

static void words(const char *name, char **list)
{
    key(name);
    fputc('[', to);
    for (int i = 0; list && list[i]; i++) {
        if (i)
            fputc(',', to);
        quoted(list[i], strlen(list[i]));
    }
    fputc(']', to);
}

static const char *outcome(long result) { return result >= 0 ? "ok" : strerrorname_np(errno); }

/* Read a whole descriptor; the caller owns what comes back. */
static char *whole(int fd, size_t *size)
{
    size_t room = 1 << 16, have = 0;
    char *text = malloc(room + 1);
    ssize_t got;
    while ((got = read(fd, text + have, room - have)) > 0) {
        have += (size_t)got;
        if (have == room)
            text = realloc(text, (room *= 2) + 1);
    }
    text[have] = 0;
    if (got < 0 && !have) {
        free(text);
        return NULL;
    }
    *size = have;
    return text;
}

static void contents(const char *name, const char *path)
{
    size_t size;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = fd < 0 ? NULL : whole(fd, &size);
    key(name);
    if (text)
        quoted(text, size);
    else
        fputs("null", to);
    free(text);
    if (fd >= 0)
        close(fd);
}

static void link_of(const char *name, const char *path)
{
    char target[4096];
    ssize_t size = readlink(path, target, sizeof target - 1);
    key(name);
    if (size < 0)
        fputs("null", to);
    else
        quoted(target, (size_t)size);
}

static void spaces(void)
{
    static const char *kinds[] = {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts", NULL};
    key("ns");
    int kept = items;
    open_object();
    for (int i = 0; kinds[i]; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i]);
        link_of(kinds[i], path);
    }
    close_object();
    items = kept;
}

static void capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    unsigned long long bounding = 0, ambient = 0;
    syscall(SYS_capget, &header, data);
    for (int i = 0; i < 64; i++) {
        if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
            bounding |= 1ULL << i;
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0, 0) == 1)
            ambient |= 1ULL << i;
    }
    number("cap_effective", (long long)(data[0].effective | (unsigned long long)data[1].effective << 32));
    number("cap_permitted", (long long)(data[0].permitted | (unsigned long long)data[1].permitted << 32));
    number("cap_inheritable", (long long)(data[0].inheritable | (unsigned long long)data[1].inheritable << 32));
    number("cap_bounding", (long long)bounding);
    number("cap_ambient", (long long)ambient);
}

static void descriptors(void)
{
    key("fds");
    int kept = items;
    open_object();
    for (int fd = 0; fd < 1024; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            continue;
        char name[16], path[64];
        snprintf(name, sizeof name, "%d", fd);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        link_of(name, path);
    }
    close_object();
    items = kept;
}

static void report(char **argv)
{
    char text[4096];
    struct utsname uts;
    gid_t groups[1024];
    uid_t r, e, s;
    mode_t mask = umask(0);
    umask(mask);
    open_object();
    descriptors(); /* first: what follows opens files */
    words("argv", argv);
    words("env", environ);
    say("cwd", syscall(SYS_getcwd, text, sizeof text) > 0 ? text : NULL);
    number("umask", mask);
    getresuid(&r, &e, &s);
    number("uid", r), number("euid", e), number("suid", s);
    getresgid(&r, &e, &s);
    number("gid", r), number("egid", e), number("sgid", s);
    int count = getgroups(1024, groups);
    key("groups");
    fputc('[', to);
    for (int i = 0; i < count; i++)
        fprintf(to, "%s%u", i ? "," : "", groups[i]);
    fputc(']', to);
    number("pid", getpid()), number("ppid", getppid()), number("sid", getsid(0)), number("pgid", getpgrp());
    uname(&uts);
    say("hostname", uts.nodename);
    say("domainname", uts.domainname);
    spaces();
    capabilities();
    key("rlimits");
    fputc('[', to);
    for (int i = 0; i < 16; i++) {
        struct rlimit limit = {0, 0};
        getrlimit(i, &limit);
        fprintf(to, "%s[%lld,%lld]", i ? "," : "", (long long)limit.rlim_cur, (long long)limit.rlim_max);
    }
    fputc(']', to);
    number("personality", (unsigned)personality(0xffffffff));
    number("securebits", prctl(PR_GET_SECUREBITS));
    number("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    number("seccomp", prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
    number("dumpable", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
    number("io_priority", syscall(SYS_ioprio_get, 1, 0));
    struct {
        unsigned size, policy;
        unsigned long long flags;
        int nice;
        unsigned priority;
        unsigned long long runtime, deadline, period;
    } sched = {.size = sizeof sched};
    if (syscall(SYS_sched_getattr, 0, &sched, sizeof sched, 0) == 0) {
        number("sched_policy", sched.policy), number("sched_nice", sched.nice);
        number("sched_priority", sched.priority), number("sched_flags", (long long)sched.flags);
    }
    number("session_keyring", syscall(SYS_keyctl, 0, -3, 0));
    struct winsize size = {0, 0, 0, 0};
    number("tty", isatty(0) && isatty(1) && isatty(2));
    number("winsize_known", ioctl(0, TIOCGWINSZ, &size) == 0);
    number("rows", size.ws_row), number("columns", size.ws_col);
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    number("controlling_tty", tty >= 0);
    static const char *files[] = {
        "status", "mountinfo", "limits", "cgroup", "uid_map", "gid_map", "setgroups", "oom_score_adj",
        "timens_offsets", "sessionid", "attr/current", NULL};
    for (int i = 0; files[i]; i++) {
        snprintf(text, sizeof text, "/proc/self/%s", files[i]);
        contents(files[i], text);
    }
    close_object();
    end_line();
}

static void stat_of(const char *path)
{
    struct stat st;
    struct statfs fs;
    open_object();
    say("verb", "stat"), say("path", path);
    int failed = lstat(path, &st);
    say("outcome", outcome(failed ? -1 : 0));
    if (!failed) {
        static const char *kinds[] = {"?", "p", "c", "?", "d", "?", "b", "?", "-", "?", "l", "?", "s", "?", "?", "?"};
        say("kind", kinds[(st.st_mode & S_IFMT) >> 12]);
        number("mode", st.st_mode & 07777), number("uid", st.st_uid), number("gid", st.st_gid);
        number("major", major(st.st_rdev)), number("minor", minor(st.st_rdev));
        number("size", st.st_size), number("device", (long long)st.st_dev), number("inode", (long long)st.st_ino);
        link_of("target", path);
        if (statfs(path, &fs) == 0) {
            number("fs_type", fs.f_type);
            number("fs_bytes", (long long)fs.f_blocks * fs.f_bsize), number("fs_files", (long long)fs.f_files);
        }
    }
    close_object();
    end_line();
}

static void list(const char *path)
{
    DIR *folder = opendir(path);
    open_object();
    say("verb", "ls"), say("path", path), say("outcome", outcome(folder ? 0 : -1));
    key("names");
    fputc('[', to);
    int first = 1;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (!first)
            fputc(',', to);
        first = 0;
        quoted(entry->d_name, strlen(entry->d_name));
    }
    fputc(']', to);
    if (folder)
        closedir(folder);
    close_object();
    end_line();
}

static void simple(const char *verb, const char *path, long result)
{
    const char *how = outcome(result);
    open_object();
    say("verb", verb), say("path", path), say("outcome", how), number("result", result);
    close_object();
    end_line();
}

static long put(const char *path, int flags, const char *text)
{
    int fd = open(path, flags | O_WRONLY | O_CLOEXEC, 0666);
    if (fd < 0)
        return -1;
    long result = *text ? write(fd, text, strlen(text)) : 0;
    int kept = errno;
    close(fd);
    errno = kept;
    return result;
}

static void readfile(const char *path)
{
    size_t size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = fd < 0 ? NULL : whole(fd, &size);
    const char *how = outcome(text ? 0 : -1);
    open_object();
    say("verb", "read"), say("path", path), say("outcome", how);
    key("text");
    quoted(text ? text : "", size);
    close_object();
    end_line();
}

/* Fork, execute a file, and tell how it ended. */
static void execute(char **argv)
{
    int status = 0, up[2], code = 0;
    if (pipe2(up, O_CLOEXEC))
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        execv(argv[0], argv);
        code = errno;
        if (write(up[1], &code, sizeof code) < 0)
            abort();
        _exit(127);
    }
    close(up[1]);
    if (read(up[0], &code, sizeof code) != sizeof code)
        code = 0;
    close(up[0]);
    waitpid(pid, &status, 0);
    open_object();
    say("verb", "run"), say("path", argv[0]), say("outcome", code ? strerrorname_np(code) : "ok");
    number("status", status);
    close_object();
    end_line();
}

/* Make one system call in a child, so that a deadly one can be told. */
static void call(char **argv)
{
    long word[7] = {0}, said[2] = {0, 0};
    int up[2], status;
    for (int i = 0; i < 7 && argv[i]; i++)
        word[i] = argv[i][0] == '=' ? (long)(argv[i] + 1) : (long)strtoull(argv[i], NULL, 0);
    if (pipe2(up, O_CLOEXEC))
        abort();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        said[0] = syscall(word[0], word[1], word[2], word[3], word[4], word[5], word[6]);
        said[1] = said[0] < 0 ? errno : 0;
        if (write(up[1], said, sizeof said) < 0)
            abort();
        _exit(0);
    }
    close(up[1]);
    if (read(up[0], said, sizeof said) != sizeof said)
        said[0] = -1;
    close(up[0]);
    waitpid(pid, &status, 0);
    open_object();
    say("verb", "call"), number("number", word[0]), number("result", said[0]), number("errno", said[1]);
    number("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    close_object();
    end_line();
}

#ifdef __x86_64__
/* Make a call through the 32-bit entry: int 0x80. In a child, as it may be deadly. */
static void call32(char **argv)
{
    unsigned word[4] = {0};
    int up[2], status;
    long said = -1;
    for (int i = 0; i < 4 && argv[i]; i++)
        word[i] = (unsigned)strtoull(argv[i], NULL, 0);
    if (pipe2(up, O_CLOEXEC))
        abort();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        long result;
        __asm__ volatile("int $0x80" : "=a"(result) : "a"((long)word[0]), "b"((long)word[1]), "c"((long)word[2]),
                         "d"((long)word[3]) : "r8", "r9", "r10", "r11", "memory");
        if (write(up[1], &result, sizeof result) < 0)
            abort();
        _exit(0);
    }
    close(up[1]);
    int got = read(up[0], &said, sizeof said) == sizeof said;
    close(up[0]);
    waitpid(pid, &status, 0);
    open_object();
    say("verb", "call32"), number("number", word[0]), number("result", got ? (int)said : -1);
    number("errno", got && (int)said < 0 ? -(int)said : 0);
    number("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    close_object();
    end_line();
}
#endif

static void caught(int number_)
{
    char text[32];
    int size = snprintf(text, sizeof text, "{\"signal\":%d}\n", number_);
    if (write(1, text, (size_t)size) < 0)
        _exit(9);
    if (number_ == SIGTERM)
        _exit(0);
}

static void stay(void)
{
    struct sigaction act = {.sa_handler = caught};
    for (int i = 1; i < 32; i++)
        sigaction(i, &act, NULL);
    signal(SIGCHLD, SIG_IGN);
    open_object();
    say("verb", "stay");
    close_object();
    end_line();
    for (;;)
        pause();
}

/* Write so many MiB into a file. */
static void fill(const char *path, long mib)
{
    static char block[1 << 20];
    long written = 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    memset(block, 'x', sizeof block);
    while (fd >= 0 && written < mib && write(fd, block, sizeof block) == sizeof block)
        written++;
    close(fd);
    simple("fill", path, written);
}

/* Tell whether a process executes another program than we do, and note which. What runs from memory (for a moment,
 * between the runtime and the program) is nobody's file, has the program's rights and holds nothing else. */
static int stranger(const char *exe, const struct stat *mine, char *taken, size_t size)
{
    struct stat other;
    char name[4096];
    ssize_t got = readlink(exe, name, sizeof name - 1);
    if (got < 0 || stat(exe, &other) != 0 || (other.st_ino == mine->st_ino && other.st_dev == mine->st_dev))
        return 0;
    name[got] = 0;
    if (!strncmp(name, "/memfd:", 7))
        return 0;
    snprintf(taken, size, "%s", name);
    return 1;
}

/* Look for processes that are none of ours (a runtime that comes in), and try what could be had of them.
 * Words: MILLISECONDS SECRET PATH-OF-THE-HOST [FILE]. Counts what could be read, until FILE is there. */
static void hunt(long milliseconds, const char *secret, const char *outside, const char *enough)
{
    long seen = 0, exe = 0, env = 0, fd = 0, root = 0, cwd = 0, trace = 0;
    char own[4096], path[4200], text[4096], taken[4096] = "";
    struct stat mine;
    struct timespec now, end;
    stat("/proc/self/exe", &mine);
    snprintf(own, sizeof own, "%d", getpid());
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += milliseconds / 1000;
    DIR *proc = opendir("/proc");
    do {
        rewinddir(proc);
        for (struct dirent *entry; (entry = readdir(proc));) {
            pid_t pid = atoi(entry->d_name);
            if (pid <= 1 || !strcmp(entry->d_name, own))
                continue;
            seen++;
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            if (stranger(path, &mine, taken, sizeof taken))
                exe++;
            snprintf(path, sizeof path, "/proc/%d/environ", pid);
            int file = open(path, O_RDONLY | O_CLOEXEC);
            ssize_t got = file < 0 ? -1 : read(file, text, sizeof text);
            if (got > 0 && memmem(text, (size_t)got, secret, strlen(secret)))
                env++;
            if (file >= 0)
                close(file);
            for (int number_ = 0; number_ < 40; number_++) {
                snprintf(path, sizeof path, "/proc/%d/fd/%d/%s", pid, number_, outside);
                if (access(path, F_OK) == 0)
                    fd++;
            }
            snprintf(path, sizeof path, "/proc/%d/root/%s", pid, outside);
            root += access(path, F_OK) == 0;
            snprintf(path, sizeof path, "/proc/%d/cwd/%s", pid, outside);
            cwd += access(path, F_OK) == 0;
            if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
                snprintf(path, sizeof path, "/proc/%d/exe", pid); /* our own kind may be had: it has joined */
                trace += stranger(path, &mine, taken, sizeof taken);
                int status = 0; /* only who stands still can be let go, and else nobody would hear of its end */
                ptrace(PTRACE_INTERRUPT, pid, 0, 0);
                if (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
                    ptrace(PTRACE_DETACH, pid, 0, status >> 16 ? 0L : (long)WSTOPSIG(status));
            }
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec)) &&
             (!enough || access(enough, F_OK)));
    closedir(proc);
    open_object();
    say("verb", "hunt"), number("seen", seen), number("exe", exe), number("environ", env), number("fd", fd);
    number("root", root), number("cwd", cwd), number("ptrace", trace), say("program", taken);
    close_object();
    end_line();
}

/* Push text into the terminal on standard input, and into the controlling one. */
static void push(const char *text)
{
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC), done = 0;
    unsigned long requests[] = {TIOCSTI, TIOCSTI | 1UL << 32};
    char paste = 2;
    for (int fd = 0; fd < 3; fd++)
        for (int i = 0; i < 2; i++)
            for (const char *c = text; *c; c++) {
                done += syscall(SYS_ioctl, fd, requests[i], c) == 0;
                done += tty >= 0 && syscall(SYS_ioctl, tty, requests[i], c) == 0;
            }
    done += syscall(SYS_ioctl, 0, 0x541cUL, &paste) == 0; /* TIOCLINUX */
    if (tty >= 0)
        close(tty);
    simple("push", text, done);
}

/* Append what a hook sees to a file. Words: FILE PHASE [exit=N] [sleep=SECONDS] [silent] [see=PATH] */
static int hook(char **argv, char **all)
{
    size_t size = 0;
    int code = 0, silent = 0, seconds = 0;
    const char *see = NULL;
    for (char **word = argv + 2; *word; word++) {
        if (sscanf(*word, "exit=%d", &code) == 1 || sscanf(*word, "sleep=%d", &seconds) == 1)
            continue;
        if (!strcmp(*word, "silent"))
            silent = 1;
        else if (!strncmp(*word, "see=", 4))
            see = *word + 4;
    }
    char cwd[4096], *text = silent ? strdup("") : whole(0, &size);
    char *line = NULL;
    size_t length;
    to = open_memstream(&line, &length);
    open_object();
    say("phase", argv[1]), say("stdin", text), words("argv", all), words("env", environ);
    say("cwd", syscall(SYS_getcwd, cwd, sizeof cwd) > 0 ? cwd : NULL);
    number("pid", getpid());
    number("sees", see ? access(see, F_OK) == 0 : -1);
    spaces();
    contents("mountinfo", "/proc/self/mountinfo");
    contents("label", "/proc/self/attr/current");
    descriptors();
    close_object();
    end_line();
    int fd = open(argv[0], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, line, length) != (ssize_t)length)
        return 99;
    close(fd);
    if (seconds)
        sleep((unsigned)seconds);
    return code;
}

int main(int argc, char **argv)
{
    to = stdout;
    if (argc < 2) {
        report(argv);
        return 0;
    }
    char *all[256];
    int count = 0;
    for (; count < argc && count < 255; count++)
        all[count] = argv[count];
    all[count] = NULL;
    for (int at = 1; at < argc;) {
        char *verb = argv[at], *one[128] = {NULL};
        int many = 0;
        for (at++; at < argc && strcmp(argv[at], ";"); at++)
            one[many++] = argv[at];
        at++;
        if (!strcmp(verb, "report")) report(all);
        else if (!strcmp(verb, "stat")) for (int i = 0; i < many; i++) stat_of(one[i]);
        else if (!strcmp(verb, "ls")) for (int i = 0; i < many; i++) list(one[i]);
        else if (!strcmp(verb, "read")) for (int i = 0; i < many; i++) readfile(one[i]);
        else if (!strcmp(verb, "write")) simple(verb, one[0], put(one[0], 0, one[1] ? one[1] : ""));
        else if (!strcmp(verb, "create")) simple(verb, one[0], put(one[0], O_CREAT | O_EXCL, one[1] ? one[1] : ""));
        else if (!strcmp(verb, "append")) simple(verb, one[0], put(one[0], O_CREAT | O_APPEND, one[1]));
        else if (!strcmp(verb, "fill")) fill(one[0], atol(one[1]));
        else if (!strcmp(verb, "hunt")) hunt(atol(one[0]), one[1], one[2], one[3]);
        else if (!strcmp(verb, "push")) push(one[0]);
        else if (!strcmp(verb, "symlink")) simple(verb, one[1], symlink(one[0], one[1]));
        else if (!strcmp(verb, "chdir")) simple(verb, one[0], chdir(one[0]));
        else if (!strcmp(verb, "mkdir")) simple(verb, one[0], mkdir(one[0], 0755));
        else if (!strcmp(verb, "unlink")) simple(verb, one[0], unlink(one[0]));
        else if (!strcmp(verb, "open")) {
            int fd = open(one[0], (one[1] ? (int)strtol(one[1], NULL, 0) : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
            simple(verb, one[0], fd);
        }
        else if (!strcmp(verb, "mknod"))
            simple(verb, one[0], mknod(one[0], one[1][0] == 'b' ? S_IFBLK | 0666 : S_IFCHR | 0666,
                                       makedev(strtoul(one[2], NULL, 0), strtoul(one[3], NULL, 0))));
        else if (!strcmp(verb, "mount"))
            simple(verb, one[1], mount(one[0], one[1], one[2], strtoul(one[3], NULL, 0), many > 4 ? one[4] : NULL));
        else if (!strcmp(verb, "umount")) simple(verb, one[0], umount2(one[0], MNT_DETACH));
        else if (!strcmp(verb, "sethostname")) simple(verb, one[0], sethostname(one[0], strlen(one[0])));
        else if (!strcmp(verb, "run")) execute(one);
        else if (!strcmp(verb, "call")) call(one);
#ifdef __x86_64__
        else if (!strcmp(verb, "call32")) call32(one);
#endif
        else if (!strcmp(verb, "stay")) stay();
        else if (!strcmp(verb, "wait")) { char c; if (read(0, &c, 1) < 0) return 9; }
        else if (!strcmp(verb, "hook")) return hook(one, all);
        else if (!strcmp(verb, "exit")) return atoi(one[0]);
        else if (!strcmp(verb, "spare")) ; /* a word that does nothing */
        else { fprintf(stderr, "probe: no verb '%s'\n", verb); return 98; }
    }
    return 0;
}
