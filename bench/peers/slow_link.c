/* A wire between two network namespaces that takes its time: what one TUN device sends comes out of the other after the delay.
 *
 *     slow_link NAMESPACE NAMESPACE DELAY_US
 *
 * Makes the device "wire" in each, prints "ready", and ends when its input does. For kernels without netem; the rate is tc's matter
 * (tbf on the devices, so that a sender's queue is the kernel's own). A packet is never reordered; one that comes while ROOM others are on
 * their way is dropped, as a switch drops it. At the end it prints the packets that each way took and that were dropped. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1024, PACKET_BYTES = 65536 };

typedef struct packet {
    int64_t due_ns;
    size_t size;
    unsigned char bytes[PACKET_BYTES];
} packet;

/* What is on its way, oldest first: n packets from first on, in a ring. */
typedef struct way {
    int from, to;
    packet *packets; /* [ROOM] */
    size_t first, n;
    uint64_t n_taken, n_dropped;
} way;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int fail(const char *what)
{
    fprintf(stderr, "slow_link: %s: %s\n", what, strerror(errno));
    return -1;
}

/* A device stays in the namespace that its maker was in. */
static int open_device(const char *name)
{
    char path[256];
    struct ifreq request = {.ifr_name = "wire", .ifr_flags = IFF_TUN | IFF_NO_PI};
    snprintf(path, sizeof path, "/run/netns/%s", name);
    int namespace = open(path, O_RDONLY | O_CLOEXEC);
    if (namespace < 0) return fail(path);
    int entered = setns(namespace, CLONE_NEWNET);
    close(namespace);
    if (entered != 0) return fail("entering the namespace");
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (device < 0) return fail("/dev/net/tun");
    if (ioctl(device, TUNSETIFF, &request) == 0) return device;
    close(device);
    return fail("making the device");
}

static void take(way *w, int64_t delay_ns)
{
    for (;;) {
        unsigned char spare[1];
        packet *p = w->n < ROOM ? &w->packets[(w->first + w->n) % ROOM] : NULL;
        ssize_t size = p != NULL ? read(w->from, p->bytes, sizeof p->bytes) : read(w->from, spare, sizeof spare);
        if (size <= 0) return;
        if (p == NULL) {
            w->n_dropped++;
            continue;
        }
        p->size = (size_t)size;
        p->due_ns = now_ns() + delay_ns;
        w->n++;
        w->n_taken++;
    }
}

static void give(way *w)
{
    for (; w->n > 0 && w->packets[w->first].due_ns <= now_ns(); w->n--) {
        const packet *p = &w->packets[w->first];
        if (write(w->to, p->bytes, p->size) < 0) w->n_dropped++; /* the device is not up */
        w->first = (w->first + 1) % ROOM;
    }
}

/* Until the next packet is due; NULL: for ever. */
static const struct timespec *rest(const way *ways, struct timespec *out)
{
    int64_t due = INT64_MAX;
    for (int i = 0; i < 2; i++)
        if (ways[i].n > 0 && ways[i].packets[ways[i].first].due_ns < due) due = ways[i].packets[ways[i].first].due_ns;
    if (due == INT64_MAX) return NULL;
    int64_t left = due - now_ns();
    if (left < 0) left = 0;
    *out = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    return out;
}

static void carry(way *ways, int64_t delay_ns)
{
    struct pollfd inputs[] = {{ways[0].from, POLLIN, 0}, {ways[1].from, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    struct timespec time;
    while (ppoll(inputs, 3, rest(ways, &time), NULL) >= 0 && inputs[2].revents == 0)
        for (int i = 0; i < 2; i++) {
            if (inputs[i].revents != 0) take(&ways[i], delay_ns);
            give(&ways[i]);
        }
}

int main(int argc, char **argv)
{
    if (argc != 4) return 2;
    int a = open_device(argv[1]), b = a < 0 ? -1 : open_device(argv[2]);
    way ways[2] = {{.from = a, .to = b}, {.from = b, .to = a}};
    for (int i = 0; i < 2; i++) ways[i].packets = malloc(ROOM * sizeof(packet));
    if (b < 0 || ways[0].packets == NULL || ways[1].packets == NULL) return 1;
    puts("ready");
    fflush(stdout);
    carry(ways, strtoll(argv[3], NULL, 10) * 1000);
    printf("%llu %llu\n", (unsigned long long)(ways[0].n_taken + ways[1].n_taken),
           (unsigned long long)(ways[0].n_dropped + ways[1].n_dropped));
    for (int i = 0; i < 2; i++) free(ways[i].packets);
    return 0;
}
