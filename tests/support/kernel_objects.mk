# Prints what the configuration of a prepared kernel tree compiles in one directory, and where to go on:
#   make -s -C TREE -f kernel_objects.mk dir=net/ipv4 BITS=64 SRCARCH=x86
# As scripts/Makefile.lib has it: an object that has parts is replaced by them.
include include/config/auto.conf
srctree := .
objtree := .
src := $(dir)
obj := $(dir)
include $(firstword $(wildcard $(dir)/Kbuild $(dir)/Makefile))

parts_of = $(strip $(foreach suffix,$(2),$($(1:%.o=%$(suffix)))))
real = $(foreach one,$(filter %.o,$(1)),$(or $(call parts_of,$(one),$(2)),$(one)))
objects := $(call real,$(obj-y) $(lib-y),-objs -y) $(call real,$(obj-m) $(lib-m),-objs -y -m)

.PHONY: kernel_objects
.DEFAULT_GOAL := kernel_objects
kernel_objects:
	@printf '%s\n' $(addprefix $(dir)/,$(sort $(filter %.o %/,$(objects) $(filter %/,$(obj-y) $(obj-m)))))
