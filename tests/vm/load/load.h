/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of load: each returns how often what came back was not what had been put in. */
#ifndef LOAD_H
#define LOAD_H

int load_files(const char *directory);
int load_sockets(void);
int load_memory(void);
int load_tasks(void);
int load_deep(const char *directory);
int load_rings(void);
int load_waits(void);
int load_bpf(void);
int load_hid(void);
int load_talks(void);
int load_fuse(void);
int load_kvm(void);

/* Runs it in a process of its own, killed after that many seconds; returns what it returns, 0 then. */
int apart(int (*function)(void), unsigned int seconds);

#endif
