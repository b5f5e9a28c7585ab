/* A disk that loses what was written to it and not synced. Loaded before libc (LD_PRELOAD) it stands under SQLite's
 * file and its write-ahead log in LOSING_DISK_DATA: whatever is written there is kept a second time, in
 * LOSING_DISK_IMAGE, but only once it has been synced. So when the process is killed, the image is what a power cut
 * would leave, if it left nothing that it need not.
 *
 * A sync takes longer than on a good disk, and while LOSING_DISK_HOLD exists it does not end: beside it, a file with
 * ".reached" at the end of its name says that one waits.
 *
 * Simpler than a disk: a file is there, or is not, from the moment it is made or removed. SQLite writes a store in no
 * way that is not here: its index of the log is shared memory, and is made again after a power cut. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_FDS = 65536, SYNC_MICROSECONDS = 2000 };

/* What happened to a file since its last sync, in order: a write of length bytes at offset; or, where length is -1,
 * that it was cut to offset bytes. */
struct op { off_t offset; ssize_t length; char *bytes; };

struct tracked {
    const char *name;
    char live[4096], image[4096];
    struct op *ops;
    size_t count, room;
    pthread_mutex_t syncing; /* held for as long as a sync takes */
};

static struct tracked files[] = {
    { .name = "coffer.db", .syncing = PTHREAD_MUTEX_INITIALIZER },
    { .name = "coffer.db-wal", .syncing = PTHREAD_MUTEX_INITIALIZER },
};
static struct tracked *of_fd[MOST_FDS];
static const char *hold;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_unlink)(const char *);

static void fail(const char *what) {
    perror(what);
    abort();
}

__attribute__((constructor)) static void begin(void) {
    const char *data = getenv("LOSING_DISK_DATA"), *image = getenv("LOSING_DISK_IMAGE");
    hold = getenv("LOSING_DISK_HOLD");
    real_open = dlsym(RTLD_NEXT, "open64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    if (!data || !image || !hold)
        fail("losing disk: a variable is missing");
    for (struct tracked *file = files; file < files + 2; file++) {
        snprintf(file->live, sizeof file->live, "%s/%s", data, file->name);
        snprintf(file->image, sizeof file->image, "%s/%s", image, file->name);
    }
}

static struct tracked *tracked_at(const char *path) {
    for (struct tracked *file = files; file < files + 2; file++)
        if (real_open && strcmp(path, file->live) == 0)
            return file;
    return NULL;
}

static struct tracked *tracked_by(int fd) {
    return fd >= 0 && fd < MOST_FDS ? __atomic_load_n(&of_fd[fd], __ATOMIC_ACQUIRE) : NULL;
}

static void write_all(int fd, const char *bytes, size_t length, off_t offset) {
    if (real_pwrite(fd, bytes, length, offset) != (ssize_t)length)
        fail("losing disk: the image cannot be written");
}

/* Where it is not there yet, all that the file has was synced before this process. */
static void make_image(struct tracked *file, int fd) {
    int image = real_open(file->image, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (image < 0)
        return;
    char bytes[65536];
    ssize_t length;
    for (off_t at = 0; (length = pread(fd, bytes, sizeof bytes, at)) > 0; at += length)
        write_all(image, bytes, length, at);
    real_close(image);
}

static void remember(struct tracked *file, struct op op) {
    pthread_mutex_lock(&lock);
    if (file->count == file->room) {
        file->room = 2 * file->room + 64;
        file->ops = realloc(file->ops, file->room * sizeof op);
    }
    file->ops[file->count++] = op;
    pthread_mutex_unlock(&lock);
}

static void wait_while_held(void) {
    char reached[4096 + 16];
    snprintf(reached, sizeof reached, "%s.reached", hold);
    for (; access(hold, F_OK) == 0; usleep(1000)) {
        int fd = real_open(reached, O_WRONLY | O_CREAT, 0600);
        if (fd >= 0)
            real_close(fd);
    }
}

static int sync_file(struct tracked *file, int fd) {
    pthread_mutex_lock(&file->syncing);
    pthread_mutex_lock(&lock);
    struct op *ops = file->ops;
    size_t count = file->count;
    file->ops = NULL;
    file->count = file->room = 0;
    for (struct op *op = ops; op < ops + count; op++) { /* as it is now: what comes later is another sync's */
        if (op->length < 0)
            continue;
        op->bytes = malloc(op->length);
        ssize_t length = pread(fd, op->bytes, op->length, op->offset);
        op->length = length < 0 ? 0 : length; /* cut off meanwhile */
    }
    pthread_mutex_unlock(&lock);
    usleep(SYNC_MICROSECONDS);
    wait_while_held();
    int image = real_open(file->image, O_WRONLY | O_CREAT, 0600);
    if (image < 0)
        fail(file->image);
    for (struct op *op = ops; op < ops + count; op++) {
        if (!op->bytes && real_ftruncate(image, op->offset) != 0)
            fail(file->image);
        if (op->bytes)
            write_all(image, op->bytes, op->length, op->offset);
        free(op->bytes);
    }
    free(ops);
    real_close(image);
    pthread_mutex_unlock(&file->syncing);
    return 0; /* nothing but this image is to outlive the process, so the machine's disk is not waited for */
}

static int open_any(const char *path, int flags, mode_t mode) {
    int fd = real_open(path, flags, mode);
    struct tracked *file = tracked_at(path);
    if (!file || fd < 0 || fd >= MOST_FDS)
        return fd;
    make_image(file, fd);
    __atomic_store_n(&of_fd[fd], file, __ATOMIC_RELEASE);
    return fd;
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    if (!real_open)
        real_open = dlsym(RTLD_NEXT, "open64");
    return open_any(path, flags, mode);
}

int close(int fd) {
    if (fd >= 0 && fd < MOST_FDS)
        __atomic_store_n(&of_fd[fd], NULL, __ATOMIC_RELEASE);
    if (!real_close)
        real_close = dlsym(RTLD_NEXT, "close");
    return real_close(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
    ssize_t written = real_pwrite(fd, bytes, length, offset);
    struct tracked *file = tracked_by(fd);
    if (file && written > 0)
        remember(file, (struct op){ offset, written, NULL });
    return written;
}

int ftruncate64(int fd, off_t length) {
    int result = real_ftruncate(fd, length);
    struct tracked *file = tracked_by(fd);
    if (file && result == 0)
        remember(file, (struct op){ length, -1, NULL });
    return result;
}

int fsync(int fd) {
    struct tracked *file = tracked_by(fd);
    return file ? sync_file(file, fd) : real_fsync(fd);
}

int fdatasync(int fd) {
    return fsync(fd);
}

int unlink(const char *path) {
    struct tracked *file = tracked_at(path);
    int result = real_unlink(path);
    if (file && result == 0)
        real_unlink(file->image);
    return result;
}
