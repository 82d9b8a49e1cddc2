// SPDX-License-Identifier: GPL-2.0-only
/* How x86-64 writes a reference; value is symbol plus addend. */
#include <linux/elf.h>

#include "kcare.h"

#ifndef R_X86_64_PC64
#define R_X86_64_PC64 24
#endif

int kcare_reloc_size(u32 type)
{
	switch (type) {
	case R_X86_64_64:
	case R_X86_64_PC64:
		return 8;
	case R_X86_64_32:
	case R_X86_64_32S:
	case R_X86_64_PC32:
	case R_X86_64_PLT32:
		return 4;
	default:
		return 0;
	}
}

int kcare_reloc_value(u32 type, unsigned long place, unsigned long value, u8 *bytes)
{
	s64 number = value;
	bool fits = true;

	switch (type) {
	case R_X86_64_64:
		break;
	case R_X86_64_PC64:
		number -= place;
		break;
	case R_X86_64_32:
		fits = number == (u32)number;
		break;
	case R_X86_64_32S:
		fits = number == (s32)number;
		break;
	case R_X86_64_PC32:
	case R_X86_64_PLT32:
		number -= place;
		fits = number == (s32)number;
		break;
	default:
		return -EINVAL;
	}
	memcpy(bytes, &number, kcare_reloc_size(type));
	return fits ? 0 : -ERANGE;
}
