/* Preloaded into every process of a recorded build (LD_PRELOAD): a program whose name is that of a
 * compiler, assembler, linker, archiver or file mover appends one record of how it was called to
 * the file that $LIVECARE_RECORD names. Everything else is left as it was: no function of libc is
 * interposed, so it goes together with fakeroot, sandboxes and sanitizers.
 *
 * A record is written by a single write() to a file opened with O_APPEND, so that parallel builds
 * cannot mix theirs. Its format is that of record.h:
 *   "LCR1", u32 bytes that follow, then NUL-terminated strings:
 *   pid, ppid, working directory, executable, number of arguments, arguments...,
 *   number of variables, NAME=value..., number of response files, then name and content of each.
 * Response files (@FILE) are taken along because builds remove them.
 *
 * With $LIVECARE_SKIP_DOCUMENTS set, programs that make documents end at once, as if they had done
 * their work; a dot in the file that the variable names says so. (OpenSSL renders its manual
 * pages in a build, which takes longer than to compile it; its "nodoc" does not leave them out.)
 *
 * Linked without libraries on purpose: the few libc functions used bind to the libc of the process,
 * whichever it is. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { record_bytes_max = 16 << 20, path_bytes_max = 4096 };

static const char* const programs[] = {"gcc", "g++",     "cc",      "c++",     "clang", "clang++",
                                       "ld",  "ld.bfd",  "ld.gold", "ld.lld",  "lld",   "mold",
                                       "as",  "ar",      "gcc-ar",  "llvm-ar", "mv",    "cp",
                                       "ln",  "install", "objcopy", 0};

static const char* const variables[] = {"PATH",
                                        "COMPILER_PATH",
                                        "GCC_EXEC_PREFIX",
                                        "CPATH",
                                        "C_INCLUDE_PATH",
                                        "LIBRARY_PATH",
                                        "CPLUS_INCLUDE_PATH",
                                        "SOURCE_DATE_EPOCH",
                                        "TMPDIR",
                                        "LC_ALL",
                                        "LANG",
                                        "LANGUAGE",
                                        0};

static const char* const document_makers[] = {
    "pod2man",      "pod2html",    "pod2text",    "mkpod2html",    "help2man",       "doxygen",
    "sphinx-build", "makeinfo",    "texi2any",    "texi2dvi",      "texi2pdf",       "asciidoc",
    "asciidoctor",  "a2x",         "xmlto",       "dblatex",       "ronn",           "scdoc",
    "txt2man",      "gtkdoc-scan", "gtkdoc-mkdb", "gtkdoc-mkhtml", "gtkdoc-fixxref", 0};

static const char* const interpreters[] = {"perl", "python", "python3", "ruby", "sh", "bash", 0};

struct record {
  char* bytes;
  size_t size;
};

static void put(struct record* record, const char* bytes, size_t size) {
  if (record->size + size + 1 > record_bytes_max) return;
  memcpy(record->bytes + record->size, bytes, size);
  record->size += size;
  record->bytes[record->size++] = 0;
}

static void put_string(struct record* record, const char* text) {
  put(record, text, strlen(text));
}

static void put_number(struct record* record, unsigned long value) {
  char digits[24];
  size_t at = sizeof(digits);
  do {
    digits[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value != 0);
  put(record, digits + at, sizeof(digits) - at);
}

/* "x86_64-linux-gnu-gcc-12" is gcc: the prefix of a triplet and the suffix of a version go. */
static int is_program(const char* name, size_t size, const char* program) {
  size_t want = strlen(program);
  size_t end = size;
  while (end > 0 && ((name[end - 1] >= '0' && name[end - 1] <= '9') || name[end - 1] == '.')) --end;
  if (end > 0 && end < size && name[end - 1] == '-') size = end - 1;
  if (size < want || memcmp(name + size - want, program, want) != 0) return 0;
  return size == want || name[size - want - 1] == '-';
}

