/* redpak-launch: start one bubblewrap sandbox and stand in for its program until that ends.
 *   redpak-launch [options] -- BWRAP COUNT BWRAP_ARG*COUNT PROGRAM ARGS...
 *   -f STAMP PATH  the file must be as it was ("dev.ino.size.mtime.ctime", "-": absent, "@TEXT": a symbolic link)
 *   -i UID:GID     the process must run as these ids.  -q  only say whether -f and -i hold: exit code 0 or 1
 *   -e WORD        a word of the fallback's command line, run when -f, -i or -o fail; the program's words are appended
 *   -x WORD        a word of the command that explains a failed start; gets bwrap's exit code and the program's words
 *   -k N           leave the caller's descriptor N (3 to 9, ascending) open; others above 2 are closed
 *   -o PATH        open PATH (O_PATH, no symbolic link anywhere in it) as number 10, 11, ...: a mount source
 *   -r PATH        the same, for reading.  -d DATA  the same, a memory file that holds DATA
 *   -c DATA        append to it (a word holds 128 KiB at most).  -m NAME  append a variable's value: no other user sees it
 *   -a WORD        one more BWRAP_ARG, behind all others.  -v NAME  one more, the value of a variable ('' if unset)
 *   -l N:SOFT:HARD a resource limit, by the kernel's number; -1 is unlimited.  -g PATH  hold a shared flock(2) on a directory
 *   -s             Landlock-scope abstract sockets and signals, where the kernel can (ABI 6)
 *   -n             bwrap's reaper stands between: the program is the first child of bwrap's child
 *   -j DIR NODE    tell the journal of events in DIR that the launch began and how it ended; NODE is written as JSON
 *   -t             the program has a session of its own, so signals from the terminal must be handed on
 * The program starts with no signal ignored or blocked; where the caller ignored SIGHUP (nohup), in a session of its own,
 * which no hangup reaches. Exit code: the program's, 128+n if signal n killed it, 125 if it never ran and there is no -x. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "launch.h"

#define BIT(n) (1UL << ((n) - 1))
static struct words { char **at; int count; } given[128], program;      /* the values of each option, by its letter */
static const sigset_t none, stop = {{ BIT(SIGTSTP) }}, caught = {{ BIT(SIGCHLD) | BIT(SIGTERM) | BIT(SIGINT) | BIT(SIGHUP)
	| BIT(SIGQUIT) | BIT(SIGUSR1) | BIT(SIGUSR2) | BIT(SIGTSTP) | BIT(SIGCONT) | BIT(SIGWINCH) | BIT(SIGTTOU) }};
static int next_fd = 10, terminal = -1, bwrap, nohup;                   /* bwrap: its pid; nohup: no SIGHUP for it */
static struct termios modes;

static _Noreturn void die(const char *act, const char *thing) {
	dprintf(2, "redpak: error: cannot %s '%s': %s\n", act, thing, strerror(errno));
	_exit(125);
}

static void place(int fd, const char *act, const char *thing) {         /* give fd the next number */
	if (fd < 0 || (fd != next_fd && (dup2(fd, next_fd) < 0 || close(fd)))) die(act, thing);
	next_fd++;
}

static int filled(int fd, const char *data, size_t size) {              /* data at its end, to be read from its start */
	return lseek(fd, 0, SEEK_END) < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) ? -1 : fd;
}

static _Noreturn void become(struct words front) {
	if (!front.count) errno = ESTALE, die("use", "this launcher");
	memcpy(front.at + front.count, program.at, (size_t)program.count * sizeof *program.at);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(front.at[0], front.at), die("start", front.at[0]);
}

static void shed(struct words keep) {   /* everything of the caller but its terminal, working directory and ids */
	int from = 3, flags, fd;
	for (int i = 0; i < keep.count; i++, from = fd + 1) {
		if (fcntl(fd = atoi(keep.at[i]), F_GETFD) < 0) die("keep descriptor", keep.at[i]);
		if (fd > from && syscall(SYS_close_range, from, fd - 1, 0)) die("close", "descriptors");
	}
	if (syscall(SYS_close_range, from, ~0U, 0)) die("close", "descriptors");
	for (int n = 1; n <= 64; n++) syscall(SYS_rt_sigaction, n, &none, NULL, 8);  /* zeros are SIG_DFL */
	for (fd = 0; fd < 3; fd++)
		if ((flags = fcntl(fd, F_GETFL)) & O_NONBLOCK) fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	if (syscall(SYS_keyctl, 1 /* JOIN_SESSION_KEYRING */, NULL) < 0 && errno != ENOSYS && errno != EPERM)
		die("make", "session keyring");                         /* ENOSYS, EPERM: nobody can use keys here */
	syscall(SYS_setgroups, 0, NULL);                                /* only root may, and only root must */
	for (fd = 0; fd < 3 && tcgetattr(fd, &modes);) fd++;
	if (fd < 3 && tcgetpgrp(fd) == getpgrp()) terminal = fd;        /* in the background it is another's to restore */
}

