/* Four sums over two tiles of rows and two of weights, as the products run them. */
#include "tensor/kernels/amx/tile_config.h"
#include "tensor/kernels/peak_kernels.h"

/* Values of all kinds: the unit's clock is higher over zeros. As bf16 they are between 1/2 and 2. */
static void configure(void)
{
    uint8_t values[TILE_ROWS * TILE_BYTES];
    for (size_t i = 0; i < sizeof values; i++) values[i] = i % 2 == 1 ? 0x3f : (uint8_t)(i * 167 >> 3);
    tile_config config = {.palette = 1};
    for (int i = 0; i < TILE_COUNT; i++) {
        config.row_bytes[i] = TILE_BYTES;
        config.rows[i] = TILE_ROWS;
    }
    tile_load_config(&config);
    __asm__ volatile("" ::: "memory"); /* the loads of tiles do not tell the compiler what they read */
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, values, TILE_BYTES);
    _tile_loadd(5, values, TILE_BYTES);
    _tile_loadd(6, values, TILE_BYTES);
    _tile_loadd(7, values, TILE_BYTES);
}

double peak_int8_amx(size_t n_rounds)
{
    configure();
    for (size_t round = 0; round < n_rounds; round++) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_release();
    return 2.0 * TILE_ROWS * TILE_ROWS * TILE_BYTES * 4;
}

double peak_bf16_amx(size_t n_rounds)
{
    configure();
    for (size_t round = 0; round < n_rounds; round++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
    return 4.0 * TILE_ROWS * TILE_ROWS * TILE_BYTES; /* of four products; an item has two bytes, and counts two operations */
}
