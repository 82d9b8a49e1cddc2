// Attaches an empty BPF program to a function's entry (fentry) and holds it until it is killed.
//   fentry FUNCTION    prints "attached" or the error, exit code 1
// By the raw system call and the kernel's own BTF, without libbpf: the guest has no libraries.
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *read_btf(void)
{
	static char *data;
	size_t used = 0, size = 64 << 20;
	int fd = open("/sys/kernel/btf/vmlinux", O_RDONLY);
	ssize_t got;

	if (fd < 0)
		return NULL;
	data = malloc(size);
	while (data && used < size && (got = read(fd, data + used, size - used)) > 0)
		used += got;
	close(fd);
	return data;
}

/* What follows a type of that kind, in bytes. */
static size_t extra(const struct btf_type *type)
{
	unsigned int count = BTF_INFO_VLEN(type->info);

	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return count * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return count * sizeof(struct btf_enum);
	case BTF_KIND_ENUM64:
	case BTF_KIND_DATASEC:
		return count * 12;
	case BTF_KIND_FUNC_PROTO:
		return count * sizeof(struct btf_param);
	default:
		return 0;
	}
}

static unsigned int function_id(const char *data, const char *name)
{
	const struct btf_header *head = (const void *)data;
	const char *types = data + head->hdr_len + head->type_off;
	const char *names = data + head->hdr_len + head->str_off;
	unsigned int id = 1;
	size_t at = 0;

	while (at < head->type_len) {
		const struct btf_type *type = (const void *)(types + at);

		if (BTF_INFO_KIND(type->info) == BTF_KIND_FUNC && !strcmp(names + type->name_off, name))
			return id;
		at += sizeof(*type) + extra(type);
		id++;
	}
	return 0;
}

int main(int argc, char **argv)
{
	/* r0 = 0; exit */
	struct bpf_insn program[] = { { .code = 0xb7 }, { .code = 0x95 } };
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_TRACING,
		.expected_attach_type = BPF_TRACE_FENTRY,
		.insns = (unsigned long)program,
		.insn_cnt = 2,
		.license = (unsigned long)"GPL",
	};
	union bpf_attr attach = { 0 };
	char *btf = read_btf();

	if (argc != 2 || !btf || !(load.attach_btf_id = function_id(btf, argv[1]))) {
		fprintf(stderr, "fentry: no function of that name in the kernel's BTF\n");
		return 1;
	}
	attach.raw_tracepoint.prog_fd = syscall(__NR_bpf, BPF_PROG_LOAD, &load, sizeof(load));
	if ((int)attach.raw_tracepoint.prog_fd < 0) {
		fprintf(stderr, "fentry: load: %s\n", strerror(errno));
		return 1;
	}
	if (syscall(__NR_bpf, BPF_RAW_TRACEPOINT_OPEN, &attach, sizeof(attach)) < 0) {
		fprintf(stderr, "fentry: attach: %s\n", strerror(errno));
		return 1;
	}
	printf("attached\n");
	fflush(stdout);
	pause();
	return 0;
}
