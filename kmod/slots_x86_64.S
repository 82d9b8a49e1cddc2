/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Slots: the code between a patched function's entry and its replacement.
 *
 * ftrace makes the entry of a function a direct call of its slot, so the stack is
 *
 *	(%rsp)	 behind the call, in the old function
 *	8(%rsp)	 the caller of the old function
 *
 * The slot looks at its byte in kcare_gates: 0 goes back into the old function, 1
 * and 2 drop the first word and jump to one of two replacements. Two, since the
 * next level is staged while the present one is in use.
 *
 * Slots are here, in the module's own text, and not generated: so nothing is ever
 * writable and executable, objtool writes the unwind data (after the lea the frame
 * is that of the old function's caller: UNWIND_HINT_FUNC), and what the kernel
 * does about returns is done. Only the distance of the two jumps is written when
 * a patch is staged (redirect.c), while the gate says that no one comes there.
 * A direct jump costs nothing where an indirect one would need a retpoline.
 *
 * A task that was preempted between the compare and the jump has its decision
 * behind it: a stack with an address inside of the slots is not safe.
 */
#include <linux/linkage.h>
#include <asm/unwind_hints.h>

/* As in kcare.h. */
#define KCARE_SLOTS_MAX 1024

#ifndef RET
#define RET ret
#endif

/* Slots are reached by direct calls and by returns, never by indirect branches. */
.macro no_endbr
#ifdef CONFIG_X86_KERNEL_IBT
	ANNOTATE_NOENDBR
#endif
.endm

	.text
	.balign 32
SYM_CODE_START_NOALIGN(kcare_slots)
	no_endbr
	.set number, 0
	.rept KCARE_SLOTS_MAX
	UNWIND_HINT_FUNC
	cmpb	$1, (kcare_gates + number)(%rip)
	jae	1f
	RET
1:	lea	8(%rsp), %rsp
	UNWIND_HINT_FUNC
	ja	2f
	.if number == 0
.Lfirst_way:
	.endif
	.byte	0xe9
	.long	.Lnowhere - . - 4
2:	.byte	0xe9
	.long	.Lnowhere - . - 4
	.balign 32, 0xcc
	.if number == 0
.Lsecond_slot:
	.endif
	.set number, number + 1
	.endr
.Lnowhere:
	ud2
SYM_INNER_LABEL(kcare_slots_end, SYM_L_GLOBAL)
	no_endbr
SYM_CODE_END(kcare_slots)

	.section .rodata
	.balign 4
/* The sizes depend on what RET is. */
SYM_DATA(kcare_slot_size, .long .Lsecond_slot - kcare_slots)
SYM_DATA(kcare_slot_first_way, .long .Lfirst_way - kcare_slots)
