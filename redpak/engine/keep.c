/* redpak-keep: keep the mount namespace that it was started in, for redpak-join.
 *   redpak-keep SOCKET WATCH FOLDER NAME [u]
 * SOCKET listens; whoever connects as the same user gets the user and mount namespace and an 'u' where the user namespace
 * is to be entered as well. Ends on SIGTERM, or when the inotify descriptor WATCH tells of a change; then it takes NAME,
 * unless that is another's by now, out of the directory FOLDER. All three are descriptors. Expects a procfs of its own
 * at /.pin/proc. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int own(const char *kind) {
	char path[64];
	snprintf(path, sizeof path, "/.pin/proc/self/ns/%s", kind);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) dprintf(2, "redpak-keep: cannot open '%s': %s\n", path, strerror(errno)), exit(1);
	return fd;
}

static void give(int door, int *fds, const char *said) {                /* to whoever is next at the door */
	struct ucred who;
	socklen_t size = sizeof who;
	union { char room[CMSG_SPACE(2 * sizeof *fds)]; struct cmsghdr head; } control = { 0 };
	struct iovec some = { (void *)said, 1 };
	struct msghdr message = { .msg_iov = &some, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	int fd = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) return;
	control.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(2 * sizeof *fds), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.head), fds, 2 * sizeof *fds);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 && who.uid == geteuid()) sendmsg(fd, &message, MSG_NOSIGNAL);
	close(fd);
}

int main(int argc, char **argv) {
	if (argc < 5) return 2;
	int fds[] = { own("user"), own("mnt") };
	struct stat ours, there;
	if (fstatat(atoi(argv[3]), argv[4], &ours, AT_SYMLINK_NOFOLLOW)) return 1;
	sigset_t end;
	sigemptyset(&end), sigaddset(&end, SIGTERM), sigaddset(&end, SIGINT), sigaddset(&end, SIGHUP);
	sigprocmask(SIG_BLOCK, &end, NULL), prctl(PR_SET_DUMPABLE, 0);
	struct pollfd at[] = {{ .fd = atoi(argv[1]), .events = POLLIN }, { .fd = atoi(argv[2]), .events = POLLIN },
		{ .fd = signalfd(-1, &end, SFD_CLOEXEC), .events = POLLIN }};
	while (poll(at, 3, -1) < 0 || !(at[1].revents | at[2].revents))
		if (at[0].revents) give(at[0].fd, fds, argc > 5 ? "u" : "-");
	if (!fstatat(atoi(argv[3]), argv[4], &there, AT_SYMLINK_NOFOLLOW) && there.st_ino == ours.st_ino && there.st_dev == ours.st_dev)
		unlinkat(atoi(argv[3]), argv[4], 0);
	return 0;
}
