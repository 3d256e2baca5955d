/* redpak-join: make a sandbox and start a program in it, or start it in a tree of mounts that was prepared before.
 * For `redpak-launch` and Python's supervisor it is one more bubblewrap, told in the same way:
 *   redpak-join --json-status-fd N --args FD -- PROGRAM ARGS...
 * FD holds options, each word with a NUL; those that bubblewrap has too mean the same. In order:
 *   --pin SOCKET    the keeper (keep.c), which hands out its namespaces.  --unshare FLAGS   CLONE_NEW* (hexadecimal)
 *   --same SOURCE   the host's SOURCE must be what was prepared at /.pin/N, N = 0, 1, …: else there is no keeper for us
 *   --dir PATH MODE   --tmpfs PATH DATA   --devpts PATH DATA   --proc PATH   --mqueue PATH   --symlink TARGET PATH
 *   --bind SOURCE PATH   --ro-bind SOURCE PATH   the host's SOURCE, with all that is mounted beneath it
 *   --move N PATH   what was prepared at /.pin/N.  --node NAME PATH   the host's /dev/NAME, '': the terminal on 1
 *   --file FD PATH MODE   a new file with the content of FD.  --data FD PATH   the same, read-only over what is there
 *   --remount-ro PATH   --lock-file PATH   --setenv NAME VALUE   --unsetenv NAME   --hostname NAME   --chdir PATH
 *   --seccomp FD   --new-session   --caps MASK (kept ones)   --userns UID GID   these ids, and nobody makes another
 * PATHs are found beneath the new root, without any symbolic link. Exit code: the program's, 128+n when signal n ended
 * it, 77 when there is no keeper (any more), 1 when something else failed; "exit-code" is said on N if the program ran. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tree.h"

static char **words, **beyond;                                          /* what is to be done, and its end */
static int proc, status = -1, lifeline[2], result[2], tied;
enum { MOST = 1000 };                                                   /* binds */
static struct stat sources[MOST];
static int count;
static uid_t uid;
static gid_t gid;
static struct { char *cwd, *caps, *uid, *gid; int filter, session; } asked = { .filter = -1 };

static char *word(void) {
	if (words == beyond) errno = EINVAL, die("the next word");
	return *words++;
}

static void die_with_parent(void) {                                     /* new rights make the kernel forget it */
	struct pollfd above = { .fd = lifeline[0], .events = POLLIN };
	if (tied && (prctl(PR_SET_PDEATHSIG, SIGKILL) || (poll(&above, 1, 0) && above.revents & POLLHUP))) _exit(1);
}

static void step(char *act) {
	char *one, *path;
	now = act;
	if (!strcmp(act, "--dir")) path = word(), folder(path, (mode_t)strtoul(word(), NULL, 8));
	else if (!strcmp(act, "--tmpfs")) path = word(), place(made("tmpfs", word(), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV), "", path, 1);
	else if (!strcmp(act, "--proc")) procfs(word());
	else if (!strcmp(act, "--mqueue")) place(made("mqueue", NULL, 0), "", word(), 1);
	else if (!strcmp(act, "--devpts")) path = word(), place(made("devpts", word(), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC), "", path, 1);
	else if (!strcmp(act, "--node")) one = word(), node(one, word());
	else if (!strcmp(act, "--hostname")) one = word(), ok(sethostname(one, strlen(one)), one);
	else if (!strcmp(act, "--setenv")) one = word(), ok(setenv(one, word(), 1), one);
	else if (!strcmp(act, "--chdir")) asked.cwd = word();
	else if (!strcmp(act, "--caps")) asked.caps = word();
	else if (!strcmp(act, "--seccomp")) asked.filter = atoi(word());
	else if (!strcmp(act, "--new-session")) asked.session = 1;
	else if (!strcmp(act, "--unsetenv")) unsetenv(word());
	else if (!strcmp(act, "--userns")) asked.uid = word(), asked.gid = word();
	else if (!strcmp(act, "--move")) {
		int number = atoi(word());
		char at[64];
		snprintf(at, sizeof at, "/.pin/%d", number);
		place(AT_FDCWD, at, word(), number < count && S_ISDIR(sources[number].st_mode));
	} else if (!strcmp(act, "--bind") || !strcmp(act, "--ro-bind")) {
		one = word(), show(one, word(), act[2] == 'r');
	} else if (!strcmp(act, "--symlink")) {
		const char *target = word(), *name;
		int at = above(path = word(), &name);
		ok(symlinkat(target, at, name), path);
	} else if (!strcmp(act, "--file")) {
		int from = atoi(word());
		const char *name;
		above(path = word(), &name);
		int to = ok(beneath(path, O_CREAT | O_EXCL | O_WRONLY, 0600), path);
		ok(fchmod(to, (mode_t)strtoul(word(), NULL, 8)), path), fill(to, from, path);
	} else if (!strcmp(act, "--data")) {
		int from = atoi(word());
		covered(from, word());
	} else if (!strcmp(act, "--remount-ro")) {
		struct mount_attr more = { .attr_set = MOUNT_ATTR_RDONLY };
		path = word();
		int at = ok(beneath(path, O_PATH, 0), path);
		ok(syscall(SYS_mount_setattr, at, "", AT_EMPTY_PATH, &more, sizeof more), path), close(at);
	} else if (!strcmp(act, "--lock-file")) {
		struct flock shared = { .l_type = F_RDLCK };
		path = word();
		int at = ok(beneath(path, O_RDONLY, 0), path);
		ok(fcntl(at, F_SETLK, &shared), path);             /* held for as long as we have it open */
	} else errno = EINVAL, die(act);
}

