/* Loaded before a program: while the file that STALL_DISK names is there, nothing becomes durable. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void stall(void) {
  const char *file = getenv("STALL_DISK");
  while (file && access(file, F_OK) == 0) usleep(2000);
}

int fdatasync(int fd) {
  stall();
  return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
  stall();
  return (int)syscall(SYS_fsync, fd);
}
