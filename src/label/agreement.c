#include "label/agreement.h"

finch_status agreement_add(void *context, int first, int second, finch_error *err)
{
    agreement *a = context;
    (void)err;
    if (first < 0 || second < 0 || first >= AGREEMENT_CLASSES || second >= AGREEMENT_CLASSES) return FINCH_OK;
    a->of[first][second]++;
    a->n++;
    return FINCH_OK;
}

double agreement_share(const agreement *a)
{
    size_t same = 0;
    for (int i = 0; i < AGREEMENT_CLASSES; i++) same += a->of[i][i];
    return a->n > 0 ? (double)same / (double)a->n : 0;
}

double agreement_kappa(const agreement *a)
{
    double chance = 0, n = (double)a->n, share = agreement_share(a);
    if (a->n == 0) return 0;
    for (int i = 0; i < AGREEMENT_CLASSES; i++) {
        size_t first = 0, second = 0;
        for (int k = 0; k < AGREEMENT_CLASSES; k++) {
            first += a->of[i][k];
            second += a->of[k][i];
        }
        chance += (double)first / n * ((double)second / n);
    }
    return chance >= 1 ? share : (share - chance) / (1 - chance);
}
