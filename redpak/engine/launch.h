/* What launch.c asks of its inputs, and what it tells the journal of events (redpak/state/journal.py). */

#include <time.h>

static int fresh(const char *known, const char *path) {
	struct stat s;
	char now[4200] = "-";
	if (*known == '@') *now = readlink(path, now + 1, sizeof now - 2) > 0 ? '@' : '-';
	else if (stat(path, &s) == 0)
		snprintf(now, sizeof now, "%lu.%lu.%ld.%ld.%ld", s.st_dev, s.st_ino, s.st_size,
			s.st_mtim.tv_sec * 1000000000L + s.st_mtim.tv_nsec, s.st_ctim.tv_sec * 1000000000L + s.st_ctim.tv_nsec);
	else if (errno != ENOENT && errno != ENOTDIR) return 0;
	return strcmp(known, now) == 0;
}

static unsigned long long ticks(void) {                                 /* when we started (proc_pid_stat(5)) names us, with our number */
	char said[1024] = "", *at;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	if (fd < 0) return 0;
	if (read(fd, said, sizeof said - 1) < 0) *said = 0;
	close(fd), at = strrchr(said, ')');
	for (int n = 0; at && n < 20; n++) at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}

static int journal(int folder) {                                        /* to append to; a long one is put aside first */
	enum { MOST = 1 << 20, FLAGS = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC };
	struct stat at, there;
	int fd = openat(folder, "events", FLAGS, 0600);
	if (fd < 0 || fstat(fd, &at) || at.st_size <= MOST || flock(fd, LOCK_EX | LOCK_NB)) return fd;
	if (fstatat(folder, "events", &there, AT_SYMLINK_NOFOLLOW) || at.st_ino != there.st_ino) return fd;      /* somebody else just did */
	renameat(folder, "events", folder, "events.1"), close(fd);
	return openat(folder, "events", FLAGS, 0600);
}

/* One line in one write(2). That it cannot be written is no reason not to start; nothing is made for that, and nothing
 * written where others could change it. `to`: the directory, and the node as JSON has it. code: -1 for none. */
static void tell(char **to, const char *event, int code) {
	char line[16384], ended[32] = "";
	struct stat at;
	struct timespec now;
	int folder = *to[0] == '/' ? open(to[0], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1, fd = -1, size;
	if (folder < 0) return;
	if (!fstat(folder, &at) && at.st_uid == geteuid() && !(at.st_mode & 077)) fd = journal(folder);
	if (code >= 0) snprintf(ended, sizeof ended, ", \"code\": %d", code);
	clock_gettime(CLOCK_REALTIME, &now);
	size = snprintf(line, sizeof line, "{\"time\": %lld.%06ld, \"event\": \"%s\", \"node\": %s, \"pid\": %d, \"ticks\": %llu%s}\n",
		(long long)now.tv_sec, now.tv_nsec / 1000, event, to[1], getpid(), ticks(), ended);
	if (fd >= 0 && size < (int)sizeof line) (void)!write(fd, line, (size_t)size);
	if (fd >= 0) close(fd);
	close(folder);
}
