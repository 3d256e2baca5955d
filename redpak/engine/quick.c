/* redpak-quick: `redpak-oci start`, `delete` and `exec` where nothing is special, else Python as ever.
 *
 *   redpak-quick PYTHON SCRIPT WORDS…      what scripts/redpak-oci calls; WORDS are the command line of redpak-oci
 *
 * An interpreter takes ten milliseconds to begin with, start and delete need one. So they are done here while all is
 * as it should be: plain options, a file `quick` in the container's directory (written by `create` where there are no
 * poststart or poststop hooks, no $NOTIFY_SOCKET and no systemd unit; oci/quick.py has its format), a first process
 * that waits or has ended, empty control groups. For anything else, every error included, nothing is changed and the
 * interpreter takes over: it checks all again and says what is wrong. One thing cannot be asked twice: the answer
 * of the gate. Where that tells of a failure, the interpreter gets it as a file whose descriptor $REDPAK_OCI_TOLD names.
 * exec.h has what `exec` does.
 *
 * Same rules as store.py: an fcntl(2) record lock on `lock`, and a container goes by one rename of its directory.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { MOST = 1 << 16 };

static char **words; /* of the program: PYTHON SCRIPT … */
static int count;

static __attribute__((noreturn)) void python(void) {
    char **argv = calloc(count + 5, sizeof *argv);
    if (argv) {
        int at = 0;
        argv[at++] = words[1];
        argv[at++] = "-I";
        argv[at++] = "-S";
        argv[at++] = "-X";
        argv[at++] = "utf8";
        for (int i = 2; i < count; i++) argv[at++] = words[i];
        execv(argv[0], argv);
    }
    fprintf(stderr, "redpak-oci: cannot run '%s': %s\n", words[1], strerror(errno));
    _exit(1);
}

/* Read a whole small file into `text`, with a NUL. Returns its length, -1 where that cannot be done. */
static ssize_t slurp(int at, const char *name, char *text, size_t room) {
    int fd = openat(at, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return -1;
    size_t have = 0;
    ssize_t got;
    while (have < room - 1 && (got = read(fd, text + have, room - 1 - have)) > 0) have += got;
    close(fd);
    if (have == room - 1) return -1;
    text[have] = 0;
    return have;
}

/* Tell whether the process still runs: it has the start time that was noted (field 22) and is no zombie. */
static int alive(long pid, unsigned long long began) {
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    if (slurp(AT_FDCWD, path, text, sizeof text) < 0) return 0;
    char *at = strrchr(text, ')');
    if (!at || strchr("ZXx", at[2])) return 0;
    at += 2;
    for (int field = 3; field < 22; field++) {
        at = strchr(at, ' ');
        if (!at) return 0;
        at++;
    }
    return strtoull(at, NULL, 10) == began;
}

/* Take the lock of the container whose directory is `folder`, as long as that takes; tell whether it is still there. */
static int locked(int root, int folder, const char *name) {
    int fd = openat(folder, "lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return 0;
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    while (fcntl(fd, F_SETLKW, &whole))
        if (errno != EINTR) return 0;
    struct stat lock, ours, now; /* the descriptor stays open: with it the lock would go */
    return !fstat(fd, &lock) && lock.st_nlink > 0 && !fstat(folder, &ours) &&
           !fstatat(root, name, &now, AT_SYMLINK_NOFOLLOW) && ours.st_dev == now.st_dev && ours.st_ino == now.st_ino;
}

/* Hand a failure that the gate told of to the interpreter. */
static void told(const char *packet, ssize_t length) {
    char number[32];
    int fd = memfd_create("told", 0);
    if (fd >= 0 && write(fd, packet, length) == length && lseek(fd, 0, SEEK_SET) == 0) {
        snprintf(number, sizeof number, "%d", fd);
        setenv("REDPAK_OCI_TOLD", number, 1);
    }
    python();
}

/* Open the gate; returns 0 when the program runs. */
static int start(int folder, long pid, unsigned long long began) {
    static char packet[MOST];
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!alive(pid, began) || faccessat(folder, "gate", F_OK, AT_SYMLINK_NOFOLLOW)) return -1;
    snprintf(to.sun_path, sizeof to.sun_path, "/proc/self/fd/%d/gate", folder);
    int end = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (end < 0 || connect(end, (struct sockaddr *)&to, sizeof to)) return -1;
    if (send(end, "!", 1, MSG_NOSIGNAL) != 1) return -1;
    ssize_t got;
    while ((got = recv(end, packet, sizeof packet, 0)) < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got > 0 && packet[0] == 'F') told(packet, got);
    return unlinkat(folder, "gate", 0) && errno != ENOENT ? -1 : 0;
}

/* Tell whether there are only files in a directory; with `remove`, take them away. */
static int files(int folder, int remove) {
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), good = 1;
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *one;
    if (!list) return 0;
    while ((one = readdir(list))) {
        if (!strcmp(one->d_name, ".") || !strcmp(one->d_name, "..")) continue;
        if (!remove)
            good &= one->d_type == DT_REG || one->d_type == DT_SOCK;
        else if (unlinkat(folder, one->d_name, 0) && errno != ENOENT)
            good = 0;
    }
    closedir(list);
    return good;
}

