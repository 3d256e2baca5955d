/* The file of `exec --process` (runtime-spec, config.md, Process) as orders: what is usual in it, else Python.
 *
 * What it says replaces the container's own; capabilities, limits and oomScoreAdj that it does not name stay. It has
 * to be ASCII, with each member once: then there is one way to read it (RFC 8259).
 */
static char *json; /* the next character; strings are decoded in place */

static int next(char wanted) {
    json += strspn(json, " \t\r\n");
    if (*json != wanted) return 0;
    json++;
    return 1;
}

static void want(char wanted) {
    if (!next(wanted)) python();
}

/* Tell whether a list goes on behind its `number`th element. */
static int element(int number) {
    if (next(']')) return 0;
    if (number) want(',');
    return 1;
}

static char *string(void) {
    want('"');
    char *from = json, *to = json, *begin = json;
    for (; *from != '"'; from++) {
        if (*from < 0x20) python(); /* also what is not ASCII, and the end */
        if (*from != '\\') {
            *to++ = *from;
            continue;
        }
        static const char names[] = "\"\\/bfnrt", mean[] = "\"\\/\b\f\n\r\t";
        const char *at = *++from ? strchr(names, *from) : NULL;
        if (at) {
            *to++ = mean[at - names];
            continue;
        }
        unsigned code = 0;
        if (*from != 'u' || strspn(from + 1, "0123456789abcdefABCDEF") < 4) python();
        for (int i = 1; i <= 4; i++) code = code * 16 + (from[i] <= '9' ? from[i] - '0' : (from[i] | 32) - 'a' + 10);
        if (!code || code > 0x7f) python();
        *to++ = code;
        from += 4;
    }
    json = from + 1;
    *to = 0;
    return begin;
}

/* Return the next member's name, NULL behind the last of an object. `seen` keeps those of `all` that were there. */
static const char *member(const char *const *all, unsigned *seen) {
    if (next('}')) return NULL;
    if (*seen) want(',');
    char *name = string();
    want(':');
    for (int i = 0; all[i]; i++)
        if (!strcmp(all[i], name) && !(*seen >> i & 1)) {
            *seen |= 1U << i;
            return all[i];
        }
    python(); /* twice, or unknown */
}

static unsigned long long number(unsigned long long most) {
    json += strspn(json, " \t\r\n");
    size_t length = strspn(json, "0123456789");
    char *end;
    errno = 0;
    unsigned long long value = strtoull(json, &end, 10);
    if (!length || errno || value > most || (*json == '0' && length > 1) || strchr(".eE", *end)) python();
    json = end;
    return value;
}

static int truth(void) {
    json += strspn(json, " \t\r\n");
    int yes = !strncmp(json, "true", 4);
    if (!yes && strncmp(json, "false", 5)) python();
    json += 5 - yes;
    return yes;
}

static void user(void) {
    static const char *const all[] = {"uid", "gid", "umask", "additionalGids", NULL};
    unsigned long long uid = 0, gid = 0;
    unsigned seen = 0;
    char both[64];
    want('{');
    for (const char *name; (name = member(all, &seen));) {
        if (name == all[0])
            uid = number(UINT32_MAX - 1);
        else if (name == all[1])
            gid = number(UINT32_MAX - 1);
        else if (name == all[2])
            order_number('m', number(0777));
        else {
            want('[');
            for (int i = 0; element(i); i++) order_number('g', number(UINT32_MAX - 1));
        }
    }
    snprintf(both, sizeof both, "%llu %llu", uid, gid);
    order('i', both);
}

static unsigned long long capability(const char *name) {
    static const char *const all[] = {
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
        "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
        "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
        "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
        "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
        "CHECKPOINT_RESTORE"}; /* capabilities(7), by their numbers */
    if (strncmp(name, "CAP_", 4)) python();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i], name + 4)) return 1ULL << i;
    python();
}

