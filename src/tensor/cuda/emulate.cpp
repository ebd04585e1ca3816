/* The CPU's stand-in for a device: launches, memory and table of the module that tests open where there is no GPU.
 *
 * A thread of a block is a fiber with a stack of its own. It runs until it waits: for its block or for its warp. Once all that a wait is for are there, they go on.
 * Where a pass over the threads moves none, some wait for others that ended or wait elsewhere: the kernel is wrong, and the launch fails.
 * Words of an exchange lie in two slots by turns: a lane can be one exchange ahead of another of its warp, and no further. */
#include "tensor/cuda/launch.h"
#include "tensor/cuda/operators.h"

#include <algorithm>
#include <memory>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
#include <vector>

enum { STACK_BYTES = 256 << 10, THREADS_MOST = 1024, SHARED_MOST = 48 << 10 };

enum thread_state { RUNS, WAITS_BLOCK, WAITS_WARP, ENDED };

/* A fiber is entered by its context once and left and entered by jumps from then on: these need no call of the system. */
struct fiber {
    ucontext_t context;
    jmp_buf place;
    bool begun;
    std::unique_ptr<char[]> stack;
    thread_state state;
    uint32_t n_exchanges;
};

struct shared_part {
    const void *place;
    std::unique_ptr<char[]> memory;
    size_t size_bytes;
};

emulated_place emulated;
extern "C" __attribute__((visibility("default"))) int finch_emulated_order;
int finch_emulated_order = 0; /* 0 rising, 1 falling, more: shuffled by this seed */

static struct {
    std::vector<fiber> fibers;
    std::vector<shared_part> shared;
    std::vector<uint32_t> order;
    std::vector<uint32_t> slots; /* [warps, 2, GPU_WARP] */
    size_t shared_bytes;
    jmp_buf scheduler;
    fiber *running;
    void (*body)(const void *);
    const void *arguments;
    bool too_much_shared;
} e;

/* ---- fibers ---- */

static void leave(thread_state why)
{
    fiber *own = e.running;
    own->state = why;
    if (_setjmp(own->place) == 0) _longjmp(e.scheduler, 1);
}

static void fiber_main(void)
{
    e.body(e.arguments);
    leave(ENDED);
}

static void enter(uint32_t thread)
{
    e.running = &e.fibers[thread];
    emulated.thread.x = thread;
    if (_setjmp(e.scheduler) == 0) {
        if (e.running->begun) _longjmp(e.running->place, 1);
        e.running->begun = true;
        setcontext(&e.running->context);
    }
}

static void prepare(uint32_t thread)
{
    fiber &f = e.fibers[thread];
    if (f.stack == nullptr) f.stack.reset(new char[STACK_BYTES]);
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = STACK_BYTES;
    f.context.uc_link = nullptr;
    f.state = RUNS;
    f.begun = false;
    f.n_exchanges = 0;
    makecontext(&f.context, fiber_main, 0);
}

/* ---- what kernels call ---- */

void emulated_block_wait(void) { leave(WAITS_BLOCK); }
void emulated_warp_wait(void) { leave(WAITS_WARP); }

uint32_t emulated_exchange(uint32_t word, uint32_t lane)
{
    uint32_t *slot = &e.slots[(threadIdx.x / GPU_WARP * 2u + e.running->n_exchanges++ % 2u) * GPU_WARP];
    slot[threadIdx.x % GPU_WARP] = word;
    leave(WAITS_WARP);
    return slot[lane % GPU_WARP];
}

void *emulated_shared(const void *place, size_t size_bytes)
{
    for (shared_part &part : e.shared)
        if (part.place == place) return part.memory.get();
    e.shared_bytes += size_bytes;
    if (e.shared_bytes > SHARED_MOST) e.too_much_shared = true;
    e.shared.push_back({place, std::unique_ptr<char[]>(new char[size_bytes]), size_bytes});
    memset(e.shared.back().memory.get(), 0xff, size_bytes);
    return e.shared.back().memory.get();
}

/* ---- launches ---- */

/* Lets the threads [begin, end) go on if all that have not ended wait so. */
static bool release_group(uint32_t begin, uint32_t end, thread_state wait)
{
    uint32_t n = 0;
    for (uint32_t i = begin; i < end; i++) n += e.fibers[i].state == wait;
    if (n != end - begin) return false;
    for (uint32_t i = begin; i < end; i++) e.fibers[i].state = RUNS;
    return true;
}