static void restore_terminal(void) {
	pid_t now = terminal < 0 ? -1 : tcgetpgrp(terminal);
	if (now < 0 || (now != getpgrp() && (kill(-now, 0) == 0 || errno != ESRCH))) return;  /* a live group has it */
	tcsetpgrp(terminal, getpgrp());
	tcsetattr(terminal, TCSADRAIN, &modes);
}

static _Noreturn void child(char **words, pid_t parent) {               /* becomes bwrap, with an empty environment */
	const unsigned long long scope[] = { 0, 0, 3 };                 /* abstract sockets and signals */
	int number, ruleset = given['s'].count ? (int)syscall(SYS_landlock_create_ruleset, scope, sizeof scope, 0) : -1;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent) _exit(125);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || (ruleset >= 0 && syscall(SYS_landlock_restrict_self, ruleset, 0)))
		die("scope", "signals");
	for (long long both[2], i = 0; i < given['l'].count; i++)
		if (sscanf(given['l'].at[i], "%d:%lld:%lld", &number, both, both + 1) != 3
			|| syscall(SYS_prlimit64, 0, number, both, NULL)) die("set resource limit", given['l'].at[i]);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(words[0], words, (char *[]){ NULL }), die("start", words[0]);
}

static pid_t first_child(pid_t of) {                                    /* 0 for none, -1 where /proc does not tell */
	char path[64], text[32] = "";
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", of, of);
	int fd = of > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd >= 0 && (read(fd, text, sizeof text - 1) < 0 || close(fd))) return 0;
	return fd < 0 ? -1 : atoi(text);
}

static int hand_on(unsigned long signals) {     /* 0 while the program does not run yet; process 1 hands on what hidepid hides */
	pid_t above = given['n'].count ? first_child(bwrap) : bwrap, below = first_child(above), pid = below < 0 ? above : below;
	int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1, there = fd >= 0 && first_child(above) == below;
	for (int n = 1; there && n < 32; n++)
		if (signals & BIT(n)) syscall(SYS_pidfd_send_signal, fd, pid == above && n == SIGSTOP ? SIGTSTP : n, NULL, 0);
	return (fd < 0 || close(fd) == 0) && there;
}

static int supervise(void) {                                            /* until bwrap ends; returns its wait status */
	unsigned long waiting = 0;
	for (int status, tries = 0;;) {
		siginfo_t info;
		int n = sigtimedwait(&caught, &info, waiting ? &(struct timespec){ .tv_nsec = 10000000 } : NULL);
		if (n == SIGCHLD && waitpid(bwrap, &status, WNOHANG) == bwrap) {
			if (!WIFSTOPPED(status)) return status;
			ptrace(PTRACE_CONT, bwrap, 0, status >> 16 || sigismember(&caught, WSTOPSIG(status)) ? 0L : WSTOPSIG(status));
		}                                                       /* si_code > 0: the terminal told the program, too */
		if (n > 0 && n != SIGCHLD && (n == SIGHUP ? !nohup : info.si_code <= 0 || given['t'].count))
			waiting |= BIT(n == SIGTSTP && given['t'].count ? SIGSTOP : n);
		if (waiting && hand_on(waiting)) waiting = 0;
		else if (waiting && ++tries == 500) kill(bwrap, SIGKILL);       /* 5 s: the start hangs */
		if (n == SIGTSTP)                                       /* stop with the program: the shell must see it */
			kill(getpid(), n), sigprocmask(SIG_UNBLOCK, &stop, NULL), sigprocmask(SIG_BLOCK, &stop, NULL);
	}
}