/* --- rights -------------------------------------------------------------------------------------------------- */

static void put(const char *path, const char *text) {                   /* the host's procfs, opened before we left */
	int fd = ok(openat(proc, path, O_WRONLY | O_CLOEXEC), path);
	ok(write(fd, text, strlen(text)), path), close(fd);
}

static void ids(uid_t inside, uid_t outside, gid_t group, gid_t host_group) {   /* of a user namespace that we are in */
	char text[64];
	die_with_parent(), put("self/setgroups", "deny");
	snprintf(text, sizeof text, "%u %u 1\n", inside, outside), put("self/uid_map", text);
	snprintf(text, sizeof text, "%u %u 1\n", group, host_group), put("self/gid_map", text);
}

static void rights(void) {
	now = "drop rights";
	if (asked.uid) {
		uid_t me = geteuid(), mine = getegid();
		ok(unshare(CLONE_NEWUSER), "user namespace"), ids(me, me, mine, mine);
		put("sys/user/max_user_namespaces", "1");               /* one more below, and none below that */
		ok(unshare(CLONE_NEWUSER), "user namespace"), ids((uid_t)strtoul(asked.uid, NULL, 10), me, (gid_t)strtoul(asked.gid, NULL, 10), mine);
	}
	unsigned long long keep = asked.caps ? strtoull(asked.caps, NULL, 16) : 0;
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2];
	ok(syscall(SYS_capget, &header, sets), "capabilities");
	keep &= sets[0].permitted | (unsigned long long)sets[1].permitted << 32;        /* "all" are all that root has here */
	for (int n = 0; n < 2; n++) sets[n].effective = sets[n].permitted = sets[n].inheritable = (__u32)(keep >> 32 * n);
	for (unsigned long n = 0; prctl(PR_CAPBSET_READ, n) >= 0; n++)
		if (!(keep >> n & 1) && prctl(PR_CAPBSET_DROP, n) && errno != EPERM) die("bounding set");
	ok(syscall(SYS_capset, &header, sets), "capabilities"), die_with_parent();
	for (unsigned long n = 0; n < 64; n++)
		if (keep >> n & 1) ok(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, n, 0, 0), "ambient set");
	ok(prctl(PR_SET_DUMPABLE, 0), "memory");                        /* our descriptors are not the program's */
}

static struct sock_fprog filter;

static void load(int from) {                                            /* a whole filter, or no program */
	static struct sock_filter code[BPF_MAXINSNS + 1];
	ssize_t size = ok(read(from, code, sizeof code), "filter");
	if (size == 0 || size % (ssize_t)sizeof *code || size == sizeof code) errno = EINVAL, die("filter");
	filter = (struct sock_fprog){ .len = (unsigned short)(size / (ssize_t)sizeof *code), .filter = code };
	close(from);
}

static void confine(void) {
	if (asked.filter >= 0) ok(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), "system calls");
}

/* --- the processes ------------------------------------------------------------------------------------------- */

static int code_of(int ended) {
	return WIFSIGNALED(ended) ? 128 + WTERMSIG(ended) : WEXITSTATUS(ended);
}

static void become(char **program) {                                    /* as bubblewrap does: what has no format is a shell's */
	char *all = getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin", path[PATH_MAX] = "", **words = program;
	execvp(program[0], program);
	if (errno != ENOEXEC) return;
	for (size_t size; !strchr(program[0], '/') && *path == 0; all += size + 1) {
		size = strcspn(all, ":");
		snprintf(path, sizeof path, "%.*s/%s", size ? (int)size : 1, size ? all : ".", program[0]);
		if (access(path, X_OK)) *path = 0;
		if (!all[size]) break;
	}
	while (*words) words++;
	char *shell[words - program + 2];
	memcpy(shell + 2, program + 1, (size_t)(words - program) * sizeof *shell);
	shell[0] = "/bin/sh", shell[1] = *path ? path : program[0];
	execv(shell[0], shell), errno = ENOEXEC;
}