static bool release(uint32_t n_threads)
{
    bool any = release_group(0, n_threads, WAITS_BLOCK);
    for (uint32_t i = 0; i < n_threads; i += GPU_WARP) any |= release_group(i, i + GPU_WARP, WAITS_WARP);
    return any;
}

static void set_order(uint32_t n_threads)
{
    e.order.resize(n_threads);
    for (uint32_t i = 0; i < n_threads; i++) e.order[i] = finch_emulated_order == 1 ? n_threads - 1 - i : i;
    if (finch_emulated_order < 2) return;
    uint64_t seed = (uint64_t)finch_emulated_order;
    for (uint32_t i = n_threads - 1; i > 0; i--) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        std::swap(e.order[i], e.order[(seed >> 33) % (i + 1)]);
    }
}

static bool run_block(uint32_t n_threads)
{
    for (shared_part &part : e.shared) memset(part.memory.get(), 0xff, part.size_bytes);
    for (uint32_t i = 0; i < n_threads; i++) prepare(i);
    do
        for (uint32_t i : e.order)
            if (e.fibers[i].state == RUNS) enter(i);
    while (release(n_threads));
    for (uint32_t i = 0; i < n_threads; i++)
        if (e.fibers[i].state != ENDED) return false;
    return true;
}

int emulate(const gpu_grid &grid, void (*body)(const void *), const void *arguments, char *why)
{
    if (grid.block == 0 || grid.block > THREADS_MOST || grid.block % GPU_WARP != 0 || grid.y > 65535)
        return gpu_fail(why, "a launch of %u x %u blocks of %u threads can not be", grid.x, grid.y, grid.block);
    if (e.fibers.size() < grid.block) e.fibers.resize(grid.block);
    e.slots.assign(grid.block * 2, 0);
    e.shared.clear();
    e.shared_bytes = 0;
    e.too_much_shared = false;
    e.body = body;
    e.arguments = arguments;
    set_order(grid.block);
    emulated.n_blocks = {grid.x, grid.y};
    emulated.n_threads = {grid.block};
    for (uint32_t y = 0; y < grid.y; y++)
        for (uint32_t x = 0; x < grid.x; x++) {
            emulated.block = {x, y};
            if (!run_block(grid.block)) return gpu_fail(why, "block %u, %u: threads wait for others that do not come", x, y);
            if (e.too_much_shared)
                return gpu_fail(why, "block memory of %zu bytes is more than %d", e.shared_bytes, (int)SHARED_MOST);
        }
    return 0;
}

/* ---- memory ---- */

struct gpu_context {
    std::vector<void *> memory;
};

static gpu_state count(int *n, char *)
{
    *n = 1;
    return GPU_READY;
}

static int describe(int, gpu_device *out, char *)
{
    *out = {};
    snprintf(out->name, sizeof out->name, "the CPU, emulating");
    out->capability = GPU_LEAST_CAPABILITY;
    out->n_multiprocessors = 1;
    return 0;
}

static int open_context(int, gpu_context **out, char *)
{
    *out = new gpu_context;
    return 0;
}

static void release_memory(gpu_context *c, void *memory)
{
    auto found = std::find(c->memory.begin(), c->memory.end(), memory);
    if (found == c->memory.end()) return;
    free(memory);
    c->memory.erase(found);
}

static void close_context(gpu_context *c)
{
    if (c == nullptr) return;
    for (void *memory : c->memory) free(memory);
    delete c;
}

static int alloc(gpu_context *c, size_t size_bytes, void **out, char *why)
{
    *out = malloc(size_bytes > 0 ? size_bytes : 1);
    if (*out == nullptr) return gpu_fail(why, "out of memory for %zu bytes", size_bytes);
    memset(*out, 0xff, size_bytes); /* NaN, so that what is read before it is written shows */
    c->memory.push_back(*out);
    return 0;
}

static int copy(gpu_context *, void *to, const void *from, size_t size_bytes, char *)
{
    memcpy(to, from, size_bytes);
    return 0;
}

static int wait_stream(gpu_context *, char *) { return 0; }

extern "C" __attribute__((visibility("default"))) const gpu_table finch_cuda_table;
const gpu_table finch_cuda_table = GPU_TABLE(count, describe, open_context, close_context, alloc, release_memory, alloc,
                                             release_memory, copy, copy, wait_stream);
