#include "quant/rotation.h"

#include <math.h>

#include "base/mem.h"
#include "base/rng.h"

static bool is_prime(size_t q)
{
    if (q < 2) return false;
    for (size_t d = 2; d * d <= q; d++)
        if (q % d == 0) return false;
    return true;
}

// chi(a): 0 for a = 0, +1 for a square modulo the prime q, -1 for all else.
static int character(size_t a, size_t q)
{
    if (a % q == 0) return 0;
    for (size_t x = 1; x < q; x++)
        if (x * x % q == a % q) return 1;
    return -1;
}

// Paley I of order q + 1, q = 3 mod 4: I + S.
static void paley_1(int8_t *h, size_t q)
{
    size_t n = q + 1;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            int s;
            if (i == 0)
                s = j == 0 ? 0 : 1;
            else if (j == 0)
                s = -1;
            else
                s = character(i - 1 + q - (j - 1), q);
            h[i * n + j] = (int8_t)(s + (i == j));
        }
}

// Paley II of order 2 (q + 1), q = 1 mod 4: C x [[1,1],[1,-1]] + I x [[1,-1],[-1,-1]].
static void paley_2(int8_t *h, size_t q)
{
    static const int first[2][2] = {{1, 1}, {1, -1}}, second[2][2] = {{1, -1}, {-1, -1}};
    size_t m = q + 1, n = 2 * m;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < m; j++) {
            int c = i == 0 || j == 0 ? i != j : character(i - 1 + q - (j - 1), q);
            for (size_t a = 0; a < 2; a++)
                for (size_t b = 0; b < 2; b++)
                    h[(2 * i + a) * n + 2 * j + b] =
                        (int8_t)(c * first[a][b] + (i == j) * second[a][b]);
        }
}

// True if there is a Paley matrix of this order; *q is its prime, *second tells which kind.
static bool paley_order(size_t n, size_t *q, bool *second)
{
    *q = n - 1;
    *second = false;
    if (n % 4 == 0 && is_prime(*q) && *q % 4 == 3) return true;
    *q = n / 2 - 1;
    *second = true;
    return n % 4 == 0 && is_prime(*q) && *q % 4 == 1;
}

qw_status qw_hadamard_init(qw_hadamard *h, size_t n, qw_error *err)
{
    size_t odd = n, q = 0;
    bool second = false;
    while (odd > 0 && odd % 2 == 0) odd /= 2;
    size_t base_n = odd == 1 ? 1 : 4 * odd;
    while (base_n > 1 && n > 0 && n % base_n == 0 && !paley_order(base_n, &q, &second)) base_n *= 2;
    if (n == 0 || n % base_n != 0 || base_n > 4096)
        return qw_fail(err, QW_ERR_UNSUPPORTED,
                       "no Hadamard matrix of order %zu is known here; a rotation needs one", n);
    *h = (qw_hadamard){.n = n, .pow2 = n / base_n, .base_n = base_n};
    h->scale = 1.0f / sqrtf((float)n);
    if (base_n == 1) return QW_OK;
    h->base = qw_mem_alloc(base_n * base_n);
    if (!h->base) return qw_fail_memory(err, base_n * base_n, "a rotation");
    if (second)
        paley_2(h->base, q);
    else
        paley_1(h->base, q);
    return QW_OK;
}

void qw_hadamard_release(qw_hadamard *h)
{
    qw_mem_free(h->base);
    *h = (qw_hadamard){0};
}

// Each of the pow2 pieces of x, times the base matrix.
static void apply_base(const qw_hadamard *h, float *x, float *scratch)
{
    size_t b = h->base_n;
    for (size_t p = 0; p < h->pow2; p++) {
        float *piece = x + p * b;
        for (size_t j = 0; j < b; j++) scratch[j] = 0;
        for (size_t i = 0; i < b; i++)
            for (size_t j = 0; j < b; j++) scratch[j] += piece[i] * (float)h->base[i * b + j];
        memcpy(piece, scratch, b * sizeof *piece);
    }
}

