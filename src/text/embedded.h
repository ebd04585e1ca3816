/* Files of data/ that are part of the program: their bytes as they lie there, and where they end. */
#ifndef FINCH_TEXT_EMBEDDED_H
#define FINCH_TEXT_EMBEDDED_H

/* data/symbols; writable, for the tables that are made in place (ticker_table.c). */
extern char embedded_symbols[], embedded_symbols_end[];
extern char embedded_names[], embedded_names_end[];

/* data/language/model.bin */
extern const char embedded_language[], embedded_language_end[];

#endif
