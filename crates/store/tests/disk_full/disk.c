/* A disk that fails on demand, in front of the C library: LD_PRELOAD loads it into a test's process.
 *
 * TIDINGS_DISK names a file. While that file exists, its first letter says how files fail:
 * f: there is no room for a file to grow. n: there is no room for any write. e: writes fail. s:
 * synchronization fails. l: writes to a database succeed, but the next synchronization fails, once for each
 * descriptor; what was there before is added to the file TIDINGS_DISK.lost, so that the test can take the writes
 * back. w: the next synchronization of a write-ahead log fails, and then the disk works again; each other
 * descriptor of it that is open reports the same when it is synchronized next, as Linux does. r: reads of a database
 * fail. h: a synchronization hangs as long as the file exists. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char mode(int fd) {
    struct stat status;
    const char *control = getenv("TIDINGS_DISK");
    if (control == NULL || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return 0;
    char letter = 0;
    long file = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    if (syscall(SYS_read, file, &letter, 1) != 1) letter = 0;
    syscall(SYS_close, file);
    return letter;
}

/* Whether the file must not get this length. */
static int fails(int fd, off_t length) {
    int before = errno;
    struct stat status;
    switch (mode(fd)) {
    case 'f':
        fstat(fd, &status);
        if (length <= status.st_size) break;
        errno = ENOSPC;
        return 1;
    case 'n':
        errno = ENOSPC;
        return 1;
    case 'e':
        errno = EIO;
        return 1;
    }
    errno = before;
    return 0;
}

#define DESCRIPTORS 1024
static _Atomic unsigned lost;
static _Atomic unsigned reported[DESCRIPTORS];

/* The descriptors that have a failure to report. */
static _Atomic char owes[DESCRIPTORS];

static int ends_with(int fd, const char *end) {
    char link[64], path[PATH_MAX];
    ssize_t size = strlen(end);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    return length > size && memcmp(path + length - size, end, size) == 0;
}

/* Whether writes to this file are lost. */
static int is_losing(int fd) { return mode(fd) == 'l' && ends_with(fd, ".db"); }

/* Lets each other descriptor of this file report a failure. */
static void let_others_report(int fd) {
    struct stat file, other;
    fstat(fd, &file);
    for (int each = 0; each < DESCRIPTORS; each++) {
        if (each == fd || fstat(each, &other) != 0) continue;
        if (other.st_dev == file.st_dev && other.st_ino == file.st_ino) owes[each] = 1;
    }
}

int close(int fd) {
    if (fd >= 0 && fd < DESCRIPTORS) owes[fd] = 0;
    return syscall(SYS_close, fd);
}

/* Keeps what is in the place of a write. */
static void keep(int fd, size_t size, off_t offset) {
    char path[PATH_MAX];
    uint64_t head[2] = {(uint64_t)offset, size};
    char *before = calloc(1, sizeof head + size);
    if (before == NULL) abort();
    memcpy(before, head, sizeof head);
    syscall(SYS_pread64, fd, before + sizeof head, size, offset);
    snprintf(path, sizeof path, "%s.lost", getenv("TIDINGS_DISK"));
    long file = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0 || syscall(SYS_write, file, before, sizeof head + size) < 0) abort();
    syscall(SYS_close, file);
    free(before);
    lost++;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    if (fails(fd, offset + (off_t)size)) return -1;
    int before = errno;
    if (is_losing(fd)) keep(fd, size, offset);
    errno = before;
    return syscall(SYS_pwrite64, fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) { return pwrite(fd, data, size, offset); }

ssize_t pread(int fd, void *data, size_t size, off_t offset) {
    if (mode(fd) == 'r' && ends_with(fd, ".db")) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, data, size, offset);
}

ssize_t pread64(int fd, void *data, size_t size, off_t offset) { return pread(fd, data, size, offset); }

ssize_t write(int fd, const void *data, size_t size) {
    off_t offset = lseek(fd, 0, SEEK_CUR);
    if (offset >= 0 && fails(fd, offset + (off_t)size)) return -1;
    return syscall(SYS_write, fd, data, size);
}

/* It needs no room: a file that grows so gets a hole. */
int ftruncate(int fd, off_t length) {
    if (mode(fd) == 'e') {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_ftruncate, fd, length);
}

int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

int posix_fallocate(int fd, off_t offset, off_t size) {
    if (fails(fd, offset + size)) return errno;
    return syscall(SYS_fallocate, fd, 0, offset, size) == 0 ? 0 : errno;
}

int posix_fallocate64(int fd, off_t offset, off_t size) { return posix_fallocate(fd, offset, size); }

static int sync_fails(int fd) {
    int before = errno;
    while (mode(fd) == 'h') usleep(10000);
    int is_new = is_losing(fd) && fd < DESCRIPTORS && reported[fd] != lost;
    if (is_new) reported[fd] = lost;
    int is_owed = fd < DESCRIPTORS && owes[fd];
    if (is_owed) owes[fd] = 0;
    int is_of_wal = mode(fd) == 'w' && ends_with(fd, "-wal") && unlink(getenv("TIDINGS_DISK")) == 0;
    if (is_of_wal) let_others_report(fd);
    if (is_new || is_owed || is_of_wal || mode(fd) == 's') {
        errno = EIO;
        return 1;
    }
    errno = before;
    return 0;
}

int fsync(int fd) { return sync_fails(fd) ? -1 : syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return sync_fails(fd) ? -1 : syscall(SYS_fdatasync, fd); }
