/* The file tree of a sandbox: mounts that are made out of sight, then shown at places beneath the new root. For join.c. */

static int root = -1;                                                   /* the new root */
static char terminal[PATH_MAX];                                         /* the terminal on 1, beneath /dev: '' for none */
static const char *base = "/proc", *devices = "/oldroot/dev";           /* where we build (every host has it), the host's /dev */
static const char *now = "start";                                       /* the step, for messages */

static _Noreturn void die(const char *thing) {
	dprintf(2, "redpak-join: cannot %s '%s': %s\n", now, thing, strerror(errno));
	_exit(1);
}

static int ok(long result, const char *thing) {
	if (result < 0) die(thing);
	return (int)result;
}

static char near_path[4096];                                            /* the directory that was looked at last */
static int near = -1;

static int beneath(const char *path, int flags, mode_t mode) {          /* in the new root; no link on the way */
	struct open_how how = { .flags = (unsigned)flags | O_CLOEXEC, .mode = mode,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

static int above(const char *path, const char **name) {                 /* its directory, made where missing, for now */
	char part[4096];
	*name = strrchr(path, '/') + 1;
	snprintf(part, sizeof part, "%.*s", *name - path > 1 ? (int)(*name - path - 1) : 1, path);
	if (near >= 0 && !strcmp(near_path, part)) return near;
	int found = beneath(part, O_PATH | O_DIRECTORY, 0);
	if (found < 0 && errno == ENOENT) {
		const char *last;
		int at = above(part, &last);
		if (mkdirat(at, last, 0755) && errno != EEXIST) die(path);
		found = beneath(part, O_PATH | O_DIRECTORY, 0);
	}
	if (near >= 0) close(near);
	return strcpy(near_path, part), near = ok(found, path);
}

static void folder(const char *path, mode_t mode) {
	const char *name;
	int at = above(path, &name);
	if (*name && mkdirat(at, name, mode) && errno != EEXIST) die(path);
}

static void place(int tree, const char *from, const char *path, int directory) {  /* show a mount; what it lies on is made */
	const char *name;
	int at = above(path, &name), file;
	if (directory) folder(path, 0755);
	else if ((file = openat(at, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0444)) >= 0) close(file);
	else if (errno != EEXIST) die(path);
	int flags = (*from ? 0 : MOVE_MOUNT_F_EMPTY_PATH) | (*name ? 0 : MOVE_MOUNT_T_EMPTY_PATH);
	ok(syscall(SYS_move_mount, tree, from, at, name, flags), path); /* follows no link */
	if (tree >= 0) close(tree);
	if (!strncmp(near_path, path, strlen(path))) close(near), near = -1;    /* it lies under the new mount */
	if (!*name) close(root), root = ok(open("newroot", O_PATH | O_DIRECTORY | O_CLOEXEC), path);    /* and so does the root */
}

static int copy_of(const char *path) {                                  /* of a mount of ours, not yet shown anywhere */
	return ok(syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC), path);
}

static int made(const char *kind, char *data, unsigned attributes) {    /* a new file system, not yet shown anywhere */
	int context = ok(syscall(SYS_fsopen, kind, 1 /* FSOPEN_CLOEXEC */), kind), tree;
	ok(syscall(SYS_fsconfig, context, 1 /* SET_STRING */, "source", kind, 0), kind);
	for (char *one = data ? strtok(data, ",") : NULL; one; one = strtok(NULL, ",")) {
		char *value = strchr(one, '=');
		if (value) *value++ = 0;
		ok(syscall(SYS_fsconfig, context, value ? 1 : 0 /* SET_FLAG */, one, value, 0), one);
	}
	ok(syscall(SYS_fsconfig, context, 6 /* CREATE */, NULL, NULL, 0), kind);
	tree = ok(syscall(SYS_fsmount, context, 1 /* FSMOUNT_CLOEXEC */, attributes), kind);
	close(context);
	return tree;
}

static void fill(int to, int from, const char *path) {
	char some[65536];
	for (ssize_t got; (got = ok(read(from, some, sizeof some), path)) > 0;)
		for (ssize_t done = 0; done < got;) done += ok(write(to, some + done, (size_t)(got - done)), path);
	close(from), close(to);
}

static int with(int tree, unsigned attributes, const char *path) {      /* for it and all beneath it */
	struct mount_attr more = { .attr_set = attributes };
	ok(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &more, sizeof more), path);
	return tree;
}

static void covered(int from, const char *path) {                       /* a file of ours over what is there */
	int to = ok(open("data", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644), path);
	fill(to, from, path);
	int tree = copy_of("data");
	place(with(tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, path), "", path, 0), unlink("data");
}

static void show(const char *source, const char *path, int only) {      /* of the host; no component may be a link */
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	struct stat there;
	char at[PATH_MAX + 16];
	snprintf(at, sizeof at, "/oldroot%s", source);
	int from = ok(syscall(SYS_openat2, AT_FDCWD, at, &how, sizeof how), source);
	int tree = ok(syscall(SYS_open_tree, from, "", OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE), source);
	with(tree, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (only ? MOUNT_ATTR_RDONLY : 0), source);
	ok(fstat(from, &there), source), close(from);
	place(tree, "", path, S_ISDIR(there.st_mode));
}

static void node(const char *name, const char *path) {                  /* a device file of the host */
	char at[PATH_MAX + 16];
	struct stat there, out;
	snprintf(at, sizeof at, "%s/%s", devices, name);
	if (*name) { place(with(copy_of(at), MOUNT_ATTR_NOSUID, path), "", path, 0); return; }
	snprintf(at, sizeof at, "%s/%s", devices, terminal);
	if (!*terminal || fstat(1, &out) || stat(at, &there) || !S_ISCHR(there.st_mode) || there.st_rdev != out.st_rdev) return;
	place(with(copy_of(at), MOUNT_ATTR_NOSUID, path), "", path, 0);
}

static void procfs(const char *path) {                                  /* what ids of the host could write by mode alone is read-only */
	static const char *const names[] = { "sys", "sysrq-trigger", "irq", "bus" };
	place(made("proc", NULL, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC), "", path, 1);
	for (unsigned n = 0; n < sizeof names / sizeof *names; n++) {
		char at[PATH_MAX + 16];
		struct stat there;
		snprintf(at, sizeof at, "%s/%s", strcmp(path, "/") ? path + 1 : ".", names[n]);
		if (faccessat(root, at, W_OK, 0) || fstatat(root, at, &there, AT_SYMLINK_NOFOLLOW)) continue;
		int tree = ok(syscall(SYS_open_tree, root, at, OPEN_TREE_CLONE | O_CLOEXEC), path);
		snprintf(at, sizeof at, "%s/%s", strcmp(path, "/") ? path : "", names[n]);
		place(with(tree, MOUNT_ATTR_RDONLY, path), "", at, S_ISDIR(there.st_mode));
	}
}