static void loopback(void) {
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = ok(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "lo");
	ok(ioctl(fd, SIOCSIFFLAGS, &lo), "lo"), close(fd);
}

static pid_t started;                                                   /* the program, for process 1 */

static void hand_on(int number, siginfo_t *from, void *context) {       /* what is sent to process 1 from outside: pid 0 is nobody in here */
	(void)context;
	if (from->si_code <= 0 && !from->si_pid) kill(started, number == SIGTSTP && asked.session ? SIGSTOP : number);
}

static _Noreturn void init(char **program, char *cwd, int fresh, const sigset_t *mask) {     /* process 1: makes all, reaps all */
	int ended = 0, ends[2];
	now = "prepare", die_with_parent();
	if (fresh & CLONE_NEWUSER) ids(0, uid, 0, gid);
	if (fresh & CLONE_NEWNET) loopback();
	ok(mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL), "/");
	root = ok(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), "/");
	place(made("tmpfs", NULL, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV), "", base, 1);
	ok(chdir(base), base), ok(mkdir("newroot", 0755), "newroot");
	int top = copy_of("newroot");
	ok(syscall(SYS_move_mount, top, "", AT_FDCWD, "newroot", MOVE_MOUNT_F_EMPTY_PATH), "newroot"), close(top);
	if (*devices == '/' && devices[1] == 'o')                       /* nothing of the host may lie under what we mount */
		ok(mkdir("oldroot", 0755), "oldroot"), ok(syscall(SYS_pivot_root, ".", "oldroot"), base), ok(chdir("/"), "/");
	close(root), close(near), near = -1, root = ok(open("newroot", O_PATH | O_DIRECTORY | O_CLOEXEC), "newroot");
	mode_t before = umask(0);
	while (words < beyond) step(word());
	umask(before);
	now = "enter";
	ok(fchdir(root), "/"), ok(syscall(SYS_pivot_root, ".", "."), "/"), ok(umount2(".", MNT_DETACH), "/"), ok(chdir("/"), "/");
	if (asked.filter >= 0) load(asked.filter);
	if (asked.session) ok(setsid(), "session");
	rights();
	now = "go to";
	if (asked.cwd) ok(chdir(asked.cwd), asked.cwd);
	else if ((!cwd || chdir(cwd)) && (!getenv("HOME") || chdir(getenv("HOME")))) ok(chdir("/"), "/");
	setenv("PWD", (cwd = getcwd(NULL, 0)) ? cwd : "/", 1);
	now = "start";
	ok(pipe2(ends, O_CLOEXEC), "pipe");
	started = ok(fork(), program[0]);
	if (started == 0) {
		syscall(SYS_close_range, 3, ends[1] - 1, 0), syscall(SYS_close_range, ends[1] + 1, ~0U, 0);
		ok(sigprocmask(SIG_SETMASK, mask, NULL), "signals"), confine(), become(program);
		dprintf(2, "redpak-join: cannot start '%s': %s\n", program[0], strerror(errno));
		(void)!write(ends[1], "", 1), _exit(1);
	}
	close(ends[1]), close(root), close(proc), close(lifeline[0]);
	char said;
	int failed = read(ends[0], &said, 1) == 1;
	const int told[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGWINCH };
	for (unsigned n = 0; n < sizeof told / sizeof *told; n++)
		ok(sigaction(told[n], &(struct sigaction){ .sa_sigaction = hand_on, .sa_flags = SA_SIGINFO }, NULL), "signals");
	confine(), sigprocmask(SIG_SETMASK, mask, NULL);
	for (pid_t one; (one = wait(&ended)) != started;)
		if (one < 0 && errno != EINTR) _exit(1);
	ended = failed ? 1 : code_of(ended);
	if (!failed) dprintf(status, "{ \"exit-code\": %d }\n", ended);
	(void)!write(result[1], &ended, sizeof ended), _exit(ended);
}

