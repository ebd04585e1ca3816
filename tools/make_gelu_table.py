"""Makes src/tensor/kernels/gelu_table.h: g(x) with gelu(x) = x/2 + |x| g(|x|), by 16 polynomials of degree 4.

    python tools/make_gelu_table.py >src/tensor/kernels/gelu_table.h

g is erf(x / sqrt 2) / 2 (GELU) or tanh(sqrt(2/pi) (x + 0.044715 x^3)) / 2 (its tanh form), interpolated at the Chebyshev
points of each of 16 equal intervals of [0, 5.5); the last interval and all beyond it are 1/2. Only Python's own library is used.
"""
import fractions
import math

INTERVALS, DEGREE, END = 16, 4, 5.5
FORMS = (("erf", lambda x: math.erf(x / math.sqrt(2)) / 2),
         ("tanh", lambda x: math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)) / 2))


def interpolate(points, values):
    """Coefficients, lowest first, by solving the Vandermonde system exactly."""
    n = len(points)
    rows = [[fractions.Fraction(p) ** k for k in range(n)] + [fractions.Fraction(v)] for p, v in zip(points, values)]
    for i in range(n):
        pivot = next(r for r in range(i, n) if rows[r][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for r in range(n):
            if r != i:
                rows[r] = [x - rows[r][i] * y for x, y in zip(rows[r], rows[i])]
    return [float(row[n]) for row in rows]


def table(function):
    """Each interval's polynomial in t = x * INTERVALS / END - index - 1/2, t in [-1/2, 1/2]."""
    points = [math.cos(math.pi * (2 * i + 1) / (2 * DEGREE + 2)) / 2 for i in range(DEGREE + 1)]
    columns = [interpolate(points, [function((i + 0.5 + t) * END / INTERVALS) for t in points]) for i in range(INTERVALS)]
    columns[-1] = [0.5] + [0.0] * DEGREE  # the last one serves all |x| above, too; at most 1.3e-7 off
    return [[column[k] for column in columns] for k in range(DEGREE + 1)]


def main():
    print("/* Made by tools/make_gelu_table.py; do not edit. gelu_<form>[k][i]: coefficient of t^k on interval i, with\n"
          " * t = |x| * GELU_SCALE - i - 1/2. */")
    print("#ifndef FINCH_TENSOR_KERNELS_GELU_TABLE_H\n#define FINCH_TENSOR_KERNELS_GELU_TABLE_H\n")
    print(f"#define GELU_SCALE {INTERVALS / END:.9g}f\n#define GELU_LAST {INTERVALS - 1}.0f\nenum {{ GELU_DEGREE = {DEGREE} }};\n")
    for name, function in FORMS:
        print(f"static const float gelu_{name}[GELU_DEGREE + 1][{INTERVALS}] = {{")
        for row in table(function):
            body = ",\n     ".join(", ".join(f"{x:.9g}f" if "." in f"{x:.9g}" or "e" in f"{x:.9g}" else f"{x:.9g}.0f" for x in row[i:i + 8]) for i in (0, 8))
            print(f"    {{{body}}},")
        print("};\n")
    print("#endif")


main()
