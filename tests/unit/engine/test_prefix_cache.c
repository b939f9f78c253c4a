// The prefix cache: hits by content, whatever the hashes say; equal blocks stand for each other;
// what is forgotten is not found.

#include "test_util.h"

#include "base/mem.h"
#include "engine/block_pool.h"
#include "engine/prefix_cache.h"

enum { BLOCK = 16, N_BLOCKS = 24 };

static const qw_block_hash no_hash;

static qw_prefix_cache open_cache(void)
{
    qw_error err;
    qw_prefix_cache c;
    assert_ok(qw_prefix_cache_init(&c, N_BLOCKS, BLOCK, &err));
    return c;
}

static void fill(int32_t tokens[BLOCK], int32_t first)
{
    for (int32_t i = 0; i < BLOCK; i++) tokens[i] = first + i;
}

static qw_block_key key_with(qw_block_hash hash, const int32_t *tokens)
{
    return (qw_block_key){.hash = hash, .tokens = tokens};
}

static void test_chain(void **state)
{
    (void)state;
    qw_prefix_cache c = open_cache();
    int32_t a[BLOCK], b[BLOCK];
    fill(a, 0);
    fill(b, 100);
    qw_block_key ka = key_with(qw_prefix_cache_hash(&c, no_hash, no_hash, a), a);
    qw_block_key kb = key_with(qw_prefix_cache_hash(&c, ka.hash, no_hash, b), b);
    assert_int_equal(qw_prefix_cache_find(&c, -1, &ka), -1);
    qw_prefix_cache_put(&c, 5, -1, &ka);
    qw_prefix_cache_put(&c, 9, 5, &kb);
    qw_prefix_cache_check(&c);
    assert_int_equal(qw_prefix_cache_find(&c, -1, &ka), 5);
    assert_int_equal(qw_prefix_cache_find(&c, 5, &kb), 9);
    // The second block is not a beginning, and the first does not follow itself.
    assert_int_equal(qw_prefix_cache_find(&c, -1, &kb), -1);
    assert_int_equal(qw_prefix_cache_find(&c, 5, &ka), -1);
    qw_prefix_cache_forget(&c, 9);
    assert_int_equal(qw_prefix_cache_find(&c, 5, &kb), -1);
    assert_int_equal(c.n_cached, 1);
    qw_prefix_cache_reset(&c);
    assert_int_equal(qw_prefix_cache_find(&c, -1, &ka), -1);
    assert_int_equal(c.n_cached, 0);
    assert_int_equal(c.epoch, 1);
    qw_prefix_cache_check(&c);
    qw_prefix_cache_release(&c);
}

// All blocks have one hash, as if the hash function were worthless: still only equals are found.
static void test_collisions(void **state)
{
    (void)state;
    qw_prefix_cache c = open_cache();
    const qw_block_hash same = {1, 2};
    int32_t tokens[4][BLOCK];
    for (int i = 0; i < 4; i++) fill(tokens[i], i % 2 ? 50 : 0); // two pairs of equals
    tokens[1][BLOCK - 1]++;                                      // no longer
    qw_block_key k[4];
    for (int i = 0; i < 4; i++) k[i] = key_with(same, tokens[i]);
    qw_prefix_cache_put(&c, 0, -1, &k[0]);
    assert_int_equal(qw_prefix_cache_find(&c, -1, &k[1]), -1);
    assert_int_equal(qw_prefix_cache_find(&c, -1, &k[2]), 0);
    qw_prefix_cache_put(&c, 1, -1, &k[1]);
    qw_prefix_cache_put(&c, 3, -1, &k[3]);
    assert_int_equal(qw_prefix_cache_find(&c, -1, &k[1]), 1);
    assert_int_equal(qw_prefix_cache_find(&c, -1, &k[3]), 3);
    // The same tokens, the same hash, behind another block.
    qw_prefix_cache_put(&c, 7, 1, &k[0]);
    assert_int_equal(qw_prefix_cache_find(&c, 1, &k[0]), 7);
    assert_int_equal(qw_prefix_cache_find(&c, 3, &k[0]), -1);
    assert_int_equal(qw_prefix_cache_find(&c, -1, &k[0]), 0);
    // The same tokens, the same hash, another extra key.
    k[0].extra = (qw_block_hash){0, 1};
    assert_int_equal(qw_prefix_cache_find(&c, -1, &k[0]), -1);
    qw_prefix_cache_check(&c);
    qw_prefix_cache_release(&c);
}