static void pinned(const char *path) {                                  /* enter what the keeper has prepared */
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct ucred keeper;
	socklen_t size = sizeof keeper;
	union { char room[CMSG_SPACE(2 * sizeof(int))]; struct cmsghdr head; } control;
	char said;
	struct iovec some = { &said, 1 };
	struct msghdr message = { .msg_iov = &some, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	int fd = ok(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), path), got[2];
	struct timeval patience = { .tv_sec = 10 };                     /* with one that is stopped */
	ok(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), path);
	ok(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), path);
	int at = open(path, O_PATH | O_CLOEXEC);                        /* an address is short (unix(7)), a path may be long */
	if (at < 0) _exit(77);
	snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", at);
	if (connect(fd, (struct sockaddr *)&address, sizeof address)) _exit(77);
	close(at);
	ok(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &keeper, &size), path);
	if (keeper.uid != geteuid()) errno = EPERM, die(path);
	if (recvmsg(fd, &message, MSG_CMSG_CLOEXEC) != 1) _exit(77);    /* it ended before it came to us */
	if (!CMSG_FIRSTHDR(&message) || CMSG_FIRSTHDR(&message)->cmsg_len != CMSG_LEN(sizeof got))
		errno = EPROTO, die(path);
	memcpy(got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof got);
	/* It is not for us where we are in another user namespace, in which we have the same id. */
	if ((said == 'u' && setns(got[0], CLONE_NEWUSER)) || setns(got[1], CLONE_NEWNS)) _exit(77);
	close(got[0]), close(got[1]), close(fd);
}

static int entered(void) {                                              /* to begin with; what is new for the sandbox */
	const char *act = word(), *keeper = NULL;
	char at[64];
	if (!strcmp(act, "--pin")) keeper = word(), act = word();
	if (strcmp(act, "--unshare")) errno = EINVAL, die("the words");
	int fresh = (int)strtol(word(), NULL, 16);
	for (; words < beyond && !strcmp(*words, "--same") && count < MOST; words++, words++)
		if (stat(words[1], &sources[count++])) _exit(77);
	if (!keeper) return CLONE_NEWNS | fresh;
	pinned(keeper), base = "/.new", devices = "/.pin/dev";
	for (int n = 0; n < count; n++) {                               /* is it still what was prepared? */
		struct stat there;
		snprintf(at, sizeof at, "/.pin/%d", n);
		if (stat(at, &there) || there.st_ino != sources[n].st_ino || there.st_dev != sources[n].st_dev) _exit(77);
	}
	return CLONE_NEWNS | fresh;
}

int main(int argc, char **argv) {
	int i = 1, ended;
	sigset_t every, mask;
	for (; i + 1 < argc && strcmp(argv[i], "--"); i += 2)
		if (!strcmp(argv[i], "--json-status-fd")) status = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--args")) {
			struct stat at;
			int fd = atoi(argv[i + 1]);
			ok(fstat(fd, &at), "arguments");
			char *data = calloc((size_t)at.st_size + 1, 1);
			if (!data || read(fd, data, (size_t)at.st_size) != at.st_size) die("arguments");
			words = beyond = calloc((size_t)at.st_size + 1, sizeof *words);
			for (char *c = data; c < data + at.st_size; c += strlen(c) + 1) *beyond++ = c;
			close(fd);
		}
	char **program = argv + i + 1, *cwd = getcwd(NULL, 0);
	while (words < beyond && !strcmp(*words, "--new-session")) words++, asked.session = 1;
	if (i + 1 >= argc) errno = EINVAL, die("the command line");
	prctl(PR_GET_PDEATHSIG, &tied);
	ok(pipe2(lifeline, O_CLOEXEC), "pipe"), ok(pipe2(result, O_CLOEXEC), "pipe"), ok(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "new privileges");
	if (isatty(1) && ttyname(1) && !strncmp(ttyname(1), "/dev/", 5)) snprintf(terminal, sizeof terminal, "%s", ttyname(1) + 5);
	proc = ok(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), "/proc");
	pid_t parent = getppid();
	uid = geteuid(), gid = getegid();
	sigfillset(&every), ok(sigprocmask(SIG_BLOCK, &every, &mask), "signals");       /* a ^C is for the program, not for us */
	int fresh = entered();
	if (tied && (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)) _exit(1);
	now = "start";
	pid_t first = ok(syscall(SYS_clone, fresh | SIGCHLD, NULL, NULL, NULL, NULL), "process 1");
	if (first == 0) close(lifeline[1]), init(program, cwd, fresh, &mask);
	dprintf(status, "{ \"child-pid\": %d }\n", first);
	close(lifeline[0]), close(result[1]);
	/* The code as soon as it is known: the kernel takes the sandbox apart without us. */
	while ((i = (int)read(result[0], &ended, sizeof ended)) < 0 && errno == EINTR);
	if (i == sizeof ended) return ended;
	while (waitpid(first, &ended, 0) < 0 && errno == EINTR);
	return code_of(ended);
}