int main(int argc, char **argv) {
	char fds[2][16], text[32], said[4096] = "", *found;
	int i, fd, ends[2], stale, status, self = getpid();
	for (i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		char letter = argv[i][0] == '-' && argv[i][1] ? argv[i][1] : '?';
		struct words *to = &given[strchr("rdcmg", letter) ? 'o' : letter == 'v' ? 'a' : letter];
		int values = letter == 'f' || letter == 'j' ? 2 : !strchr("qsnt", letter);
		if (!strchr("fiqexkordcmgavlsntj", letter) || i + values >= argc) errno = EINVAL, die("understand", argv[i]);
		if (!to->at && !(to->at = calloc((size_t)argc + 2, sizeof *to->at))) die("remember", argv[i]);
		if (to == &given['o']) to->at[to->count++] = argv[i];
		for (to->count += !values; values--;) to->at[to->count++] = argv[++i];
		if (strchr("mv", letter)) to->at[to->count - 1] = getenv(argv[i]) ? getenv(argv[i]) : strchr(argv[i], '\0');
	}
	char **args = argv + i + 3, *file = argv[i + 1];
	int count = i + 3 < argc ? atoi(argv[i + 2]) : 0;
	program = (struct words){ args + count, (int)(argv + argc - args) - count };
	snprintf(text, sizeof text, "%u:%u", getuid(), getgid());
	stale = given['i'].count && strcmp(given['i'].at[0], text);
	for (i = 0; i < given['f'].count; i += 2) stale |= !fresh(given['f'].at[i], given['f'].at[i + 1]);
	if (given['q'].count) return stale;
	if (count < 2 || program.count < 1) errno = EINVAL, die("read", "the command line");
	if (stale) become(given['e']);
	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd < 3);        /* 0, 1 and 2 are always open */
	given['t'].count += nohup = signal(SIGHUP, SIG_DFL) == SIG_IGN;
	shed(given['k']);
	for (i = 0; i < given['o'].count; i += 2) {
		char option = given['o'].at[i][1], *data = given['o'].at[i + 1];
		if (option == 'd') place(memfd_create("data", 0), "make", "memory file");
		if (strchr("dcm", option) && filled(next_fd - 1, data, strlen(data)) < 0) die("fill", "memory file");
		if (!strchr("org", option)) continue;
		const unsigned long long how[] = { option == 'o' ? O_PATH : O_RDONLY, 0, 6 };    /* NO_SYMLINKS, NO_MAGICLINKS */
		fd = (int)syscall(SYS_openat2, AT_FDCWD, data, how, sizeof how);
		if (option == 'g' && !flock(fd, LOCK_SH | LOCK_NB) && fcntl(fd, F_DUPFD_CLOEXEC, 10 + given['o'].count) > 0) close(fd);
		else if ((fd < 0 || option == 'g') && given['e'].count) become(given['e']);
		else place(option == 'g' ? -1 : fd, "open", data);
	}
	/* In a file, as --args reads them: so the command line of the sandbox's first process names no path of the host. */
	fd = filled(memfd_create("args", 0), "--new-session", nohup ? sizeof "--new-session" : 0);
	fd = filled(fd, args[0], (size_t)(program.at[0] - args[0]));
	for (i = 0; i < given['a'].count; i++) fd = filled(fd, given['a'].at[i], strlen(given['a'].at[i]) + 1);
	place(fd, "hand over", "arguments");
	place(pipe2(ends, O_CLOEXEC | O_NONBLOCK) ? -1 : fcntl(ends[1], F_DUPFD, 0), "make", "pipe");
	for (i = 0; i < 2; i++) snprintf(fds[i], sizeof fds[i], "%d", next_fd - 2 + i);
	char *front[] = { file, "--json-status-fd", fds[1], "--args", fds[0], "--" };
	char **words = memcpy(program.at - 6, front, sizeof front);     /* in place of the arguments */
	sigprocmask(SIG_BLOCK, &caught, NULL);
	if ((bwrap = vfork()) <= 0) bwrap ? die("start", file) : child(words, self);
	ptrace(PTRACE_SEIZE, bwrap, NULL, PTRACE_O_EXITKILL);           /* lest a ^C that the program handles kill bwrap */
	if (given['j'].count) tell(given['j'].at, "start", -1);
	status = supervise();
	restore_terminal();
	found = read(ends[0], said, sizeof said - 1) > 0 ? strstr(said, "\"exit-code\":") : NULL;
	int code = found ? atoi(found + 12) : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	if (found || code > 128 || !given['x'].count) {                 /* > 128: a signal, before the exec */
		if (!found && code <= 128) code = 125;
		if (given['j'].count) tell(given['j'].at, "exit", code);
		return code;
	}
	snprintf(given['x'].at[given['x'].count++] = text, sizeof text, "%d", code);
	become(given['x']);
}