// Two sequences computed the same beginning: either block is the parent of what follows.
static void test_twins(void **state)
{
    (void)state;
    qw_prefix_cache c = open_cache();
    int32_t a[BLOCK], b[BLOCK];
    fill(a, 0);
    fill(b, 100);
    qw_block_key ka = key_with(qw_prefix_cache_hash(&c, no_hash, no_hash, a), a);
    qw_block_key kb = key_with(qw_prefix_cache_hash(&c, ka.hash, no_hash, b), b);
    qw_prefix_cache_put(&c, 1, -1, &ka);
    qw_prefix_cache_put(&c, 2, -1, &ka);
    qw_prefix_cache_put(&c, 3, 1, &kb);
    assert_int_equal(qw_prefix_cache_find(&c, 2, &kb), 3);
    qw_prefix_cache_forget(&c, 1);
    assert_int_equal(qw_prefix_cache_find(&c, -1, &ka), 2);
    assert_int_equal(qw_prefix_cache_find(&c, 2, &kb), 3);
    qw_prefix_cache_check(&c);
    // Once all twins are gone, what follows them is out of reach, even if the content comes back.
    qw_prefix_cache_forget(&c, 2);
    qw_prefix_cache_put(&c, 4, -1, &ka);
    assert_int_equal(qw_prefix_cache_find(&c, 4, &kb), -1);
    qw_prefix_cache_release(&c);
}

// Different parents, salts or tokens give different hashes; another cache gives other ones.
static void test_hashes(void **state)
{
    (void)state;
    qw_prefix_cache c = open_cache(), other = open_cache();
    int32_t a[BLOCK], b[BLOCK];
    fill(a, 0);
    fill(b, 1);
    qw_block_hash salt = qw_prefix_cache_hash_bytes(&c, "salt", 4);
    qw_block_hash h[] = {
        qw_prefix_cache_hash(&c, no_hash, no_hash, a),
        qw_prefix_cache_hash(&c, no_hash, no_hash, b),
        qw_prefix_cache_hash(&c, no_hash, salt, a),
        qw_prefix_cache_hash(&c, salt, no_hash, a),
        qw_prefix_cache_hash(&other, no_hash, no_hash, a),
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(h); i++)
        for (size_t k = 0; k < i; k++) assert_memory_not_equal(&h[i], &h[k], sizeof h[i]);
    qw_prefix_cache_release(&c);
    qw_prefix_cache_release(&other);
}

// Blocks that hold nothing of use go first; the others in the order in which they became free.
static void test_block_pool(void **state)
{
    (void)state;
    qw_error err;
    qw_block_pool p;
    assert_ok(qw_block_pool_init(&p, 4, &err));
    for (int32_t i = 0; i < 4; i++) assert_int_equal(qw_block_pool_alloc(&p), i);
    assert_int_equal(qw_block_pool_alloc(&p), -1);
    qw_block_pool_drop(&p, 2, true);
    qw_block_pool_drop(&p, 0, true);
    qw_block_pool_drop(&p, 3, false);
    qw_block_pool_check(&p);
    qw_block_pool_acquire(&p, 0); // it was still worth having
    qw_block_pool_acquire(&p, 1);
    qw_block_pool_drop(&p, 1, true); // somebody else holds it
    assert_int_equal(p.n_free, 2);
    qw_block_pool_check(&p);
    assert_int_equal(qw_block_pool_alloc(&p), 3);
    assert_int_equal(qw_block_pool_alloc(&p), 2);
    assert_int_equal(qw_block_pool_alloc(&p), -1);
    qw_block_pool_check(&p);
    qw_block_pool_release(&p);
}

static void test_allocation_failures(void **state)
{
    (void)state;
    size_t live = qw_mem_live();
    for (uint64_t n = 1;; n++) {
        qw_error err;
        qw_prefix_cache c;
        qw_mem_fail_at(n);
        qw_status st = qw_prefix_cache_init(&c, N_BLOCKS, BLOCK, &err);
        qw_mem_fail_at(0);
        if (st == QW_OK) {
            qw_prefix_cache_release(&c);
            break;
        }
        assert_int_equal(st, QW_ERR_NO_MEMORY);
        assert_int_equal(qw_mem_live(), live);
    }
    assert_int_equal(qw_mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain),      cmocka_unit_test(test_collisions),
        cmocka_unit_test(test_twins),      cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_block_pool), cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
