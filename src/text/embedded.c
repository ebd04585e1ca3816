#include "text/embedded.h"

/* FINCH_DATA is the folder data/ (cmake/rooms.cmake, which also rebuilds this file when one of these changes). */
#define EMBED(section, name, file)                                                                                         \
    __asm__(".pushsection " section "\n.balign 64\n.globl " #name "\n.hidden " #name "\n" #name ":\n.incbin \"" FINCH_DATA \
            "/" file "\"\n.globl " #name "_end\n.hidden " #name "_end\n" #name "_end:\n.byte 0\n.popsection\n")

EMBED(".data", embedded_symbols, "symbols/symbols.tsv");
EMBED(".data", embedded_names, "symbols/names.tsv");
EMBED(".rodata", embedded_language, "language/model.bin");
