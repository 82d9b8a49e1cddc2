#!/bin/sh
# Small ELF files of every kind: elf_fuzz_seeds.sh DIRECTORY
set -eu
cd "$1"
cat > seed.cc <<'END'
thread_local int counter;
inline int helper(int x) { static int calls; return x + ++calls; }
extern "C" int other(const char*);
int work(int x) { if (x < 0) throw x; return helper(x) + counter + other("text"); }
END
g++ -std=c++17 -O2 -fPIC -ffunction-sections -fdata-sections -c seed.cc -o function_sections.o
g++ -std=c++17 -O2 -fPIC -c seed.cc -o plain.o
printf 'int f_v1(void){return 1;}\n__asm__(".symver f_v1,f@@V1");\n' > versioned.c
printf 'V1 { global: f; local: *; };\n' > versioned.map
gcc -shared -fPIC -nostdlib -Wl,--version-script=versioned.map -Wl,--hash-style=both \
  -Wl,--build-id versioned.c -o versioned.so
strip versioned.so -o stripped.so
printf 'void _start(void){for(;;);}\n' > start.c
gcc -static -nostdlib start.c -o static.exe
rm -f ./*.c ./*.cc ./*.map