static void capabilities(void) {
    static const char *const all[] = {"bounding", "effective", "permitted", "inheritable", "ambient", NULL};
    unsigned long long sets[5] = {0};
    unsigned seen = 0;
    char text[128];
    want('{');
    for (const char *name; (name = member(all, &seen));) {
        int set = 0;
        while (all[set] != name) set++;
        want('[');
        for (int i = 0; element(i); i++) sets[set] |= capability(string());
    }
    if (sets[1] & ~sets[2] || sets[4] & ~(sets[2] & sets[3])) python(); /* there is something to warn of */
    snprintf(text, sizeof text, "%llx %llx %llx %llx %llx", sets[0], sets[1], sets[2], sets[3], sets[4]);
    order('b', text);
}

static void limits(void) {
    static const char *const all[] = {"type", "soft", "hard", NULL};
    static const char *const kinds[] = {"CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS",
                                        "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"}; /* quick.py */
    unsigned had = 0;
    want('[');
    for (int i = 0; element(i); i++) {
        unsigned long long both[2] = {0};
        unsigned seen = 0;
        size_t kind = sizeof kinds / sizeof *kinds;
        char text[64];
        want('{');
        for (const char *name; (name = member(all, &seen));) {
            if (name == all[0]) {
                char *said = string();
                if (strncmp(said, "RLIMIT_", 7)) python();
                for (kind = 0; kind < sizeof kinds / sizeof *kinds && strcmp(kinds[kind], said + 7);) kind++;
            } else {
                both[name == all[2]] = number(UINT64_MAX);
            }
        }
        if (seen != 7 || kind == sizeof kinds / sizeof *kinds || both[0] > both[1] || had >> kind & 1) python();
        had |= 1U << kind;
        snprintf(text, sizeof text, "%zu %llu %llu", kind, both[0], both[1]);
        order('r', text);
    }
}

static void strings(char kind, int *home) {
    want('[');
    for (int i = 0; element(i); i++) {
        char *one = string();
        if (kind == 'e' && (*one == '=' || !strchr(one, '='))) python();
        if (kind == 'a' && !i && !*one) python();
        run.program |= kind == 'a';
        if (!strncmp(one, "HOME=", 5)) *home = 1;
        order(kind, one);
    }
}

/* Order what the file says. Returns the letters of what it replaces in the container's own. */
static const char *document(const char *path) {
    static const char *const all[] = {"args", "env", "cwd", "user", "capabilities", "rlimits", "noNewPrivileges",
                                      "terminal", "oomScoreAdj", "apparmorProfile", "selinuxLabel", NULL};
    static char text[MOST], replaced[] = "ceighmnbro";
    unsigned seen = 0;
    int home = 0, unused = 0;
    struct stat at;
    if (lstat(path, &at) || !S_ISREG(at.st_mode)) python(); /* others can be read once only */
    ssize_t length = fit(slurp(AT_FDCWD, path, text, sizeof text));
    if ((ssize_t)strlen(text) != length) python();
    json = text;
    want('{');
    for (const char *name; (name = member(all, &seen));) {
        if (name == all[0])
            strings('a', &unused);
        else if (name == all[1])
            strings('e', &home);
        else if (name == all[2]) {
            char *cwd = string();
            if (*cwd != '/') python();
            order('c', cwd);
        } else if (name == all[3])
            user();
        else if (name == all[4])
            capabilities();
        else if (name == all[5])
            limits();
        else if (name == all[6]) {
            if (truth()) order('n', "");
        } else if (name == all[7]) {
            if (truth()) python();
        } else if (name == all[8]) {
            int minus = next('-');
            long score = number(1000);
            order_number('o', minus ? -score : score);
        } else if (*string())
            python();
    }
    json += strspn(json, " \t\r\n");
    if (*json || (seen & 5) != 5 || !run.program) python();
    if (!(seen & 8)) order('i', "0 0");
    if (!home) order('h', "");
    char *to = replaced + 7; /* the last three are kept where it does not name them */
    if (seen & 16) *to++ = 'b';
    if (seen & 32) *to++ = 'r';
    if (seen & 256) *to++ = 'o';
    *to = 0;
    return replaced;
}