/* Remove an empty control group: `line` is "=path" for one of ours, "-path" for one above, which others may be in. */
static int away(const char *line) {
    if (!rmdir(line + 1) || errno == ENOENT || errno == ENODEV) return 1;
    return line[0] == '-' && (errno == EBUSY || errno == ENOTEMPTY);
}

/* Remove the control groups and the state of a container that has ended; returns 0. */
static int delete(int root, int folder, const char *name, char *groups, long pid, unsigned long long began) {
    if (alive(pid, began) || !files(folder, 0)) return -1;
    for (char *line = strtok(groups, "\n"); line; line = strtok(NULL, "\n"))
        if (!away(line)) return -1;
    unsigned int random;
    char aside[64];
    if (getrandom(&random, sizeof random, 0) != sizeof random) return -1;
    snprintf(aside, sizeof aside, "~%d.%08x", (int)getpid(), random);
    if (renameat(root, name, root, aside)) return -1;
    if (files(folder, 1) && !unlinkat(root, aside, AT_REMOVEDIR)) return 0;
    renameat(root, aside, root, name);
    return -1;
}

/* Returns the value of the option `name` that words[*at] gives, as "--name value" or "--name=value"; NULL: another. */
static const char *value(int *at, const char *name) {
    size_t length = strlen(name);
    if (strncmp(words[*at], name, length)) return NULL;
    if (words[*at][length] == '=') return words[*at] + length + 1;
    if (words[*at][length] || *at + 1 >= count) return NULL;
    return words[++*at];
}

#include "exec.h"

/* Read the options before the command; returns its place. */
static int before_command(const char **top) {
    const char *given;
    int at = 3;
    for (; at < count && words[at][0] == '-'; at++) {
        if ((given = value(&at, "--root")))
            *top = given;
        else if ((given = value(&at, "--log-format"))) {
            if (strcmp(given, "json") && strcmp(given, "text")) python();
        } else if (!value(&at, "--log") && !value(&at, "--log-level") && strcmp(words[at], "--systemd-cgroup") && strcmp(words[at], "--debug"))
            python();
    }
    if (at >= count) python();
    return at;
}

int main(int argc, char **argv) {
    words = argv;
    count = argc;
    if (argc < 3) {
        fputs("usage: redpak-quick PYTHON SCRIPT WORDS…\n", stderr);
        return 2;
    }
    int fd; /* a closed standard descriptor would become one of ours, and the program's */
    while ((fd = open("/dev/null", O_RDONLY)) >= 0 && fd <= 2) continue;
    if (fd < 0) python();
    close(fd);
    unsetenv("REDPAK_OCI_TOLD");
    const char *top = NULL, *runtime = getenv("XDG_RUNTIME_DIR"), *name;
    int at = before_command(&top);
    int what = argv[at][0]; /* s, d, e */
    if (!strcmp(argv[at], "exec"))
        name = read_words(at);
    else if (at + 2 == argc && (!strcmp(argv[at], "start") || !strcmp(argv[at], "delete")))
        name = argv[at + 1];
    else
        python();
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.");
    if (!length || name[length] || name[0] == '-' || !strcmp(name, ".") || !strcmp(name, "..")) python();
    if (!top && !geteuid() && !(runtime && runtime[0] == '/')) top = "/run/redpak-oci"; /* store.default_root */
    if (!top || !*top) python();

    static char text[MOST];
    int used = 0;
    long pid = 0;
    unsigned long long began = 0;
    int root = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int folder = root < 0 ? -1 : openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    struct stat whose; /* another user's word is nobody's, and least of all root's */
    if (folder < 0 || fstat(folder, &whose) || whose.st_uid != geteuid() || whose.st_mode & 022) python();
    if (what == 'e') return exec_in(folder);
    if (!locked(root, folder, name) || slurp(folder, "quick", text, sizeof text) < 0) python();
    if (sscanf(text, "redpak-quick 1\n%ld %llu\n%n", &pid, &began, &used) != 2 || !used || pid <= 0) python();
    if (what == 's' ? start(folder, pid, began) : delete(root, folder, name, text + used, pid, began)) python();
    return 0;
}
