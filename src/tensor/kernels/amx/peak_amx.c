/* Four sums over two tiles of rows and two of weights, as the products run them. */
#include "tensor/kernels/amx/tile_config.h"
#include "tensor/kernels/peak_kernels.h"

static void configure(void)
{
    tile_config config = {.palette = 1};
    for (int i = 0; i < TILE_COUNT; i++) {
        config.row_bytes[i] = TILE_BYTES;
        config.rows[i] = TILE_ROWS;
    }
    tile_load_config(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
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
    return 2.0 * TILE_ROWS * TILE_ROWS * (TILE_BYTES / 2) * 4;
}
