#include "data/spool.h"
#include "harness.h"

TEST(what_the_disk_has_no_room_for_is_told_before_the_first_byte)
{
    data_spool s;
    finch_error err = {0};
    CHECK_OK(data_spool_open(&s, &err), &err);
    CHECK_OK(data_spool_need(&s, 1, "rows.zip", &err), &err);
    CHECK_STATUS(FINCH_E_IO, data_spool_need(&s, UINT64_MAX, "rows.zip", &err), &err);
    CHECK(strstr(err.message, "rows.zip") != NULL && strstr(err.message, "TMPDIR") != NULL);
    data_spool_close(&s);
}

TEST(what_was_put_in_is_read_again)
{
    data_spool s;
    finch_error err = {0};
    char got[8];
    size_t n;
    CHECK_OK(data_spool_open(&s, &err), &err);
    for (int i = 0; i < 100000; i++) CHECK_OK(data_spool_add(&s, "abc", 3, &err), &err);
    for (uint64_t at = 0; at < 300000; at += 29999) {
        CHECK_OK(data_spool_read(&s, at, got, 1, &n, &err), &err);
        CHECK(n == 1 && got[0] == "abc"[at % 3]);
    }
    CHECK_OK(data_spool_read(&s, 300000, got, 1, &n, &err), &err);
    CHECK(n == 0);
    data_spool_close(&s);
}
