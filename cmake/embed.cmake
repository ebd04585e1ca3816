# A file's bytes as a C array:  cmake -DIN=prompts/x.md -DOUT=x.c -DNAME=prompt_default -DHEADER=label/prompt.h -P embed.cmake
file(READ "${IN}" hex HEX)
string(REGEX REPLACE "(..)" "0x\\1," body "${hex}")
string(REGEX REPLACE "((0x..,){24})" "\\1\n" body "${body}")
file(WRITE "${OUT}" "#include \"${HEADER}\"\n\nconst unsigned char ${NAME}[] = {\n${body}\n};\nconst size_t ${NAME}_bytes = sizeof ${NAME};\n")
