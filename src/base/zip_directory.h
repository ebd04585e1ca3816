/* The list of what a ZIP archive holds. Source: APPNOTE.TXT 6.3.10, sections 4.3 and 4.5; zip64 included, archives over several
 * disks not. Everything is a view into the archive, nothing is allocated, nothing is unpacked. What is wrong comes back as words for the
 * caller's message ("its end record is cut"), NULL where nothing is. */
#ifndef FINCH_BASE_ZIP_DIRECTORY_H
#define FINCH_BASE_ZIP_DIRECTORY_H

#include "base/bytes.h"

enum { ZIP_STORED = 0, ZIP_DEFLATED = 8 }; /* zip_member.method */
enum { ZIP_ENCRYPTED = 1, ZIP_ENCRYPTED_NAMES = 1 << 13 }; /* zip_member.flags */

typedef struct zip_directory {
    bytes rest; /* of the list */
    uint64_t n_members;
} zip_directory;

typedef struct zip_member {
    bytes name;
    uint16_t flags, method;
    uint32_t crc;
    uint64_t packed_bytes, size_bytes, local_at;
} zip_member;

const char *zip_directory_find(bytes file, zip_directory *out);
/* The next of the list. */
const char *zip_directory_next(zip_directory *d, zip_member *out);
/* The member's packed bytes, behind its local header, whose name must be the directory's. */
bool zip_member_content(bytes file, const zip_member *member, bytes *out);

#endif
