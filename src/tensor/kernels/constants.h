/* Constants of the kernels' own functions, shared by every variant so that all give the same bits.
 * exp: x = n ln 2 + r, |r| <= ln 2 / 2; e^r by the polynomial of Cephes' expf (S. Moshier), relative error 1e-7. */
#ifndef FINCH_TENSOR_KERNELS_CONSTANTS_H
#define FINCH_TENSOR_KERNELS_CONSTANTS_H

#define EXP_LEAST (-87.0f)
#define EXP_MOST 88.0f
#define EXP_LOG2_E 1.44269504f
#define EXP_LN2_HIGH 0.693359375f
#define EXP_LN2_LOW (-2.12194440e-4f)
#define EXP_C0 1.9875691500e-4f
#define EXP_C1 1.3981999507e-3f
#define EXP_C2 8.3334519073e-3f
#define EXP_C3 4.1665795894e-2f
#define EXP_C4 1.6666665459e-1f
#define EXP_C5 5.0000001201e-1f

enum { ATTENTION_QUERIES = 28 }; /* queries whose scores are held at a time */

#endif