static const char* base_name(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static int is_recorded(const char* argv0) {
  const char* name = base_name(argv0);
  for (int i = 0; programs[i]; ++i)
    if (is_program(name, strlen(name), programs[i]) || strcmp(name, programs[i]) == 0) return 1;
  return 0;
}

static int is_one_of(const char* const* names, const char* name, size_t size) {
  for (int i = 0; names[i]; ++i)
    if (strlen(names[i]) == size && memcmp(names[i], name, size) == 0) return 1;
  return 0;
}

/* The program itself, or the script that an interpreter is to run. */
static int makes_documents(int argc, char** argv) {
  const char* name = base_name(argv[0]);
  if (is_one_of(interpreters, name, strlen(name))) {
    int script = 1;
    while (script < argc && argv[script][0] == '-') ++script;
    if (script == argc) return 0;
    name = base_name(argv[script]);
  }
  const char* ending = strrchr(name, '.');
  return is_one_of(document_makers, name, ending ? (size_t)(ending - name) : strlen(name));
}

static void skip(const char* note) {
  int fd = open(note, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd >= 0) {
    ssize_t ignored = write(fd, ".", 1);
    (void)ignored;
    close(fd);
  }
  _exit(0);
}

static const char* find_variable(char** environment, const char* name) {
  size_t size = strlen(name);
  for (int i = 0; environment && environment[i]; ++i)
    if (strncmp(environment[i], name, size) == 0 && environment[i][size] == '=')
      return environment[i];
  return 0;
}

static void put_variables(struct record* record, char** environment) {
  unsigned long count = 0;
  for (int i = 0; variables[i]; ++i) count += find_variable(environment, variables[i]) != 0;
  put_number(record, count);
  for (int i = 0; variables[i]; ++i) {
    const char* found = find_variable(environment, variables[i]);
    if (found) put_string(record, found);
  }
}

static void put_file(struct record* record, const char* path) {
  size_t before = record->size;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t got;
  while (fd >= 0 && record->size + 1 < record_bytes_max &&
         (got = read(fd, record->bytes + record->size, record_bytes_max - record->size - 1)) > 0)
    record->size += (size_t)got;
  if (fd >= 0) close(fd);
  for (size_t i = before; i < record->size; ++i)
    if (record->bytes[i] == 0) record->bytes[i] = ' ';
  record->bytes[record->size++] = 0;
}

static void put_response_files(struct record* record, int argc, char** argv) {
  unsigned long count = 0;
  for (int i = 1; i < argc; ++i) count += argv[i][0] == '@';
  put_number(record, count);
  for (int i = 1; i < argc; ++i) {
    if (argv[i][0] != '@') continue;
    put_string(record, argv[i] + 1);
    put_file(record, argv[i] + 1);
  }
}

static void append(const char* path, struct record* record) {
  uint32_t body = (uint32_t)(record->size - 8);
  memcpy(record->bytes, "LCR1", 4);
  memcpy(record->bytes + 4, &body, 4);
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return;
  ssize_t ignored = write(fd, record->bytes, record->size);
  (void)ignored;
  close(fd);
}

__attribute__((constructor)) static void record_call(int argc, char** argv, char** environment) {
  const char* where = find_variable(environment, "LIVECARE_RECORD");
  if (!where || argc < 1 || !argv || !argv[0]) return;
  const char* note = find_variable(environment, "LIVECARE_SKIP_DOCUMENTS");
  if (note && makes_documents(argc, argv)) skip(strchr(note, '=') + 1);
  if (!is_recorded(argv[0])) return;
  struct record record = {malloc(record_bytes_max), 8};
  if (!record.bytes) return;
  char path[path_bytes_max];
  put_number(&record, (unsigned long)getpid());
  put_number(&record, (unsigned long)getppid());
  put_string(&record, getcwd(path, sizeof(path)) ? path : "/");
  ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - 1);
  put(&record, path, size > 0 ? (size_t)size : 0);
  put_number(&record, (unsigned long)argc);
  for (int i = 0; i < argc; ++i) put_string(&record, argv[i]);
  put_variables(&record, environment);
  put_response_files(&record, argc, argv);
  append(strchr(where, '=') + 1, &record);
  free(record.bytes);
}
