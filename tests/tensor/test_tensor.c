/* Conversions against their definition: every 16-bit pattern, and every midpoint between neighbours. */
#include "harness.h"

#include "tensor/tensor.h"

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16, spelled out. */
static double f16_meaning(uint16_t half)
{
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    double sign = (half & 0x8000) != 0 ? -1.0 : 1.0;
    if (exponent == 31) return mantissa == 0 ? sign * INFINITY : NAN;
    return sign * (exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25));
}

TEST(every_f16_has_its_value_and_comes_back)
{
    for (uint32_t i = 0; i <= 0xffff; i++) {
        uint16_t half = (uint16_t)i, back;
        float value;
        tensor_f32_from_f16(&half, &value, 1);
        tensor_f16_from_f32(&value, &back, 1);
        double meaning = f16_meaning(half);
        if (isnan(meaning)) {
            CHECK(isnan(value) && isnan(f16_meaning(back)));
        } else {
            CHECK((double)value == meaning && (signbit(value) != 0) == (signbit(meaning) != 0));
            CHECK_EQUAL(half, back);
        }
    }
}

TEST(every_bf16_is_the_upper_half_and_comes_back)
{
    for (uint32_t i = 0; i <= 0xffff; i++) {
        uint16_t brain = (uint16_t)i, back;
        float value;
        tensor_f32_from_bf16(&brain, &value, 1);
        tensor_bf16_from_f32(&value, &back, 1);
        CHECK_EQUAL(i << 16, bits_of(value));
        if (isnan(value)) CHECK_EQUAL(brain | 0x40, back);
        else CHECK_EQUAL(brain, back);
    }
}

TEST(f16_rounds_to_nearest_even)
{
    for (uint32_t i = 0; i < 0x7bff; i++) { /* each finite value and the next */
        float middle = (float)((f16_meaning((uint16_t)i) + f16_meaning((uint16_t)(i + 1))) / 2);
        float around[6] = {middle, nextafterf(middle, 0), nextafterf(middle, INFINITY)};
        uint16_t out[6], wanted[3] = {(uint16_t)(i % 2 == 0 ? i : i + 1), (uint16_t)i, (uint16_t)(i + 1)};
        for (int k = 0; k < 3; k++) around[k + 3] = -around[k];
        tensor_f16_from_f32(around, out, 6);
        for (int k = 0; k < 3; k++) {
            CHECK_EQUAL(wanted[k], out[k]);
            CHECK_EQUAL(wanted[k] | 0x8000, out[k + 3]);
        }
    }
    const float edge[] = {65519.996f, 65520.0f, 1e30f, INFINITY, 0x1p-25f, 0x1.000002p-25f, 1e-45f};
    const uint16_t wanted[] = {0x7bff, 0x7c00, 0x7c00, 0x7c00, 0, 1, 0};
    uint16_t out[7];
    tensor_f16_from_f32(edge, out, 7);
    for (int k = 0; k < 7; k++) CHECK_EQUAL(wanted[k], out[k]);
}

TEST(bf16_rounds_to_nearest_even)
{
    for (uint32_t i = 0; i < 0x7f80; i++) {
        uint32_t middle = i << 16 | 0x8000u;
        const float around[3] = {float_of(middle), float_of(middle - 1), float_of(middle + 1)};
        const uint32_t wanted[3] = {i % 2 == 0 ? i : i + 1, i, i + 1};
        uint16_t out[3];
        tensor_bf16_from_f32(around, out, 3);
        for (int k = 0; k < 3; k++) CHECK_EQUAL(wanted[k], out[k]);
    }
    const float hidden_nan = float_of(0x7f800001u); /* its payload is all in the half that is cut off */
    uint16_t out;
    tensor_bf16_from_f32(&hidden_nan, &out, 1);
    CHECK_EQUAL(0x7fc0, out);
}

TEST(an_unaligned_tensor_reads_as_an_aligned_one)
{
    _Alignas(16) unsigned char store[8 * 9 + 1];
    const double values[9] = {0, -1.5, 3, 1e300, 1.0 + 0x1p-24, 1.0 + 0x3p-24, 1e-50, -0.25, 7};
    const float wanted[9] = {0, -1.5f, 3, INFINITY, 1.0f, 1.0f + 0x1p-22f, 0, -0.25f, 7};
    float out[9];
    finch_error err;
    for (size_t shift = 0; shift < 2; shift++) {
        memcpy(store + shift, values, sizeof values);
        tensor t = {.name = "x",
                    .dtype = TENSOR_F64,
                    .n_dims = 1,
                    .dims = {9},
                    .n_items = 9,
                    .data = store + shift,
                    .size_bytes = 72};
        CHECK_EQUAL(shift == 0, tensor_is_aligned(&t));
        CHECK_OK(tensor_to_f32(&t, out, &err), &err);
        for (size_t i = 0; i < 9; i++) CHECK_EQUAL(bits_of(wanted[i]), bits_of(out[i]));
    }
}

TEST(whole_numbers_are_not_taken_for_weights)
{
    const int8_t items[2] = {1, 2};
    const tensor t = {
        .name = "ids", .dtype = TENSOR_I8, .n_dims = 1, .dims = {2}, .n_items = 2, .data = items, .size_bytes = 2};
    float out[2] = {5, 6};
    finch_error err;
    CHECK_STATUS(FINCH_E_DATA, tensor_to_f32(&t, out, &err), &err);
    CHECK(strstr(err.message, "ids") != NULL && strstr(err.message, "I8") != NULL);
    CHECK(out[0] == 5 && out[1] == 6);
}

TEST(a_shape_that_wraps_has_no_size)
{
    size_t items = 7, size = 8;
    CHECK(!tensor_shape_size(TENSOR_F32, (size_t[]){SIZE_MAX / 2, 3}, 2, &items, &size));
    CHECK(!tensor_shape_size(TENSOR_F32, (size_t[]){SIZE_MAX / 3}, 1, &items, &size)); /* items fit, bytes do not */
    CHECK(items == 7 && size == 8);
    CHECK(tensor_shape_size(TENSOR_F32, (size_t[]){3, 5}, 2, &items, &size) && items == 15 && size == 60);
    CHECK(tensor_shape_size(TENSOR_F64, NULL, 0, &items, &size) && items == 1 && size == 8);
    CHECK(tensor_shape_size(TENSOR_F64, (size_t[]){SIZE_MAX, 0}, 2, &items, &size) && items == 0 && size == 0);
    char text[TENSOR_SHAPE_TEXT_BYTES];
    CHECK_TEXT("[]", tensor_shape_text(NULL, 0, text));
    const size_t wide[TENSOR_DIMS_MAX] = {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX};
    CHECK_EQUAL(2 + 8 * 20 + 7 * 2, strlen(tensor_shape_text(wide, TENSOR_DIMS_MAX, text)));
}