void qw_hadamard_apply(const qw_hadamard *h, float *x, float *scratch)
{
    size_t b = h->base_n;
    if (h->base) apply_base(h, x, scratch);
    for (size_t half = b; half < h->n; half *= 2)
        for (size_t start = 0; start < h->n; start += 2 * half)
            for (size_t k = start; k < start + half; k++) {
                float u = x[k], v = x[k + half];
                x[k] = u + v;
                x[k + half] = u - v;
            }
    for (size_t k = 0; k < h->n; k++) x[k] *= h->scale;
}

void qw_hadamard_fill(const qw_hadamard *h, float *out)
{
    for (size_t i = 0; i < h->n; i++)
        for (size_t j = 0; j < h->n; j++) {
            size_t pi = i / h->base_n, pj = j / h->base_n;
            float v = __builtin_parityll(pi & pj) ? -h->scale : h->scale;
            if (h->base) v *= (float)h->base[i % h->base_n * h->base_n + j % h->base_n];
            out[i * h->n + j] = v;
        }
}

qw_status qw_rotation_init(qw_rotation *r, size_t n, uint64_t seed, qw_error *err)
{
    *r = (qw_rotation){.n = n};
    qw_status st = qw_hadamard_init(&r->right, n, err);
    if (st != QW_OK || seed == 0) return st;
    r->signs = qw_mem_array(n, sizeof *r->signs);
    if (!r->signs) return qw_fail_memory(err, n * sizeof *r->signs, "a rotation");
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (size_t k = 0; k < n; k++) {
        uint32_t words[4];
        const uint32_t counter[4] = {(uint32_t)(k / 128), 0, 0, 0x726F7461}; // "rota"
        qw_philox4x32(words, counter, key);
        r->signs[k] = words[k % 128 / 32] >> k % 32 & 1 ? -1.0f : 1.0f;
    }
    return QW_OK;
}

qw_status qw_rotation_init_kronecker(qw_rotation *r, size_t left, size_t right, qw_error *err)
{
    *r = (qw_rotation){.n = left * right};
    qw_status st = qw_hadamard_init(&r->left, left, err);
    if (st == QW_OK) st = qw_hadamard_init(&r->right, right, err);
    return st;
}

void qw_rotation_release(qw_rotation *r)
{
    qw_hadamard_release(&r->left);
    qw_hadamard_release(&r->right);
    qw_mem_free(r->signs);
    *r = (qw_rotation){0};
}

// x viewed as X[left][right]: L^T * X * R.
static void apply_kronecker(const qw_rotation *r, float *x, float *scratch)
{
    size_t rows = r->left.n, cols = r->right.n;
    for (size_t i = 0; i < rows; i++) qw_hadamard_apply(&r->right, x + i * cols, scratch);
    for (size_t j = 0; j < cols; j++) {
        float *column = scratch + r->n;
        for (size_t i = 0; i < rows; i++) column[i] = x[i * cols + j];
        qw_hadamard_apply(&r->left, column, scratch);
        for (size_t i = 0; i < rows; i++) x[i * cols + j] = column[i];
    }
}

void qw_rotation_apply(const qw_rotation *r, float *x, float *scratch)
{
    if (r->left.n > 0)
        apply_kronecker(r, x, scratch);
    else
        qw_hadamard_apply(&r->right, x, scratch);
    if (!r->signs) return;
    for (size_t k = 0; k < r->n; k++) x[k] *= r->signs[k];
}

bool qw_kronecker_split(size_t n, size_t *left, size_t *right)
{
    size_t a = 1;
    while (a * a < n) a++;
    for (; a <= n; a++) {
        size_t rest = a * a - n, b = 0;
        while (b * b < rest) b++;
        if (b * b != rest) continue;
        *left = a - b;
        *right = a + b;
        return true;
    }
    return false;
}
