/* What runs in the pods: holds memory and keeps a part of one core busy, so that there is something to
 * measure. `pod MEBIBYTES PERCENT`; without arguments it only sleeps, as the pods' pause container. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void leave(int signal) {
    (void)signal;
    _exit(0);
}

static long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

int main(int argc, char **argv) {
    size_t bytes = argc > 1 ? strtoul(argv[1], NULL, 10) << 20 : 0;
    long busy_us = argc > 2 ? strtol(argv[2], NULL, 10) * 1000 : 0; /* of every 100 ms */
    /* The first process of a container ignores signals that it has no handler for. */
    signal(SIGTERM, leave);
    signal(SIGINT, leave);
    char *held = malloc(bytes + 1);
    if (held == NULL) return 1;
    memset(held, 1, bytes + 1);
    while (busy_us > 0) {
        long begin = now_us();
        while (now_us() - begin < busy_us) held[bytes]++;
        usleep(100000 - busy_us);
    }
    for (;;) pause();
}
